//! `cargo xtask`: builds, runs, tests and measures the appliance.
//!
//! | file            | task                                                                          |
//! |-----------------|-------------------------------------------------------------------------------|
//! | `setup.rs`      | what the host needs, and installing it                                        |
//! | `debian.rs`     | Debian's packages for the image, from a private apt root                      |
//! | `debian_guest.rs` | the root disk of a Debian guest, for the tests                              |
//! | `kernel.rs`     | the host's and the guest's kernel from the fragments in `kernel-config/`      |
//! | `zfs.rs`        | OpenZFS's modules for the host's kernel                                       |
//! | `programs.rs`   | our programs, linked statically                                               |
//! | `rootfs.rs`     | the root file system from `rootfs/`, as EROFS, and the guest's initramfs      |
//! | `erofs.rs`      | packs it                                                                      |
//! | `modinfo.rs`    | what built-in drivers say of themselves                                       |
//! | `firmware.rs`   | device firmware and CPU microcode, for whoever asks for them                  |
//! | `hardware.rs`   | docs/hardware.md                                                              |
//! | `sbom.rs`       | the list of everything in the image with version and licence (SPDX)           |
//! | `image.rs`      | kernel and initramfs, ready to boot, and how large each part is               |
//! | `media.rs`      | what machines boot from: UKI, ISO, disk, PXE script, their sums and signature |
//! | `keys.rs`       | keys that sign them, for people and for Secure Boot                           |
//! | `run.rs`        | boots the image in QEMU with its console in this terminal                     |
//! | `test.rs`       | everything that must pass                                                     |
//! | `torture.rs`    | power cuts behind every write of an installed disk, offline                   |
//! | `bench.rs`      | measurements, compared within one run                                         |
//! | `fuzz.rs`       | hostile inputs for the VMM, for as long as one likes                          |
//! | `terminal.rs`   | the console of `run`                                                          |
//! | `clean.rs`      | removes build products                                                        |
//!
//! A step whose inputs have not changed is not run again: `cache.rs` names each product by a hash of all its inputs,
//! `step.rs` runs commands with a line of progress on the terminal and the whole output in a file.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod bench;
mod cache;
mod clean;
mod debian;
mod debian_guest;
mod emulator;
mod erofs;
mod firmware;
mod fuzz;
mod hardware;
mod image;
mod kernel;
mod keys;
mod layout;
mod media;
mod modinfo;
mod programs;
mod reproduce;
mod rootfs;
mod run;
mod sbom;
mod setup;
mod step;
mod terminal;
mod test;
mod torture;
mod zfs;

use clap::{Parser, Subcommand};

/// Builds, runs, tests and measures the Axion appliance.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    version,
    after_help = "The first `cargo xtask run` on a fresh Debian machine installs what \
    the build needs (it asks first), builds everything and boots it. Products are in target/axion, expensive ones are \
    kept in ~/.cache/axion (AXION_CACHE names another place)."
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install the host packages that the build needs
    Setup(setup::Options),
    /// Say what is missing on this machine, changing nothing
    Doctor,
    /// Build the appliance's kernel
    Kernel,
    /// Build the kernel that microVMs boot by default
    GuestKernel,
    /// Build the root disk of a Debian guest, for the tests
    DebianGuest,
    /// Build OpenZFS's modules for the appliance's kernel
    ZfsModules,
    /// Build the root file system
    Rootfs,
    /// Build the bootable image: kernel and initramfs
    Image(image::Options),
    /// Gather the firmware that built-in drivers declare, and say what is missing
    Firmware,
    /// Write docs/hardware.md: what the built-in drivers drive
    Hardware(hardware::Options),
    /// Build the boot media: UKI, ISO, disk image, PXE script
    Media(media::Options),
    /// Build twice, in different directories, and compare every product
    Reproduce(reproduce::Options),
    /// Make keys that sign media
    Keys(keys::Options),
    /// Build what is missing and boot the image in QEMU, its console in this terminal
    Run(run::Options),
    /// Format, lints, unit, integration and end-to-end tests
    Test(test::Options),
    /// Cut the power behind every write of install, update, confirmation and rollback, offline
    Torture(torture::Options),
    /// Measure, with comparisons taken in the same run
    Bench(bench::Options),
    /// Give the VMM's parsers hostile inputs
    Fuzz(fuzz::Options),
    /// Remove build products
    Clean(clean::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Setup(options) => setup::install(&options),
        Task::Doctor => setup::doctor(),
        Task::Kernel => kernel::HOST.build().map(drop),
        Task::GuestKernel => kernel::GUEST.build().map(drop),
        Task::DebianGuest => debian_guest::build().map(drop),
        Task::ZfsModules => zfs::build(&kernel::HOST.build()?).map(drop),
        Task::Rootfs => rootfs::build(&rootfs::Inputs::build()?, &layout::products(), None).map(drop),
        Task::Image(options) => image::build_with(&options, None).map(drop),
        Task::Firmware => firmware::build(&kernel::HOST.build()?).map(drop),
        Task::Hardware(options) => hardware::hardware(&options),
        Task::Media(options) => media::media(&options).map(|()| media::say_next(&options)),
        Task::Reproduce(options) => reproduce::reproduce(&options),
        Task::Keys(options) => keys::keys(&options),
        Task::Run(options) => run::run(&options),
        Task::Test(options) => test::test(&options),
        Task::Torture(options) => torture::torture(&options),
        Task::Bench(options) => bench::bench(&options),
        Task::Fuzz(options) => fuzz::fuzz(&options),
        Task::Clean(options) => clean::clean(&options),
    }
}

#[cfg(test)]
mod tests;
