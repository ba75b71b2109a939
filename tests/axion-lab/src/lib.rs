//! QEMU machines as typed values.
//!
//! The end-to-end tests, the benchmarks and `cargo xtask run` boot the appliance here. A [`Spec`] says what the machine
//! is; [`Spec::start`] gives a running [`Machine`]; a [`Node`] is the API of the appliance that booted on it.
//!
//! ```text
//!            Spec ── argv ──> qemu-system-x86_64
//!                              │ ttyS0   the operator's console   -> Screen (a terminal that can be read and typed into)
//!            Machine ──────────┤ ttyS1   the log                  -> Log    (lines that can be waited for)
//!                              │ QMP     the machine's own knobs  -> power button, VGA memory, screen dumps, quit
//!            Node ─────────────┘ :8443   hostfwd on loopback      -> typed client, axctl
//! ```
//!
//! | module       | what it owns                                                            |
//! |--------------|-------------------------------------------------------------------------|
//! | [`image`]    | where the appliance's kernel and initramfs are                          |
//! | [`spec`]     | what a machine is made of                                               |
//! | [`argv`]     | a spec as QEMU arguments; pure                                          |
//! | [`emulator`] | where QEMU and its firmware are                                         |
//! | [`machine`]  | one QEMU process, from start to exit                                    |
//! | [`log`]      | lines of a byte stream, and waiting for one                             |
//! | [`screen`]   | the serial console as a terminal                                        |
//! | [`vga`]      | the VGA text screen, out of video memory                                |
//! | [`qmp`]      | QEMU's control protocol                                                 |
//! | [`media`]    | disks, FAT volumes, config on the disk image, initramfs overlays        |
//! | [`lan`]      | a network namespace with a bridge, for machines that talk to each other |
//! | [`node`]     | the appliance's API, typed or by the real `axctl`                       |
//! | [`command`]  | programs beside the machine, with a deadline                            |
//! | [`tpm`]      | a TPM in software beside the machine                                    |
//! | [`deadline`] | every wait, scaled for slow machines                                    |
//! | [`turn`]     | one machine at a time on the computer's cores                           |
//! | [`bench`]    | boot times against the floor, isolation against other kernels           |
//!
//! Nothing here sleeps in the hope that something has happened: each wait ends with its event, with the end of the machine, or
//! with an error that carries the end of the log.

pub mod argv;
pub mod bench;
pub mod command;
pub mod deadline;
pub mod emulator;
mod error;
pub mod image;
pub mod lan;
pub mod log;
pub mod machine;
pub mod media;
pub mod node;
pub mod qmp;
pub mod screen;
pub mod spec;
pub mod tpm;
pub mod turn;
pub mod vga;

pub use error::{Error, Result};
pub use image::Image;
pub use machine::Machine;
pub use node::{Node, Token};
pub use spec::{
    Boot, Disk, Display, Drive, Firmware, Iommu, Network, NetworkBoot, NumaNode, Spec, WatchdogDevice,
};
