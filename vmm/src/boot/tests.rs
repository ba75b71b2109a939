use std::fs;

use axion_api::vmm::{CpuTopology, GuestNode, MemoryConfig};
use axion_core::topology::CpuSet;
use proptest::prelude::*;

use super::*;
use crate::arch::topology::Topology;
use crate::memory::Ram;
use crate::numa::Numa;

struct Bench {
    dir: tempfile::TempDir,
    layout: Layout,
    numa: Numa,
    ram: Ram,
}

impl Bench {
    fn new() -> Self {
        let size = 64 << 20;
        let layout = Layout::new(size, 0, 40).unwrap();
        // What is loaded may lie across nodes.
        let node = GuestNode {
            size: size / 2,
            ..Default::default()
        };
        let config = MemoryConfig {
            size,
            nodes: vec![node.clone(), node],
            ..Default::default()
        };
        let numa = Numa::new(&config, 1, &layout);
        let ram = Ram::map(&numa, &layout, &config, &CpuSet::default()).unwrap();
        Self {
            dir: tempfile::tempdir().unwrap(),
            layout,
            numa,
            ram,
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn load(&self, kernel: &[u8], initrd: Option<&[u8]>) -> Result<Entry, BootError> {
        let config = BootConfig {
            kernel: self.file("kernel", kernel),
            initrd: initrd.map(|bytes| self.file("initrd", bytes)),
            cmdline: "console=ttyS0".to_owned(),
        };
        let one = Topology::new(CpuTopology {
            sockets: 1,
            cores: 1,
            threads: 1,
            l3_cores: None,
        });
        let acpi = Tables::new(&one, &self.numa, &self.layout).unwrap();
        BootFiles::open(&config)?.load(self.ram.guest(), &self.layout, &acpi)
    }

    fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.ram
            .guest()
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }

    fn u64(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.read(address))
    }

    fn u32(&self, address: u64) -> u32 {
        u32::from_le_bytes(self.read(address))
    }
}

