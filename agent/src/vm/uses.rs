//! What VMs use: images, volumes, networks. None of them is deleted under a VM, and no volume has two VMs.
//!
//! All of this is decided with `writing` held, so that nothing comes to be used between the look and the deed. A deed that takes its
//! time, on a volume, is done when `writing` is free again: from VMs the volume is withheld before.

use axion_api::problem::{Kind, Problem};
use axion_api::vm::VmSpec;
use axion_core::mac::Mac;

use super::record::Stored;
use super::{Vms, VmsError};
use crate::images::Digest;
use crate::init::answer;
use crate::log::chain;
use crate::networks;
use crate::store::Precondition;

fn invalid(pointer: String, detail: String) -> Problem {
    Problem::new(Kind::Invalid, detail).at(pointer)
}

/// Who uses what, as the records say.
pub struct Uses(Vec<Stored>);

impl Uses {
    /// The VM whose disk the volume is.
    pub fn volume(&self, name: &str) -> Option<String> {
        let has = |stored: &&Stored| {
            let disks = &stored.record.spec.disks;
            disks.iter().any(|disk| disk.volume.as_deref() == Some(name))
        };
        self.0.iter().find(has).map(|stored| stored.name.clone())
    }

    /// VMs that have an interface in the network.
    pub fn network(&self, name: &str) -> Vec<String> {
        let has = |stored: &&Stored| stored.record.spec.nets.iter().any(|net| net.network == name);
        self.0
            .iter()
            .filter(has)
            .map(|stored| stored.name.clone())
            .collect()
    }

    /// A VM that boots from the image, or has it as a disk.
    fn image(&self, digest: &str) -> Option<String> {
        let has = |stored: &&Stored| {
            let spec = &stored.record.spec;
            let disks = spec.disks.iter().filter_map(|disk| disk.image.as_deref());
            disks
                .chain([spec.boot.kernel.0.as_str(), spec.boot.initrd.0.as_str()])
                .any(|image| image == digest)
        };
        self.0.iter().find(has).map(|stored| stored.name.clone())
    }
}

impl Vms {
    /// Who uses what.
    pub async fn uses(&self) -> Result<Uses, VmsError> {
        Ok(Uses(self.records().await?))
    }

    /// Checks that everything that a spec names is there for VM `vm`.
    pub(super) async fn parts_exist(&self, vm: &str, spec: &VmSpec) -> Result<(), Problem> {
        for (pointer, image) in [
            ("/boot/kernel", &spec.boot.kernel),
            ("/boot/initrd", &spec.boot.initrd),
        ] {
            if let Ok(digest) = image.0.parse::<Digest>()
                && !self.images.contains(digest).await
            {
                return Err(no_image(digest, pointer.to_owned()));
            }
        }
        let uses = self.uses().await?;
        self.disks_exist(vm, spec, &uses).await?;
        self.networks_exist(vm, spec, &uses).await
    }

    async fn disks_exist(&self, vm: &str, spec: &VmSpec, uses: &Uses) -> Result<(), Problem> {
        for (index, disk) in spec.disks.iter().enumerate() {
            if let Some(digest) = disk.image.as_deref().and_then(|text| text.parse::<Digest>().ok()) {
                let pointer = format!("/disks/{index}/image");
                match self.images.size(digest).await {
                    None => return Err(no_image(digest, pointer)),
                    Some(size) if size == 0 || !size.is_multiple_of(512) => {
                        let detail =
                            format!("image {digest} has {size} bytes; a disk's size is a multiple of 512");
                        return Err(invalid(pointer, detail));
                    }
                    Some(_) => {}
                }
            }
            let Some(volume) = &disk.volume else { continue };
            let pointer = format!("/disks/{index}/volume");
            if let Some(what) = self.volumes.withheld(volume) {
                let detail = format!("volume `{volume}` {what}");
                return Err(Problem::new(Kind::Conflict, detail).at(pointer));
            }
            if !self.volumes.contains(volume).await? {
                let detail = format!("there is no volume `{volume}`; PUT /v1/volumes/{volume} makes it");
                return Err(invalid(pointer, detail));
            }
            if let Some(other) = uses.volume(volume).filter(|other| other != vm) {
                let detail =
                    format!("volume `{volume}` is a disk of VM `{other}`; no two VMs have the same one");
                return Err(invalid(pointer, detail));
            }
        }
        Ok(())
    }

