//! Which machine this is, the same at every boot.
