use axion_api::vmm::{CpuTopology, GuestNode, MemoryConfig};
use axion_core::topology::CpuSet;

use super::*;

const BASE: usize = 0xe_0000;

fn topology(sockets: u32, cores: u32) -> Topology {
    Topology::new(CpuTopology {
        sockets,
        cores,
        threads: 1,
        l3_cores: None,
    })
}

fn made(topology: &Topology, memory: &MemoryConfig) -> Result<Tables, TooLarge> {
    let more = memory.max.map_or(0, |max| max - memory.size);
    let layout = Layout::new(memory.size, more, 40).unwrap();
    let numa = Numa::new(memory, topology.cpus(), &layout);
    Tables::new(topology, &numa, &layout)
}

fn tables(cpus: u32, size: u64) -> Vec<u8> {
    let memory = MemoryConfig {
        size,
        ..Default::default()
    };
    made(&topology(1, cpus), &memory).unwrap().bytes().to_vec()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap()
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The table at a physical address, its checksum verified.
fn table(block: &[u8], address: usize) -> &[u8] {
    let start = address - BASE;
    let table = &block[start..start + u32_at(block, start + 4) as usize];
    assert_eq!(
        sum(table),
        0,
        "checksum of {:?}",
        String::from_utf8_lossy(&table[..4])
    );
    table
}

fn find<'a>(block: &'a [u8], signature: &[u8; 4]) -> &'a [u8] {
    let xsdt = table(block, u64_at(block, 24));
    assert_eq!(&xsdt[..4], b"XSDT");
    (36..xsdt.len())
        .step_by(8)
        .map(|at| table(block, u64_at(xsdt, at)))
        .find(|table| &table[..4] == signature)
        .unwrap_or_else(|| panic!("no {}", String::from_utf8_lossy(signature)))
}

#[test]
fn rsdp_is_valid() {
    let block = tables(1, 256 << 20);
    assert_eq!(&block[..8], b"RSD PTR ");
    assert_eq!(block[15], 2);
    assert_eq!(sum(&block[..20]), 0);
    assert_eq!(sum(&block[..36]), 0);
}

#[test]
fn fadt_is_hardware_reduced_with_its_registers() {
    let block = tables(1, 256 << 20);
    let fadt = find(&block, b"FACP");
    assert_eq!(fadt.len(), 276);
    let flags = u32_at(fadt, 112);
    for bit in [4, 5, 10, 20] {
        assert_ne!(flags & 1 << bit, 0, "flag {bit}");
    }
    assert_eq!(
        fadt[109..111],
        [0x24, 0],
        "no legacy devices, no 8042, no VGA, no CMOS clock"
    );
    assert_eq!(u64_at(fadt, 120), 0x602, "reset register");
    assert_eq!(fadt[128], 1, "reset value");
    assert_eq!((fadt[244], u64_at(fadt, 248)), (1, 0x600), "sleep control");
    assert_eq!((fadt[256], u64_at(fadt, 260)), (1, 0x601), "sleep status");
    let dsdt = table(&block, u64_at(fadt, 140));
    assert_eq!(&dsdt[..4], b"DSDT");
}

#[test]
fn madt_lists_every_cpu_in_the_structure_its_id_needs() {
    let block = tables(300, 256 << 20);
    let madt = find(&block, b"APIC");
    assert_eq!(u32_at(madt, 36), 0xfee0_0000);
    assert_eq!(u32_at(madt, 40), 0, "no 8259");
    let (mut at, mut short, mut long, mut ioapics, mut nmis) = (44, 0, 0, 0, 0);
    while at < madt.len() {
        match (madt[at], madt[at + 1]) {
            (0, 8) => short += 1,
            (9, 16) => {
                assert_eq!(u32_at(madt, at + 4), 255 + long);
                long += 1;
            }
            (1, 12) => {
                assert_eq!(u32_at(madt, at + 4), 0xfec0_0000);
                ioapics += 1;
            }
            (4, 6) | (0xa, 12) => nmis += 1,
            other => panic!("structure {other:?}"),
        }
        at += usize::from(madt[at + 1]);
    }
    assert_eq!((at, short, long, ioapics, nmis), (madt.len(), 255, 45, 1, 2));
}

