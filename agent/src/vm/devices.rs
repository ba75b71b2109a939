//! What disks and networks become: devices for the VMM, and what init gives the unit for them. Pure.
//!
//! | in the spec    | for the VMM                          | from init                                     |
//! |----------------|--------------------------------------|-----------------------------------------------|
//! | volume         | a disk on its file or device         | the file's or device's group, while the unit exists |
//! | image          | a read-only disk on the image        | nothing: images are readable by every VMM     |
//! | interface      | a network interface on a tap         | the tap, a port of the network's bridge       |
//! | `cloud_init`   | a read-only disk in the run directory| the file, written before the start            |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use axion_api::init::{Tap, VolumeGrant};
use axion_api::network::NetworkSpec;
use axion_api::vm::{VmDisk, VmSpec};
use axion_api::vmm::{DirectIo, DiskConfig, NetConfig};

use super::VmsError;
use super::record::Stored;
use crate::images::Digest;
use crate::volumes::Place;
use crate::{networks, seed};

/// Name of the disk for cloud-init in the run directory.
const SEED_FILE: &str = "cloud-init.img";
/// Serial number of the disk for cloud-init.
const SEED_SERIAL: &str = "cloud-init";
/// Longest serial number that virtio-blk has, bytes (virtio 1.2 §5.2.6, VIRTIO_BLK_ID_BYTES).
pub const LONGEST_SERIAL: usize = 20;
/// Queue pairs of an interface that does not say how many, at most.
const QUEUES: u16 = 4;

/// What a VM's devices are for its VMM and for init.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// For the VMM.
    pub disks: Vec<DiskConfig>,
    /// For the VMM.
    pub nets: Vec<NetConfig>,
    /// For init.
    pub volumes: Vec<VolumeGrant>,
    /// For init.
    pub taps: Vec<Tap>,
    /// For init: files in the run directory.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Name of the tap of an interface; the slot is the VM's own.
pub fn tap_name(slot: u32, index: usize) -> String {
    format!("vm{slot}-{index}")
}

/// What a disk is called: its volume, or its image.
pub fn source(disk: &VmDisk) -> &str {
    disk.volume
        .as_deref()
        .or(disk.image.as_deref())
        .unwrap_or_default()
}

/// The devices of a VM whose run directory is `directory`; `volumes` and the path say where volumes and images are.
pub fn devices(
    stored: &Stored,
    directory: &Path,
    networks: &BTreeMap<String, NetworkSpec>,
    volumes: &BTreeMap<String, Place>,
    image_path: impl Fn(Digest) -> PathBuf,
) -> Result<Devices, VmsError> {
    let spec = &stored.record.spec;
    let mut devices = Devices::default();
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    for disk in &spec.disks {
        if let Some(volume) = &disk.volume {
            let serial = disk.serial.clone();
            let serial = serial.unwrap_or_else(|| volume.chars().take(LONGEST_SERIAL).collect());
            let place = volumes
                .get(volume)
                .ok_or_else(|| VmsError::NoVolume(volume.clone()))?;
            devices.volumes.push(VolumeGrant {
                name: volume.clone(),
                pool: place.pool.clone().unwrap_or_default(),
                writable: !disk.read_only,
            });
            let path = text(place.path.clone());
            devices.disks.push(self::disk(path, disk.read_only, Some(serial)));
        } else if let Some(digest) = disk.image.as_deref().and_then(|image| image.parse().ok()) {
            let path = text(image_path(digest));
            devices.disks.push(self::disk(path, true, disk.serial.clone()));
        }
    }
    if let Some(told) = &spec.cloud_init {
        let image = seed::image(&stored.name, told).map_err(VmsError::Seed)?;
        devices.files.push((SEED_FILE.to_owned(), image));
        let path = text(directory.join(SEED_FILE));
        devices.disks.push(disk(path, true, Some(SEED_SERIAL.to_owned())));
    }
    for (index, (net, mac)) in spec.nets.iter().zip(&stored.record.macs).enumerate() {
        let most = networks.get(&net.network).map_or(u16::MAX, networks::mtu);
        let queues = net.queues.unwrap_or_else(|| default_queues(spec));
        let tap = tap_name(stored.record.slot, index);
        devices.taps.push(Tap {
            name: tap.clone(),
            bridge: networks::bridge_name(&net.network),
            mtu: most.into(),
            multi_queue: queues > 1,
        });
        devices.nets.push(NetConfig {
            tap,
            mac: mac.clone(),
            mtu: Some(net.mtu.unwrap_or(most)),
            queues: Some(queues),
        });
    }
    Ok(devices)
}

fn default_queues(spec: &VmSpec) -> u16 {
    u16::try_from(spec.cpus).unwrap_or(QUEUES).clamp(1, QUEUES)
}

fn disk(path: String, read_only: bool, serial: Option<String>) -> DiskConfig {
    DiskConfig {
        path,
        read_only,
        serial,
        direct: DirectIo::Auto,
        queues: None,
    }
}
