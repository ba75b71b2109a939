//! Disks, interfaces and what cloud-init is told, as far as the spec alone says whether they can be.

use std::collections::BTreeSet;

use axion_api::problem::Problem;
use axion_api::vm::{CloudInit, HugepageSize, VmBalloon, VmDisk, VmNet, VmSpec};
use axion_api::vmm::MOST_NETS;
use axion_core::mac::Mac;
use axion_core::quantity::ByteSize;

use super::invalid;
use crate::images::Digest;
use crate::seed::{LONGEST_OTHER, LONGEST_USER_DATA};
use crate::vm::devices::LONGEST_SERIAL;
use crate::{networks, volumes};

/// Most disks; one for cloud-init may come on top.
const DISKS: usize = 16;
/// MTUs, bytes.
const MTUS: std::ops::RangeInclusive<u16> = 576..=9216;
/// Most queue pairs of an interface.
const QUEUES: u16 = 16;

/// Context ids of guests (virtio 1.3 §5.10.4).
const CIDS: std::ops::RangeInclusive<u32> = 3..=u32::MAX - 1;
/// Bytes of a balloon's page (virtio 1.3 §5.5.6).
const BALLOON_PAGE: u64 = 4096;

/// Checks the devices of a spec.
pub fn check(spec: &VmSpec) -> Result<(), Problem> {
    if spec.disks.len() > DISKS {
        let detail = format!("{} disks; allowed are at most {DISKS}", spec.disks.len());
        return Err(invalid("/disks", detail));
    }
    if spec.nets.len() > MOST_NETS {
        let detail = format!("{} interfaces; allowed are at most {MOST_NETS}", spec.nets.len());
        return Err(invalid("/nets", detail));
    }
    let mut used = BTreeSet::new();
    for (index, wanted) in spec.disks.iter().enumerate() {
        disk(&format!("/disks/{index}"), wanted)?;
        if let Some(volume) = wanted.volume.as_ref().filter(|volume| !used.insert(*volume)) {
            let detail = format!("volume `{volume}` is there twice");
            return Err(invalid(format!("/disks/{index}/volume"), detail));
        }
    }
    let mut used = BTreeSet::new();
    for (index, wanted) in spec.nets.iter().enumerate() {
        let mac = net(&format!("/nets/{index}"), wanted, spec.cpus)?;
        if let Some(mac) = mac.filter(|mac| !used.insert(*mac)) {
            return Err(invalid(
                format!("/nets/{index}/mac"),
                format!("{mac} is there twice"),
            ));
        }
    }
    spec.cloud_init.as_ref().map_or(Ok(()), cloud_init)?;
    if let Some(vsock) = spec.vsock.filter(|vsock| !CIDS.contains(&vsock.cid)) {
        let detail = format!("{}; allowed are {} to {}", vsock.cid, CIDS.start(), CIDS.end());
        return Err(invalid("/vsock/cid", detail));
    }
    if let Some(balloon) = &spec.balloon {
        check_balloon(spec, balloon)?;
    }
    Ok(())
}

fn check_balloon(spec: &VmSpec, balloon: &VmBalloon) -> Result<(), Problem> {
    if spec.hugepages != HugepageSize::None {
        let detail =
            "a VM on hugepages has no balloon: what the guest gave back might not be there when it wants it";
        return Err(invalid("/balloon", detail));
    }
    balloon_size(spec, balloon.size).map_err(|detail| invalid("/balloon/size", detail))
}

/// Checks what a guest is to give of its memory.
pub fn balloon_size(spec: &VmSpec, size: ByteSize) -> Result<(), String> {
    if size.0 <= spec.memory.0 && size.0.is_multiple_of(BALLOON_PAGE) {
        return Ok(());
    }
    let page = ByteSize(BALLOON_PAGE);
    Err(format!(
        "{size}; allowed is a multiple of {page}, at most the memory's {}",
        spec.memory
    ))
}

fn disk(pointer: &str, disk: &VmDisk) -> Result<(), Problem> {
    match (&disk.volume, &disk.image) {
        (Some(volume), None) if !volumes::is_name(volume) => {
            let detail = format!("`{}` is no volume's name", volume.escape_debug());
            return Err(invalid(format!("{pointer}/volume"), detail));
        }
        (None, Some(image)) => {
            let digest: Result<Digest, _> = image.parse();
            digest.map_err(|error| invalid(format!("{pointer}/image"), error.to_string()))?;
        }
        (Some(_), None) => {}
        (None, None) => {
            let detail = "neither `volume` nor `image`; a disk is one of the two";
            return Err(invalid(pointer, detail));
        }
        (Some(_), Some(_)) => {
            let detail = "both `volume` and `image`; a disk is one of the two";
            return Err(invalid(pointer, detail));
        }
    }
    let Some(serial) = &disk.serial else {
        return Ok(());
    };
    let good = (1..=LONGEST_SERIAL).contains(&serial.len()) && serial.chars().all(|c| c.is_ascii_graphic());
    if good {
        return Ok(());
    }
    let detail = format!(
        "`{}`; allowed are 1 to {LONGEST_SERIAL} printable ASCII characters without blanks",
        serial.escape_debug()
    );
    Err(invalid(format!("{pointer}/serial"), detail))
}

/// Checks an interface; answers the address that it names.
fn net(pointer: &str, net: &VmNet, cpus: u32) -> Result<Option<Mac>, Problem> {
    if !networks::is_name(&net.network) {
        let detail = format!("`{}` is no network's name", net.network.escape_debug());
        return Err(invalid(format!("{pointer}/network"), detail));
    }
    if let Some(mtu) = net.mtu.filter(|mtu| !MTUS.contains(mtu)) {
        let detail = format!("{mtu} bytes; allowed are {} to {}", MTUS.start(), MTUS.end());
        return Err(invalid(format!("{pointer}/mtu"), detail));
    }
    let most = u16::try_from(cpus).unwrap_or(QUEUES).clamp(1, QUEUES);
    if let Some(queues) = net.queues.filter(|queues| !(1..=most).contains(queues)) {
        let detail = format!("{queues}; allowed are 1 to {most}: the vCPUs, {QUEUES} at most");
        return Err(invalid(format!("{pointer}/queues"), detail));
    }
    let mac = net.mac.as_deref().map(str::parse::<Mac>).transpose();
    mac.map_err(|error| invalid(format!("{pointer}/mac"), error.to_string()))
}

fn cloud_init(told: &CloudInit) -> Result<(), Problem> {
    let user_data = Some(&told.user_data);
    for (field, text, longest) in [
        ("user_data", user_data, LONGEST_USER_DATA),
        ("meta_data", told.meta_data.as_ref(), LONGEST_OTHER),
        ("network_config", told.network_config.as_ref(), LONGEST_OTHER),
    ] {
        if let Some(text) = text.filter(|text| text.len() > longest) {
            let detail = format!("{} bytes; allowed are at most {longest}", text.len());
            return Err(invalid(format!("/cloud_init/{field}"), detail));
        }
    }
    Ok(())
}