/// What follows the header of a table, as lines of hex; a blank separates what the eye should.
fn body(table: &[u8], header: usize, lines: &[&str]) {
    let wanted: String = lines.concat().replace(' ', "");
    let is: String = table[header..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(is, wanted);
}

#[test]
fn one_node_has_all_cpus_and_memory() {
    let block = tables(2, 5 << 30);
    body(
        find(&block, b"SRAT"),
        36,
        &[
            "01000000 0000000000000000",
            "00 10 00 00 01000000 00 000000 00000000",
            "00 10 00 01 01000000 00 000000 00000000",
            "01 28 00000000 0000 0000000000000000 000000c000000000 00000000 01000000 0000000000000000",
            "01 28 00000000 0000 0000000001000000 0000008000000000 00000000 01000000 0000000000000000",
        ],
    );
    body(find(&block, b"SLIT"), 36, &["0100000000000000", "0a"]);
}

#[test]
fn memory_to_come_is_hot_pluggable() {
    let memory = MemoryConfig {
        size: 64 << 20,
        max: Some((64 << 20) + (1 << 30)),
        ..Default::default()
    };
    let block = made(&topology(1, 1), &memory).unwrap().bytes().to_vec();
    body(
        find(&block, b"SRAT"),
        36,
        &[
            "01000000 0000000000000000",
            "00 10 00 00 01000000 00 000000 00000000",
            "01 28 00000000 0000 0000000000000000 0000000400000000 00000000 01000000 0000000000000000",
            "01 28 00000000 0000 0000004000000000 0000004000000000 00000000 03000000 0000000000000000",
        ],
    );
}

#[test]
fn nodes_have_their_cpus_memory_and_distances() {
    let node = |size, cpus: &str, distances: &[u8]| GuestNode {
        size,
        host_node: None,
        cpus: cpus.parse().unwrap(),
        distances: distances.to_vec(),
    };
    // Two sockets of three cores: APIC ids 0 to 2 and 4 to 6. The second node lies across the gap.
    let memory = MemoryConfig {
        size: 6 << 30,
        nodes: vec![node(2 << 30, "0-2", &[10, 21]), node(4 << 30, "3-5", &[31, 10])],
        ..Default::default()
    };
    let block = made(&topology(2, 3), &memory).unwrap().bytes().to_vec();
    let srat = find(&block, b"SRAT");
    assert_eq!(srat[8], 3, "revision");
    body(
        srat,
        36,
        &[
            "01000000 0000000000000000",
            "00 10 00 00 01000000 00 000000 00000000",
            "00 10 00 01 01000000 00 000000 00000000",
            "00 10 00 02 01000000 00 000000 00000000",
            "00 10 01 04 01000000 00 000000 00000000",
            "00 10 01 05 01000000 00 000000 00000000",
            "00 10 01 06 01000000 00 000000 00000000",
            "01 28 00000000 0000 0000000000000000 0000008000000000 00000000 01000000 0000000000000000",
            "01 28 01000000 0000 0000008000000000 0000004000000000 00000000 01000000 0000000000000000",
            "01 28 01000000 0000 0000000001000000 000000c000000000 00000000 01000000 0000000000000000",
        ],
    );
    let slit = find(&block, b"SLIT");
    assert_eq!(slit[8], 1, "revision");
    body(slit, 36, &["0200000000000000", "0a15", "1f0a"]);
    // UID and APIC id of the fourth CPU differ.
    assert_eq!(find(&block, b"APIC")[44 + 3 * 8..][..8], [0, 8, 3, 4, 1, 0, 0, 0]);
}

#[test]
fn srat_uses_the_structure_that_an_id_needs() {
    let memory = MemoryConfig {
        size: 64 << 20,
        nodes: ["0-254", "255-299"]
            .map(|cpus| GuestNode {
                size: 32 << 20,
                cpus: cpus.parse().unwrap(),
                ..Default::default()
            })
            .to_vec(),
        ..Default::default()
    };
    let block = made(&topology(1, 300), &memory).unwrap().bytes().to_vec();
    let srat = find(&block, b"SRAT");
    let (first, rest) = srat[48..].split_at(255 * 16);
    assert!(first.chunks(16).all(|entry| entry[..3] == [0, 16, 0]));
    body(
        &rest[..24],
        0,
        &["02 18 0000 01000000 ff000000 01000000 00000000 00000000"],
    );
    assert_eq!(rest.len(), 45 * 24 + 2 * 40);
}

#[test]
fn apic_ids_from_255_on_are_x2apic_even_with_few_cpus() {
    // Five sockets of 33 cores in fields of 3 and 6 bits: the last CPU has the APIC id 288 and the UID 164.
    let memory = MemoryConfig {
        size: 64 << 20,
        ..Default::default()
    };
    let block = made(&topology(5, 33), &memory).unwrap().bytes().to_vec();
    let madt = find(&block, b"APIC");
    let long = 44 + 4 * 33 * 8;
    assert_eq!(madt[long..][..4], [9, 16, 0, 0]);
    assert_eq!((u32_at(madt, long + 4), u32_at(madt, long + 12)), (256, 132));
}

#[test]
fn mcfg_names_the_ecam_window() {
    let block = tables(1, 256 << 20);
    let mcfg = find(&block, b"MCFG");
    assert_eq!(u64_at(mcfg, 44), 0xe000_0000);
    assert_eq!(mcfg[54..56], [0, 0], "buses");
}

#[test]
fn dsdt_names_its_devices() {
    let block = tables(1, 256 << 20);
    let dsdt = table(&block, u64_at(find(&block, b"FACP"), 140));
    for name in ["PCI0", "MBRD", "COM1", "PWRB", "GED_", "_EVT", "_S5_", "ACPI0013"] {
        assert!(dsdt.windows(name.len()).any(|w| w == name.as_bytes()), "{name}");
    }
}

#[test]
fn host_bridge_has_both_windows_and_ecam_is_reserved() {
    let block = tables(1, 256 << 20);
    let dsdt = table(&block, u64_at(find(&block, b"FACP"), 140));
    let contains = |bytes: &[u8]| dsdt.windows(bytes.len()).any(|w| w == bytes);
    // Address space descriptors (ACPI §6.4.3.5): memory, fixed; granularity, minimum, maximum.
    let mut low = vec![0x8a, 43, 0, 0, 0x0c, 1];
    for word in [0u64, 0xc000_0000, 0xdfff_ffff] {
        low.extend(word.to_le_bytes());
    }
    assert!(contains(&low), "32-bit window");
    let mut high = vec![0x8a, 43, 0, 0, 0x0c, 1];
    for word in [0u64, 1 << 32, (1 << 40) - 1] {
        high.extend(word.to_le_bytes());
    }
    assert!(contains(&high), "64-bit window");
    // Fixed memory (ACPI §6.4.3.4).
    let mut ecam = vec![0x86, 9, 0, 1];
    for word in [0xe000_0000u32, 1 << 20] {
        ecam.extend(word.to_le_bytes());
    }
    assert!(contains(&ecam), "ECAM");
}

#[test]
fn the_largest_machine_fits() {
    let node = |cpus: CpuSet| GuestNode {
        size: 1 << 30,
        cpus,
        ..Default::default()
    };
    let nodes: Vec<_> = (0..64)
        .map(|index| node((index * 16..(index + 1) * 16).collect()))
        .collect();
    let memory = MemoryConfig {
        size: 64 << 30,
        nodes,
        ..Default::default()
    };
    made(&topology(64, layout::MAX_CPUS / 64), &memory).unwrap();
    assert!(made(&topology(1, 4 * layout::MAX_CPUS), &memory).is_err());
}
