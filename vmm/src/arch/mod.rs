//! The x86-64 machine: where things lie, what the CPUs say they are, and the state in which they start.

pub mod cpuid;
pub mod layout;
pub mod registers;
pub mod topology;