/// An ELF with one segment at 1 MiB and, if asked for, a PVH note.
fn elf(code: &[u8], note: bool) -> Vec<u8> {
    const NOTE: u64 = 64 + 2 * 56;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0x10_0000u64, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0; 4]);
    for half in [64u16, 56, 1 + u16::from(note), 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let header = |kind: u32, offset: u64, address: u64, size: u64| {
        let mut bytes = [kind.to_le_bytes(), 7u32.to_le_bytes()].concat();
        for word in [offset, address, address, size, size, 4] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    };
    file.extend(header(1, NOTE + 20, 0x10_0000, code.len() as u64));
    file.extend(header(4, NOTE, 0, 20));
    for word in [4u32, 4, 18, u32::from_le_bytes(*b"Xen\0"), 0x10_0000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

#[test]
fn pvh_kernel_finds_everything_in_its_start_info() {
    let bench = Bench::new();
    let entry = bench.load(&elf(b"code", true), Some(b"initrd")).unwrap();
    assert_eq!(entry, Entry::Pvh { address: 0x10_0000 });
    assert_eq!(&bench.read::<4>(0x10_0000), b"code");
    assert_eq!(bench.u32(layout::PVH_INFO), 0x336e_c578);
    assert_eq!(bench.u32(layout::PVH_INFO + 12), 1, "one module");
    let initrd = bench.u64(bench.u64(layout::PVH_INFO + 16));
    assert_eq!(&bench.read::<6>(initrd), b"initrd");
    assert_eq!(
        &bench.read::<14>(bench.u64(layout::PVH_INFO + 24)),
        b"console=ttyS0\0"
    );
    assert_eq!(&bench.read::<8>(bench.u64(layout::PVH_INFO + 32)), b"RSD PTR ");
    assert_eq!(bench.u32(layout::PVH_INFO + 48), 4, "memory map entries");
}

/// A bzImage whose loaded part is `code`.
#[test]
fn initrd_may_lie_across_nodes() {
    let bench = Bench::new();
    let initrd: Vec<u8> = (0..40u32 << 20).map(|at| (at >> 12).to_le_bytes()[0]).collect();
    bench.load(&elf(b"code", true), Some(&initrd)).unwrap();
    let start = bench.u64(bench.u64(layout::PVH_INFO + 16));
    assert!(start < 32 << 20, "{start:#x}");
    let edge = (32 << 20) - start;
    let at = usize::try_from(edge).unwrap();
    assert_eq!(
        bench.read::<8192>((32 << 20) - 4096),
        initrd[at - 4096..at + 4096]
    );
}

fn bzimage(code: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut file = vec![0; 1024];
    file[0x1f1] = 1; // one setup sector after the first
    file[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x020fu16.to_le_bytes());
    file[0x211] = 1; // loaded high
    file[0x214..0x218].copy_from_slice(&0x10_0000u32.to_le_bytes());
    file[0x22c..0x230].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
    file[0x236..0x238].copy_from_slice(&1u16.to_le_bytes());
    file[0x258..0x260].copy_from_slice(&0x100_0000u64.to_le_bytes());
    file[0x260..0x264].copy_from_slice(&0x20_0000u32.to_le_bytes());
    file.extend(code);
    change(&mut file);
    file
}

#[test]
fn bzimage_finds_everything_in_its_zero_page() {
    let bench = Bench::new();
    let entry = bench.load(&bzimage(b"code", |_| ()), Some(b"initrd")).unwrap();
    assert_eq!(entry, Entry::Linux64 { address: 0x10_0200 });
    assert_eq!(&bench.read::<4>(0x10_0000), b"code");
    let zero_page = layout::ZERO_PAGE;
    let initrd = bench.u32(zero_page + 0x218);
    assert_eq!(
        (&bench.read::<6>(initrd.into()), bench.u32(zero_page + 0x21c)),
        (b"initrd", 6)
    );
    assert_eq!(&bench.read::<8>(bench.u64(zero_page + 0x70)), b"RSD PTR ");
    assert_eq!(bench.u32(zero_page + 0x228), 0x2_0000, "command line");
    assert_eq!(bench.read::<1>(zero_page + 0x1e8), [4], "memory map entries");
    // Page tables: 3 GiB + 4 MiB maps to itself.
    let directory = bench.u64((bench.u64(layout::PAGE_TABLES) & !0xfff) + 3 * 8) & !0xfff;
    assert_eq!(bench.u64(directory + 2 * 8), 0xc040_0083);
}

#[test]
fn malformed_kernels_are_named_with_their_fault() {
    let bench = Bench::new();
    let fault = |kernel: &[u8]| {
        let text = crate::chain(&bench.load(kernel, None).unwrap_err());
        assert!(
            text.starts_with("boot.kernel: ") && text.contains("/kernel"),
            "{text}"
        );
        text
    };
    assert!(fault(b"").contains("is empty"));
    assert!(fault(b"#!/bin/sh").contains("neither ELF nor bzImage"));
    assert!(fault(&elf(b"code", false)).contains("no PVH note"));
    assert!(fault(&elf(b"code", true)[..100]).contains("program header"));
    assert!(fault(&bzimage(b"code", |file| file[0x236] = 0)).contains("no 64-bit entry"));
    assert!(fault(&bzimage(b"code", |file| file[0x206] = 4)).contains("2.04"));
}

#[test]
fn what_does_not_fit_is_refused() {
    let bench = Bench::new();
    let kernel = bzimage(b"code", |file| {
        file[0x260..0x264].copy_from_slice(&(63u32 << 20).to_le_bytes())
    });
    let error = bench.load(&kernel, None).unwrap_err().to_string();
    assert!(error.starts_with("memory.size: "), "{error}");
    let error = bench
        .load(&elf(b"code", true), Some(&vec![1; 64 << 20]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("initrd (67108864 bytes)"), "{error}");
}

#[test]
fn files_that_are_none_are_refused() {
    let bench = Bench::new();
    let kernel = bench.file("kernel", &elf(b"code", true));
    let open = |kernel: &str, initrd: &str, cmdline: &str| {
        let initrd = Some(initrd.to_owned());
        BootFiles::open(&BootConfig {
            kernel: kernel.to_owned(),
            initrd,
            cmdline: cmdline.to_owned(),
        })
        .unwrap_err()
        .to_string()
    };
    assert_eq!(
        open(&kernel, "/dev", ""),
        "boot.initrd: /dev is not a regular file"
    );
    assert_eq!(open(&kernel, "/nowhere", ""), "boot.initrd: cannot read /nowhere");
    assert_eq!(
        open("/dev/null", &kernel, ""),
        "boot.kernel: /dev/null is not a regular file"
    );
    assert!(open(&kernel, &kernel, "a\nb").contains("byte 1 is not printable"));
    assert!(open(&kernel, &kernel, &"x".repeat(2048)).contains("at most 2047"));
}

proptest! {
    #[test]
    fn initrd_lies_between_kernel_and_limit(end in 0u64..1 << 32, size in 0u64..1 << 32, limit in 0u64..1 << 33) {
        if let Some(address) = initrd_address(end, size, limit) {
            prop_assert!(address >= end);
            prop_assert!(address + size <= limit);
            prop_assert_eq!(address % 4096, 0);
        } else {
            prop_assert!(end + size + 4096 > limit);
        }
    }

    #[test]
    fn hostile_kernels_do_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..2048), form in 0usize..3) {
        let magic: &[u8] = [&b"\x7fELF\x02\x01"[..], b"", b""][form];
        for (to, from) in bytes.iter_mut().zip(magic) {
            *to = *from;
        }
        if form == 1 && bytes.len() >= 0x206 {
            bytes[0x202..0x206].copy_from_slice(b"HdrS");
        }
        let _ = Bench::new().load(&bytes, None);
    }
}
