use super::*;

const BASE: usize = 0xe_0000;

fn tables(cpus: u32, size: u64) -> Vec<u8> {
    let layout = Layout::new(size, 40).unwrap();
    Tables::new(cpus, &layout).unwrap().bytes().to_vec()
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

#[test]
fn srat_covers_all_cpus_and_memory() {
    let size = 5 << 30;
    let block = tables(3, size);
    let srat = find(&block, b"SRAT");
    let (mut at, mut cpus, mut memory) = (48, 0, 0);
    while at < srat.len() {
        match srat[at] {
            2 => cpus += 1,
            1 => memory += u64_at(srat, at + 16) as u64,
            other => panic!("structure {other}"),
        }
        at += usize::from(srat[at + 1]);
    }
    assert_eq!((cpus, memory), (3, size));
    assert_eq!(find(&block, b"SLIT")[36..], [1, 0, 0, 0, 0, 0, 0, 0, 10]);
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
    let layout = Layout::new(5 << 30, 46).unwrap();
    Tables::new(layout::MAX_CPUS, &layout).unwrap();
    assert!(Tables::new(4 * layout::MAX_CPUS, &layout).is_err());
}
