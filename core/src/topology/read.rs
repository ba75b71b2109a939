//! Small readers of one-value files.
