//! What a process that faces a hostile guest or a hostile network leaves behind once all that it needs is open.
//!
//! ```text
//!   capabilities   none, and none to be gained                 capabilities(7)
//!   files          some paths; no TCP, no signal to others     Documentation/userspace-api/landlock.rst
//!   calls          the system calls of its work                Documentation/userspace-api/seccomp_filter.rst
//! ```
//! Which paths and which calls those are, and what happens to another call, is said by the process: the VMM
//! (`axion_vmm::sandbox`), the boot server (`axion_agent::netboot`).

pub mod calls;
pub mod capabilities;
pub mod files;
