//! The kernel command line as an ordered list.
