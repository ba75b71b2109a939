//! Installed disks: what is on them, how it gets there, and why no power cut makes one unbootable.
//!
//! ```text
//! GPT  1 AXION-CFG   FAT32: axion.toml, the machine config; axion.toml.old, the one before
//!      2 AXION-EFI   FAT32, ESP, 1 GiB:  EFI/BOOT/BOOTX64.EFI         systemd-boot, written once, by the installer
//!                                        EFI/axion/{a,b}.efi          the UKI of each slot
//!                                        loader/entries/axion-a.conf, axion-b+3.conf
//!                                                                     which slot starts, with which kernel arguments
//!      3 AXION-POOL  the rest, for ZFS
//!      4 AXION-BIOS  before the first one: GRUB, for machines with a BIOS ([`bios`])
//! ```
//! The loader takes the entry with the highest generation (`version`) of those that have a try left; what is confirmed has no
//! count of tries in its name ([`slot`]). An update writes the slot that is not the last confirmed one, first its UKI, then its
//! entry; a confirmation takes the count out of the name ([`esp`]).
//!
//! The kernel's FAT driver writes sectors in the order that suits the page cache, so no mounted file system is used: [`fat`]
//! keeps what changes in memory and writes it in an order of its own, with flushes between, and every step that counts is
//! one sector of a directory. A disk writes a sector whole or not at all; that, and that what was flushed stays, is all that is
//! relied upon. [`torture`] cuts the power behind every write and looks at the disk with [`inspect`], which chooses
//! as the loader does.
//!
//! | module        | what it is about                                                          |
//! |---------------|---------------------------------------------------------------------------|
//! | [`select`]    | which disk is meant: exactly one, or none                                 |
//! | [`started`]   | which disk was started from, where several hold an installation            |
//! | [`plan`]      | the layout, its summary and its token                                     |
//! | [`perform`]   | writing it                                                                |
//! | [`slot`]      | names, entries and generations of the slots; what is written next         |
//! | [`esp`]       | update, confirmation, rollback, repair                                    |
//! | [`bios`]      | the same for GRUB, which has a count of its own                           |
//! | [`config`]    | the machine config on its volume, replaced                                |
//! | [`reset`]     | factory reset: the order, and the machine config that it takes away       |
//! | [`inspect`]   | a disk as the loaders see it                                              |
//! | [`mirror`]    | two disks that hold the same                                              |
//! | [`medium`]    | the kernel on a boot medium                                               |
//! | [`table`]     | GPT                                                                       |
//! | [`fat`]       | FAT32 with an order of writes                                             |
//! | [`overlay`]   | changes kept in memory until they are written in the order that is wanted |
//! | [`storage`]   | disks, image files, parts of them                                         |
//! | [`recording`] | a disk in memory that knows what was written to it, and in which order    |
//! | [`replay`]    | cuts of what a machine wrote to its disk                                  |
//! | [`torture`]   | every cut                                                                 |
//! | [`uki`]       | putting a UKI together                                                    |
//! | [`check`]     | what an update must be before anything of it is written                   |
//! | [`authenticode`] | signatures of EFI programs, and what an image brings of them           |

pub mod authenticode;
pub mod bios;
pub mod check;
pub mod config;
pub mod esp;
pub mod fat;
pub mod inspect;
pub mod medium;
pub mod mirror;
pub mod overlay;
pub mod perform;
pub mod plan;
pub mod recording;
pub mod replay;
pub mod reset;
pub mod select;
pub mod slot;
pub mod started;
pub mod storage;
pub mod table;
pub mod torture;
pub mod uki;

/// A SHA-256 digest.
pub type Digest = [u8; 32];
