//! The fixed-format tables: FADT, MADT, SRAT, SLIT.

use std::ops::Range;

use acpi_tables::fadt::{FADT, FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::sdt::Sdt;

use super::{OEM, OEM_REVISION, OEM_TABLE};
use crate::arch::layout;
use crate::arch::topology::Topology;
use crate::devices::power;
use crate::numa::Numa;

/// FADT `IAPC_BOOT_ARCH`: there is no VGA and no CMOS clock; its clear bits say that there is no 8042 and no ISA device
/// (ACPI §5.2.9.3).
const NO_LEGACY: u16 = 1 << 2 | 1 << 5;
/// Local APIC ids from here on need the x2APIC structures (ACPI §5.2.12.12).
const FIRST_X2APIC_ID: u32 = 255;
/// `Enabled` in the flags of MADT and SRAT structures.
const ENABLED: u32 = 1;
/// `Hot Pluggable` in the flags of SRAT's memory affinity structures.
const HOT_PLUGGABLE: u32 = 2;
/// The local APIC input that is wired to NMI.
const NMI_LINT: u8 = 1;

/// FADT (ACPI §5.2.9).
pub fn fadt(dsdt: u64) -> FADT {
    let register = |port: u16| GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, port.into());
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .dsdt_64(dsdt)
        .preferred_pm_profile(PmProfile::EnterpriseServer)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::Wbinvd)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::ResetRegSup);
    fadt.iapc_boot_arch = NO_LEGACY.into();
    fadt.reset_reg = register(layout::POWER + power::RESET);
    fadt.reset_value = power::RESET_VALUE;
    fadt.sleep_control_reg = register(layout::POWER + power::SLEEP_CONTROL);
    fadt.sleep_status_reg = register(layout::POWER + power::SLEEP_STATUS);
    fadt.finalize()
}

/// MADT (ACPI §5.2.12): one local APIC a vCPU, the I/O APIC, NMI. Processor UIDs are vCPU indices.
pub fn madt(topology: &Topology) -> Sdt {
    let mut body = Vec::new();
    body.extend(layout::LAPIC.to_le_bytes());
    body.extend(0u32.to_le_bytes()); // flags: no 8259 pair
    for cpu in 0..topology.cpus() {
        let id = topology.apic_id(cpu);
        match (short_id(id), u8::try_from(cpu)) {
            (Some(short), Ok(uid)) => {
                body.extend([0, 8, uid, short]); // processor local APIC
                body.extend(ENABLED.to_le_bytes());
            }
            _ => {
                body.extend([9, 16, 0, 0]); // processor local x2APIC
                body.extend(id.to_le_bytes());
                body.extend(ENABLED.to_le_bytes());
                body.extend(cpu.to_le_bytes());
            }
        }
    }
    body.extend([1, 12, 0, 0]); // I/O APIC 0, global interrupts from 0
    body.extend(ioapic_address().to_le_bytes());
    body.extend(0u32.to_le_bytes());
    body.extend([4, 6, 0xff, 0, 0, NMI_LINT]); // local APIC NMI, all processors
    if short_id(topology.max_apic_id()).is_none() {
        body.extend([0xa, 12, 0, 0]); // local x2APIC NMI, all processors
        body.extend(u32::MAX.to_le_bytes());
        body.extend([NMI_LINT, 0, 0, 0]);
    }
    table(*b"APIC", 5, &body)
}

/// The id where the structures for 8-bit APIC ids can hold it.
fn short_id(id: u32) -> Option<u8> {
    u8::try_from(id).ok().filter(|_| id < FIRST_X2APIC_ID)
}

/// SRAT (ACPI §5.2.16): the nodes of vCPUs and RAM, and of memory to come, which is of the only one.
pub fn srat(topology: &Topology, numa: &Numa, hot: Option<&Range<u64>>) -> Sdt {
    let mut body = Vec::new();
    body.extend(1u32.to_le_bytes());
    body.extend(0u64.to_le_bytes());
    for cpu in 0..topology.cpus() {
        let id = topology.apic_id(cpu);
        let domain = numa.node_of(cpu).to_le_bytes();
        if let Some(short) = short_id(id) {
            let [low, high @ ..] = domain;
            body.extend([0, 16, low, short]); // processor local APIC affinity
            body.extend(ENABLED.to_le_bytes());
            body.push(0); // SAPIC
            body.extend(high);
            body.extend(0u32.to_le_bytes()); // clock domain
        } else {
            body.extend([2, 24, 0, 0]); // processor local x2APIC affinity
            body.extend(domain);
            body.extend(id.to_le_bytes());
            body.extend(ENABLED.to_le_bytes());
            body.extend(0u64.to_le_bytes()); // clock domain, reserved
        }
    }
    let mut memory = |domain: u32, range: &Range<u64>, flags: u32| {
        body.extend([1, 40]); // memory affinity
        body.extend(domain.to_le_bytes());
        body.extend([0; 2]);
        body.extend(range.start.to_le_bytes());
        body.extend((range.end - range.start).to_le_bytes());
        body.extend([0; 4]);
        body.extend(flags.to_le_bytes());
        body.extend([0; 8]);
    };
    for (domain, node) in (0u32..).zip(numa.nodes()) {
        node.ranges.iter().for_each(|ram| memory(domain, ram, ENABLED));
    }
    if let Some(hot) = hot {
        memory(0, hot, ENABLED | HOT_PLUGGABLE);
    }
    table(*b"SRAT", 3, &body)
}

/// SLIT (ACPI §5.2.17): distances between nodes.
pub fn slit(numa: &Numa) -> Sdt {
    let mut body = (numa.nodes().len() as u64).to_le_bytes().to_vec();
    for node in numa.nodes() {
        body.extend(&node.distances);
    }
    table(*b"SLIT", 1, &body)
}

fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Sdt {
    const HEADER: u32 = 36;
    let mut sdt = Sdt::new(signature, HEADER, revision, OEM, OEM_TABLE, OEM_REVISION);
    sdt.append_slice(body);
    sdt
}

fn ioapic_address() -> u32 {
    const { assert!(layout::IOAPIC <= u32::MAX as u64) };
    u32::try_from(layout::IOAPIC).unwrap_or_default()
}
