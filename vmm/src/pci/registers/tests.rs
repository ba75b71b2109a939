use super::*;

const ADDRESS: u64 = 0xc001_0000;

fn registers() -> Registers {
    let mut registers = Registers::new(Identity {
        vendor: 0x1af4,
        device: 0x1042,
        revision: 1,
        class: 0x01_8000,
        subsystem_vendor: 0x1af4,
        subsystem: 0x1100,
    });
    registers.set_bar(ADDRESS, 0x8000);
    registers
}

fn dword(registers: &Registers, offset: u16) -> u32 {
    let mut data = [0xff; 4];
    registers.read(offset, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn header_says_who_it_is() {
    let registers = registers();
    assert_eq!(dword(&registers, 0), 0x1042_1af4);
    assert_eq!(dword(&registers, 8), 0x0180_0001);
    assert_eq!(dword(&registers, 0x0c), 0, "header type 0");
    assert_eq!(dword(&registers, 0x2c), 0x1100_1af4);
    assert_eq!(dword(&registers, 0x3c), 0, "no interrupt pin");
    assert_eq!(dword(&registers, 0x100), 0, "no extended capability");
    assert_eq!(dword(&registers, 0xfffc), 0);
    let mut bytes = [0; 2];
    registers.read(2, &mut bytes);
    assert_eq!(bytes, [0x42, 0x10], "narrow reads");
}

/// As `pci_read_bases` of Linux does: decoding off, all ones, read, restore, decoding on.
#[test]
fn bar_is_sized_and_restored() {
    let mut registers = registers();
    assert!(registers.decodes());
    let command = registers.u16(4);
    registers.write(4, &(command & !3).to_le_bytes());
    assert!(!registers.decodes());
    let (low, high) = (dword(&registers, 0x10), dword(&registers, 0x14));
    assert_eq!((low, high), (0xc001_0004, 0));
    for at in [0x10, 0x14] {
        registers.write(at, &u32::MAX.to_le_bytes());
    }
    assert_eq!(dword(&registers, 0x10), 0xffff_8004);
    assert_eq!(dword(&registers, 0x14), 0xffff_ffff);
    registers.write(0x10, &low.to_le_bytes());
    registers.write(0x14, &high.to_le_bytes());
    registers.write(4, &command.to_le_bytes());
    assert!(registers.decodes());
    for at in [0x18u16, 0x1c, 0x20, 0x24, 0x30] {
        registers.write(at, &u32::MAX.to_le_bytes());
        assert_eq!(dword(&registers, at), 0, "no BAR at {at:#x}");
    }
}

#[test]
fn elsewhere_it_does_not_decode() {
    let mut registers = registers();
    registers.write(0x10, &0xc100_0000u32.to_le_bytes());
    assert!(!registers.decodes());
    registers.write(0x10, &0xc001_0000u32.to_le_bytes());
    assert!(registers.decodes());
    registers.write(0x14, &1u32.to_le_bytes());
    assert!(!registers.decodes());
}

#[test]
fn capabilities_are_a_list_with_fixed_bits() {
    let mut registers = registers();
    assert_eq!(dword(&registers, 4) >> 16 & 0x10, 0);
    let first = registers.add_capability(0x11, &[1, 2, 3, 4, 5], &[0x0f]);
    let second = registers.add_capability(0x09, &[9; 14], &[]);
    assert_eq!(dword(&registers, 4) >> 16 & 0x10, 0x10);
    assert_eq!(dword(&registers, 0x34), 0x40);
    assert_eq!((first, second), (0x40, 0x48));
    assert_eq!(dword(&registers, 0x40), 0x0201_4811);
    assert_eq!(dword(&registers, 0x48), 0x0909_0009, "end of the list");
    registers.write(0x40, &u32::MAX.to_le_bytes());
    assert_eq!(dword(&registers, 0x40), 0x020f_4811);
    registers.write(0, &[0; 4]);
    assert_eq!(dword(&registers, 0), 0x1042_1af4);
    registers.write(0xffff, &[0; 4]);
}