    async fn networks_exist(&self, vm: &str, spec: &VmSpec, uses: &Uses) -> Result<(), Problem> {
        if spec.nets.is_empty() {
            return Ok(());
        }
        let there = self.networks.specs().await?;
        for (index, net) in spec.nets.iter().enumerate() {
            let name = &net.network;
            let Some(network) = there.get(name) else {
                let detail = format!("there is no network `{name}`; PUT /v1/networks/{name} makes it");
                return Err(invalid(format!("/nets/{index}/network"), detail));
            };
            let most = networks::mtu(network);
            if let Some(mtu) = net.mtu.filter(|mtu| *mtu > most) {
                let detail = format!("{mtu} bytes; network `{name}` has an MTU of {most}");
                return Err(invalid(format!("/nets/{index}/mtu"), detail));
            }
            let Some(mac) = net.mac.as_deref().and_then(|text| text.parse::<Mac>().ok()) else {
                continue;
            };
            let same = |stored: &&Stored| stored.name != vm && stored.record.macs.contains(&mac.to_string());
            if let Some(other) = uses.0.iter().find(same) {
                let detail = format!("{mac} is an address of VM `{}` already", other.name);
                return Err(invalid(format!("/nets/{index}/mac"), detail));
            }
        }
        Ok(())
    }

    /// The MAC address of each interface of a spec: the one that it names, or one that Axion makes.
    pub(super) async fn macs(&self, name: &str, spec: &VmSpec) -> Result<Vec<String>, Problem> {
        if spec.nets.is_empty() {
            return Ok(Vec::new());
        }
        let machine = answer(self.init.proxy()?.node_status()).await?.machine_id;
        let nets = spec.nets.iter().enumerate();
        Ok(nets
            .map(|(index, net)| {
                let wanted = net.mac.as_deref().and_then(|text| text.parse::<Mac>().ok());
                wanted.unwrap_or_else(|| Mac::made(&machine, &format!("vm {name} {index}")))
            })
            .map(|mac| mac.to_string())
            .collect())
    }

    /// Deletes an image that no VM uses.
    pub async fn delete_image(&self, digest: Digest) -> Result<(), Problem> {
        let _writing = self.writing.lock().await;
        let text = digest.to_string();
        if let Some(user) = self.uses().await?.image(&text) {
            return Err(used(&format!("image {text}"), &[user]));
        }
        let deleted = self.images.delete(digest).await;
        match deleted.map_err(|error| Problem::new(Kind::Internal, chain(&error)))? {
            true => Ok(()),
            false => Err(Problem::new(
                Kind::NotFound,
                format!("there is no image {text}; GET /v1/images lists them"),
            )),
        }
    }

    /// Deletes a volume that no VM uses.
    pub async fn delete_volume(
        &self,
        name: &str,
        forget: bool,
        condition: &Precondition,
    ) -> Result<(), Problem> {
        let _withheld = {
            let _writing = self.writing.lock().await;
            if let Some(user) = self.uses().await?.volume(name) {
                return Err(used(&format!("volume `{name}`"), &[user]));
            }
            self.volumes.withhold(name, "is being deleted")?
        };
        self.volumes.delete(name, forget, condition).await
    }

    /// Sets a volume back to a snapshot, unless a VM that is on has it.
    pub async fn roll_volume_back(
        &self,
        name: &str,
        snapshot: &str,
        discard_newer: bool,
    ) -> Result<(), Problem> {
        if let Some(user) = self.uses().await?.volume(name) {
            self.wait_until_recorded(&user).await?;
        }
        let _withheld = {
            let _writing = self.writing.lock().await;
            let units = self.init.units()?;
            for stored in self.uses().await?.0 {
                let disks = &stored.record.spec.disks;
                let has = disks.iter().any(|disk| disk.volume.as_deref() == Some(name));
                if has && !Self::is_off(&stored, &units) {
                    let detail = format!("volume `{name}` is a disk of VM `{}`; stop it first", stored.name);
                    return Err(Problem::new(Kind::Conflict, detail));
                }
            }
            self.volumes.withhold(name, "is being set back")?
        };
        self.volumes.roll_back(name, snapshot, discard_newer).await
    }

    /// Deletes a network that no VM uses.
    pub async fn delete_network(&self, name: &str, condition: &Precondition) -> Result<(), Problem> {
        let _writing = self.writing.lock().await;
        let users = self.uses().await?.network(name);
        if !users.is_empty() {
            return Err(used(&format!("network `{name}`"), &users));
        }
        self.networks.delete(name, condition).await
    }
}

fn no_image(digest: Digest, pointer: String) -> Problem {
    let detail = format!("there is no image {digest}; upload it with PUT /v1/images/{digest}");
    invalid(pointer, detail)
}

fn used(what: &str, users: &[String]) -> Problem {
    let users: Vec<String> = users.iter().map(|user| format!("VM `{user}`")).collect();
    Problem::new(Kind::Conflict, format!("{what} is used by {}", users.join(", ")))
}
