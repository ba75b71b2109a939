//! `--disk`, `--net`, other devices, and what cloud-init is told: as they are written on the command line, and as the API has them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use axion_api::client::Client;
use axion_api::vm::{CloudInit, ConsoleKind, VmBalloon, VmDisk, VmNet, VmVsock};
use clap::Args;

use crate::error::Error;
use crate::image::{self, Source};
use crate::output::Output;

/// Disks, networks, other devices and cloud-init of a VM to be made.
#[derive(Debug, Args)]
pub struct Devices {
    /// A disk: `volume=NAME`, or `image=` a raw disk image here or the `sha256:` of an uploaded one, which the guest only
    /// reads; then `,ro` and `,serial=TEXT`. In the order given: /dev/vda, /dev/vdb …
    #[arg(long = "disk", value_name = "DISK")]
    disks: Vec<Disk>,
    /// A network interface: NETWORK, then `,mac=ADDRESS`, `,mtu=BYTES`, `,queues=NUMBER`
    #[arg(long = "net", value_name = "NET")]
    nets: Vec<Net>,
    /// Socket device: `axctl vm vsock` connects to ports of the guest. The guest's context id may be given
    #[arg(long, value_name = "CID", num_args = 0..=1, require_equals = true, default_missing_value = "3")]
    vsock: Option<u32>,
    /// Balloon: `axctl vm balloon` asks the guest for memory, and what it does not use goes back to the node
    #[arg(long)]
    balloon: bool,
    /// Console on virtio (hvc0) instead of a serial line (ttyS0): faster where much is printed
    #[arg(long)]
    virtio_console: bool,
    /// File with what cloud-init in the guest is to do: `#cloud-config` and YAML, or a script
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// File with cloud-init's meta-data, instead of the VM's name
    #[arg(long, value_name = "FILE", requires = "user_data")]
    meta_data: Option<PathBuf>,
    /// File with cloud-init's network-config
    #[arg(long, value_name = "FILE", requires = "user_data")]
    network_config: Option<PathBuf>,
}

/// A disk as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    of: Of,
    read_only: bool,
    serial: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Of {
    Volume(String),
    Image(Source),
}

impl FromStr for Disk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let of = match parts.next().and_then(|first| first.split_once('=')) {
            Some(("volume", name)) if !name.is_empty() => Of::Volume(name.to_owned()),
            Some(("image", image)) if !image.is_empty() => {
                let Ok(source) = image.parse();
                Of::Image(source)
            }
            _ => return Err("a disk begins with `volume=NAME` or `image=FILE`".to_owned()),
        };
        let mut disk = Self {
            of,
            read_only: false,
            serial: None,
        };
        for part in parts {
            match part.split_once('=') {
                None if part == "ro" => disk.read_only = true,
                Some(("serial", serial)) => disk.serial = Some(serial.to_owned()),
                _ => return Err(format!("`{part}`; allowed are `ro` and `serial=TEXT`")),
            }
        }
        Ok(disk)
    }
}

/// A network interface as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Net(VmNet);

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let network = parts.next().unwrap_or_default();
        if network.is_empty() || network.contains('=') {
            return Err("an interface begins with the name of its network".to_owned());
        }
        let mut net = VmNet {
            network: network.to_owned(),
            ..VmNet::default()
        };
        let number = |key: &str, value: &str| {
            value
                .parse::<u16>()
                .map(Some)
                .map_err(|_| format!("{key}=`{value}` is no number from 0 to 65535"))
        };
        for part in parts {
            match part.split_once('=') {
                Some(("mac", mac)) => net.mac = Some(mac.to_owned()),
                Some((key @ "mtu", value)) => net.mtu = number(key, value)?,
                Some((key @ "queues", value)) => net.queues = number(key, value)?,
                _ => {
                    return Err(format!(
                        "`{part}`; allowed are `mac=ADDRESS`, `mtu=BYTES` and `queues=NUMBER`"
                    ));
                }
            }
        }
        Ok(Self(net))
    }
}

impl Devices {
    /// The disks as the API has them; images that are files here are uploaded.
    ///
    /// # Errors
    /// A file cannot be read or uploaded.
    pub async fn disks(&self, client: &Client, output: &Output) -> Result<Vec<VmDisk>, Error> {
        let mut disks = Vec::new();
        for disk in &self.disks {
            let mut wanted = VmDisk {
                read_only: disk.read_only,
                serial: disk.serial.clone(),
                ..VmDisk::default()
            };
            match &disk.of {
                Of::Volume(name) => wanted.volume = Some(name.clone()),
                Of::Image(Source::Digest(digest)) => wanted.image = Some(digest.clone()),
                Of::Image(Source::File(file)) => {
                    wanted.image = Some(image::ensure(client, file, output).await?.digest);
                }
            }
            disks.push(wanted);
        }
        Ok(disks)
    }

    /// The interfaces as the API has them.
    pub fn nets(&self) -> Vec<VmNet> {
        self.nets.iter().map(|Net(net)| net.clone()).collect()
    }

    /// The socket device as the API has it.
    pub fn vsock(&self) -> Option<VmVsock> {
        self.vsock.map(|cid| VmVsock { cid })
    }

    /// The balloon as the API has it.
    pub fn balloon(&self) -> Option<VmBalloon> {
        self.balloon.then(VmBalloon::default)
    }

    /// The console as the API has it.
    pub fn console(&self) -> ConsoleKind {
        if self.virtio_console {
            ConsoleKind::Virtio
        } else {
            ConsoleKind::Serial
        }
    }

    /// What cloud-init is told.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn cloud_init(&self) -> Result<Option<CloudInit>, Error> {
        let Some(user_data) = &self.user_data else {
            return Ok(None);
        };
        let optional = |file: &Option<PathBuf>| file.as_deref().map(read).transpose();
        Ok(Some(CloudInit {
            user_data: read(user_data)?,
            meta_data: optional(&self.meta_data)?,
            network_config: optional(&self.network_config)?,
        }))
    }
}

fn read(file: &Path) -> Result<String, Error> {
    std::fs::read_to_string(file)
        .map_err(|source| Error::io(format!("cannot read {}", file.display()), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_a_volume_or_an_image_and_options() {
        let disk = |text: &str| text.parse::<Disk>();
        let data = disk("volume=data,ro,serial=S1").unwrap();
        assert_eq!(data.of, Of::Volume("data".to_owned()));
        assert_eq!((data.read_only, data.serial.as_deref()), (true, Some("S1")));
        let file = disk("image=./a=b.raw").unwrap();
        assert_eq!(file.of, Of::Image(Source::File("./a=b.raw".into())));
        let known = disk("image=sha256:00").unwrap();
        assert_eq!(known.of, Of::Image(Source::Digest("sha256:00".to_owned())));
        for bad in ["", "data", "volume=", "volume=a,rw", "ro,volume=a", "disk=a"] {
            assert!(disk(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn interfaces_are_a_network_and_options() {
        let net = |text: &str| text.parse::<Net>();
        let Net(lan) = net("lan,mac=02:00:00:00:00:01,mtu=9000,queues=2").unwrap();
        assert_eq!(
            (lan.network.as_str(), lan.mtu, lan.queues),
            ("lan", Some(9000), Some(2))
        );
        assert_eq!(lan.mac.as_deref(), Some("02:00:00:00:00:01"));
        for bad in ["", "mac=x", "lan,x", "lan,mtu=big", "lan,mtu=70000"] {
            assert!(net(bad).is_err(), "{bad}");
        }
    }
}
