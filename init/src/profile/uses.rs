//! What the node does with its disks and interfaces, found on the node itself: what a plan must not give away.
//!
//! A disk is looked at, not asked for: partition tables and labels of pools say what it holds before anything of it is imported,
//! and afterwards as well.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

use axion_core::cmdline::CommandLine;
use axion_core::config;
use axion_core::profile::{Action, Declaration, DiskUse, Holding, HostUses, InterfaceUse, Plan, host_use};
use axion_core::topology::{Disk, Nic, Topology};
use axion_install::{storage, table};
use axion_storage::import::{Found, Verdict, decide, gather};
use axion_storage::label::Label;
use axion_storage::{contents, table::disk_of};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::slot;

/// Whether anything is given away that has to be looked at first.
pub fn are_needed(declaration: &Declaration) -> bool {
    declaration.profile.vfio.iter().any(|rule| !rule.force)
}

/// What the node below `root` uses, as the host `hostid` of pools whose config says `wanted`.
pub fn find(
    root: &Path,
    topology: &Topology,
    cmdline: &CommandLine,
    wanted: &config::Storage,
    hostid: u32,
) -> HostUses {
    let is_slot = |disk: &&Disk| slot::running(cmdline).is_some() && is_installed(root, disk);
    let slots = topology.disks.iter().filter(is_slot).map(|disk| DiskUse {
        disk: disk.name.clone(),
        holding: Holding::RunningSlot,
    });
    let looked = topology.disks.iter().map(|disk| contents::look(root, disk));
    let labels: Vec<(String, Label)> = looked.flat_map(|contents| contents.labels).collect();
    HostUses {
        disks: slots
            .chain(pools(&labels, wanted, hostid, &imported(root)))
            .collect(),
        interfaces: interfaces(root, &topology.nics, &addresses()),
    }
}

/// Bindings of `plan` that would take what the node uses now, each with its key and the use; those that the operator insists on
/// are left out.
pub fn conflicts(plan: &Plan, topology: &Topology, declaration: &Declaration) -> Vec<(String, String)> {
    let conflict = |action: &Action| {
        let Action::VfioBind {
            address,
            forced: false,
        } = action
        else {
            return None;
        };
        let function = topology
            .pci
            .iter()
            .find(|function| function.address == *address)?;
        Some((action.key(), host_use(topology, declaration, function)?))
    };
    plan.actions
        .iter()
        .filter_map(|planned| conflict(&planned.action))
        .collect()
}

/// Whether a disk holds an installation.
fn is_installed(root: &Path, disk: &Disk) -> bool {
    let path = root.join("dev").join(&disk.name);
    let opened = File::open(path).and_then(|file| storage::Disk::new(file, disk.logical_sector.into()));
    opened.is_ok_and(|disk| slot::is_installed(&table::read(&disk).unwrap_or_default()))
}

/// Names of the pools that the kernel has.
fn imported(root: &Path) -> BTreeSet<String> {
    let pools = std::fs::read_dir(root.join("proc/spl/kstat/zfs"))
        .into_iter()
        .flatten()
        .flatten();
    pools
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Disks of pools that the node has, imports at its start, or expects to.
fn pools(
    labels: &[(String, Label)],
    wanted: &config::Storage,
    hostid: u32,
    imported: &BTreeSet<String>,
) -> Vec<DiskUse> {
    let found = gather(labels);
    let own = |verdict: Verdict| -> Option<Found> {
        match verdict {
            Verdict::Import { pool, .. }
            | Verdict::Leave {
                pool, wanted: true, ..
            } => Some(pool),
            Verdict::Leave { pool, .. } => imported.contains(&pool.label.pool).then_some(pool),
        }
    };
    let held = |pool: Found| {
        let disks: BTreeSet<String> = pool.nodes.iter().map(|node| disk_of(node).to_owned()).collect();
        disks.into_iter().map(move |disk| DiskUse {
            disk,
            holding: Holding::Pool(pool.label.pool.clone()),
        })
    };
    decide(&found, wanted, hostid)
        .into_iter()
        .filter_map(own)
        .flat_map(held)
        .collect()
}

/// Addresses by which somebody elsewhere can reach the node, with the interface that carries each.
fn addresses() -> Vec<(String, IpAddr)> {
    let here = getifaddrs().into_iter().flatten();
    let elsewhere = here.filter(|here| !here.flags.contains(InterfaceFlags::IFF_LOOPBACK));
    elsewhere
        .filter_map(|here| {
            let address = here.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            let ip = v4.or_else(|| Some(IpAddr::V6(address.as_sockaddr_in6()?.ip())))?;
            Some((here.interface_name, ip))
        })
        .filter(|(_, ip)| match ip {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        })
        .collect()
}

/// What each interface carries, by itself or as a port of a bridge.
fn interfaces(root: &Path, nics: &[Nic], addresses: &[(String, IpAddr)]) -> Vec<InterfaceUse> {
    let carried = |nic: &Nic| {
        let link = root.join("sys/class/net").join(&nic.name).join("master");
        let bridge = std::fs::read_link(link).ok();
        let bridge = bridge.and_then(|to| Some(to.file_name()?.to_string_lossy().into_owned()));
        let carries = |name: &str| name == nic.name || bridge.as_deref() == Some(name);
        let found = addresses.iter().filter(|(name, _)| carries(name));
        let uses: Vec<InterfaceUse> = found
            .map(|(_, address)| InterfaceUse {
                interface: nic.name.clone(),
                address: *address,
            })
            .collect();
        uses
    };
    nics.iter().flat_map(carried).collect()
}

#[cfg(test)]
mod tests;
