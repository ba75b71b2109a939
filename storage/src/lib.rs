//! ZFS on a node: pools, datasets, zvols, snapshots, and which disks may be used for them.
//!
//! ```text
//!  machine config ──┐                            ┌── zpool, zfs   (command: no shell, deadline, JSON where they have it)
//!  disks (topology) ┼─> plan, tune, import ──────┤
//!  what is on them ─┘    pure: decide or refuse  └── device nodes (table: GPT; sys: two ioctls; zvol: links)
//!       (label, signature)
//! ```
//! What decides is apart from what acts, so that every refusal can be tested without a disk. What acts is [`Storage`]: it
//! blocks, and is called from threads that may. Whoever is PID 1 reaps its own children in one place and lends that to the
//! commands ([`command::Children`]).
//!
//! | module        | question it answers                                                          |
//! |---------------|------------------------------------------------------------------------------|
//! | [`boot`]      | which pools are imported or made when the node starts, and where is its state? |
//! | [`command`]   | how are `zpool` and `zfs` run?                                               |
//! | [`contents`]  | what is on a disk?                                                           |
//! | [`hostid`]    | which host does a pool belong to?                                            |
//! | [`import`]    | which of the pools on the disks may be imported?                             |
//! | [`keys`]      | what unlocks encrypted datasets?                                             |
//! | [`label`]     | which pool does a device say it is of?                                       |
//! | [`names`]     | what may datasets and snapshots be called?                                   |
//! | [`plan`]      | may a pool be made of these disks, and how?                                  |
//! | [`tune`]      | which properties fit these devices and this use?                             |
//! | [`table`]     | how does a whole disk become one partition for ZFS?                          |
//! | [`watch`]     | what happened to pools between two looks?                                    |
//! | [`reset`]     | what does a factory reset destroy, and how does it survive a power cut?      |
//! | [`zvol`]      | which `/dev/zdN` is which zvol?                                              |
//!
//! Pools are never upgraded: a node that is set back to the image before must still be able to import them.

pub mod boot;
pub mod command;
pub mod contents;
mod datasets;
mod error;
pub mod hostid;
pub mod import;
mod json;
pub mod keys;
pub mod label;
pub mod names;
pub mod plan;
mod pools;
pub mod reset;
mod serve;
mod signature;
mod snapshots;
mod storage;
mod stream;
mod sys;
pub mod table;
pub mod tune;
mod volumes;
mod wait;
pub mod watch;
pub mod zvol;

pub use error::StorageError;
pub use storage::{Root, Storage, SystemDisks};
pub use sys::reread_partitions;

#[cfg(test)]
mod fixture;
