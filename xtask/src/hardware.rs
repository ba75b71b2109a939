//! `docs/hardware.md`, generated from what the built-in drivers look for.

mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use self::tables::Tables;
use crate::modinfo::{self, Driver};
use crate::step::Step;
use crate::{kernel, layout};

/// Options of `hardware`.
#[derive(Args)]
pub struct Options {
    /// Change nothing, and fail where the committed file is not what would be written
    #[arg(long)]
    check: bool,
}

/// A part of the document.
struct Section {
    heading: &'static str,
    about: &'static str,
    /// Where its drivers are in the kernel's tree: directories, or single drivers.
    places: &'static [&'static str],
    /// Drivers that are found by something else than an id, and are shown all the same.
    others: &'static [&'static str],
}

const SECTIONS: [Section; 8] = [
    Section {
        heading: "Network cards",
        about: "Built in, so that a node can fetch its config before its root is there.",
        places: &[
            "drivers/net/ethernet/",
            "drivers/net/vmxnet3/",
            "drivers/net/virtio_net",
        ],
        others: &["virtio_net"],
    },
    Section {
        heading: "RDMA",
        about: "On the network cards above.",
        places: &["drivers/infiniband/hw/", "drivers/infiniband/ulp/"],
        others: &["bnxt_re", "irdma", "mlx5_ib", "ib_ipoib"],
    },
    Section {
        heading: "Storage controllers",
        about: "",
        places: &[
            "drivers/nvme/host/",
            "drivers/ata/",
            "drivers/scsi/",
            "drivers/block/",
            "drivers/usb/storage/",
            "drivers/pci/controller/",
        ],
        others: &[
            "nvme_tcp",
            "nvme_rdma",
            "usb_storage",
            "uas",
            "virtio_blk",
            "virtio_scsi",
        ],
    },
    Section {
        heading: "USB controllers",
        about: "",
        places: &["drivers/usb/host/"],
        others: &[],
    },
    Section {
        heading: "Watchdogs",
        about: "",
        places: &["drivers/watchdog/", "drivers/char/ipmi/ipmi_watchdog"],
        others: &["iTCO_wdt", "ipmi_watchdog"],
    },
    Section {
        heading: "TPM and management controllers",
        about: "",
        places: &[
            "drivers/char/tpm/",
            "drivers/char/ipmi/ipmi_si",
            "drivers/misc/mei/",
        ],
        others: &["ipmi_si"],
    },
    Section {
        heading: "Platform",
        about: "Power, sensors, error counters, accelerators for copies, passing on devices to VMs.",
        places: &[
            "drivers/acpi/",
            "drivers/cpufreq/",
            "drivers/dma/",
            "drivers/edac/",
            "drivers/hwmon/",
            "drivers/i2c/busses/",
            "drivers/mfd/",
            "drivers/powercap/",
            "drivers/rtc/",
            "drivers/thermal/",
            "drivers/vfio/pci/",
        ],
        others: &[
            "acpi_cpufreq",
            "amd64_edac",
            "coretemp",
            "ghes_edac",
            "i10nm_edac",
            "intel_rapl_msr",
            "rtc_cmos",
            "skx_edac",
            "vfio_pci",
            "x86_pkg_temp_thermal",
        ],
    },
    Section {
        heading: "Screens and serial ports",
        about: "",
        places: &["drivers/gpu/drm/", "drivers/tty/serial/"],
        others: &["simpledrm", "virtio_gpu", "8250"],
    },
];

const HEAD: &str = "\
# Hardware

What the kernel of the image drives, out of its drivers' own tables. This file is generated (`cargo xtask hardware`); do not edit it.

A device that is here has a driver in the image. That is not to say that it was tried: nothing has been on metal yet. *Firmware* says that
the driver loads files into the device; they are in an image that was built `--with-firmware` and in no other
([media.md](media.md#firmware)), and many such devices work without. A node says what its drivers asked for and did not get:
`axctl host show`.

PCI devices are listed by vendor and device, as `lspci -nn` shows them, or by class; `*` stands for every one. Others are found by their ACPI id, or
by the bus that they are on.
";

fn path() -> PathBuf {
    layout::root().join("docs/hardware.md")
}

/// Writes the document, or checks it.
pub fn hardware(options: &Options) -> Result<()> {
    let built = kernel::HOST.build()?;
    let step = Step::start("hardware")?;
    let tree = kernel::unpack(&step, &built.source)?;
    let tables = tables::read(&tree, &kernel::HOST.build_tree())?;
    ensure!(
        !tables.is_empty(),
        "{} has no object files; remove the kernel from the cache and build it again",
        kernel::HOST.build_tree().display()
    );
    let text = document(&modinfo::read(&built.dir)?, &tables);
    step.done();
    if options.check {
        let committed = fs::read_to_string(path()).unwrap_or_default();
        ensure!(
            committed == text,
            "docs/hardware.md is not current; run `cargo xtask hardware`"
        );
    } else {
        fs::write(path(), text)?;
    }
    Ok(())
}

/// The document. Pure.
fn document(drivers: &[Driver], tables: &Tables) -> String {
    let mut text = HEAD.to_owned();
    for section in &SECTIONS {
        let in_place = |driver: &&Driver| {
            section.places.iter().any(|place| match place.strip_suffix('/') {
                Some(_) => driver.file.starts_with(place),
                None => driver.file == *place,
            })
        };
        let ids = |driver: &Driver| tables.get(&driver.file).cloned().unwrap_or_default();
        let is_shown =
            |driver: &&Driver| !ids(driver).is_empty() || section.others.contains(&driver.name.as_str());
        let mut own: Vec<&Driver> = drivers.iter().filter(in_place).filter(is_shown).collect();
        own.sort_by_key(|driver| &driver.file);
        if own.is_empty() {
            continue;
        }
        let _ = write!(text, "\n## {}\n\n", section.heading);
        if !section.about.is_empty() {
            let _ = write!(text, "{}\n\n", section.about);
        }
        text.push_str("| driver | drives | firmware | ids |\n|---|---|---|---|\n");
        for driver in own {
            let firmware = if driver.firmware.is_empty() { "" } else { "yes" };
            let _ = writeln!(
                text,
                "| `{}` | {} | {firmware} | {} |",
                driver.name,
                cell(&driver.description),
                shown(&ids(driver))
            );
        }
    }
    text
}

fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace('|', "\\|").replace('<', "&lt;")
}

/// Ids by vendor: `8086: 1521 1522`.
fn shown(ids: &BTreeSet<String>) -> String {
    let mut by_vendor: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for id in ids {
        let (vendor, device) = id.split_once(':').unwrap_or(("", id));
        by_vendor.entry(vendor).or_default().push(device);
    }
    let lists = by_vendor.into_iter().map(|(vendor, devices)| {
        let devices = devices.join(" ");
        if vendor.is_empty() {
            devices
        } else {
            format!("{vendor}: {devices}")
        }
    });
    lists.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
