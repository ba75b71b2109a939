//! Register state in which the boot CPU enters a kernel.

use kvm_bindings::{kvm_dtable, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};

use super::layout;

/// CR0.PE: protected mode.
const CR0_PE: u64 = 1;
/// CR0.ET: reads as one on every CPU since the 486.
const CR0_ET: u64 = 1 << 4;
/// CR0.PG: paging.
const CR0_PG: u64 = 1 << 31;
/// CR4.PAE: 64-bit page tables.
const CR4_PAE: u64 = 1 << 5;
/// EFER.LME and EFER.LMA: long mode enabled and active.
const EFER_LONG_MODE: u64 = 1 << 8 | 1 << 10;
/// The reserved bit of RFLAGS that is always set.
const RFLAGS: u64 = 2;
/// `__BOOT_CS` of the 64-bit boot protocol.
const BOOT_CS: u16 = 0x10;
/// `__BOOT_DS` of the 64-bit boot protocol.
const BOOT_DS: u16 = 0x18;
/// Task state segment; nothing uses it, but VMX wants one.
const BOOT_TSS: u16 = 0x20;

/// The GDT that goes with [`Entry::Linux64`]: null, unused, code, data, TSS.
pub const GDT: [u64; 6] = [
    0,
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x0000_8b00_0000_0067,
    0,
];

/// How a kernel is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// 32-bit protected mode without paging, EBX = `hvm_start_info` (Xen's docs/misc/pvh.pandoc).
    Pvh {
        /// Physical address of the first instruction.
        address: u64,
    },
    /// 64-bit mode, RSI = zero page (Documentation/arch/x86/boot.rst, 64-bit boot protocol).
    Linux64 {
        /// Physical address of the first instruction.
        address: u64,
    },
}

impl Entry {
    /// General registers.
    pub fn regs(self) -> kvm_regs {
        match self {
            Self::Pvh { address } => kvm_regs {
                rip: address,
                rbx: layout::PVH_INFO,
                rflags: RFLAGS,
                ..Default::default()
            },
            Self::Linux64 { address } => kvm_regs {
                rip: address,
                rsi: layout::ZERO_PAGE,
                rflags: RFLAGS,
                ..Default::default()
            },
        }
    }

    /// System registers; `reset` is what KVM gave the vCPU, whose APIC base is kept.
    pub fn sregs(self, reset: kvm_sregs) -> kvm_sregs {
        let mut sregs = reset;
        let data = segment(BOOT_DS, 3, Width::Bits32);
        (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
        sregs.tr = kvm_segment {
            limit: 0x67,
            s: 0,
            g: 0,
            db: 0,
            ..segment(BOOT_TSS, 11, Width::Bits32)
        };
        sregs.idt = kvm_dtable::default();
        match self {
            Self::Pvh { .. } => {
                sregs.cs = segment(BOOT_CS, 11, Width::Bits32);
                sregs.cr0 = CR0_PE | CR0_ET;
                sregs.cr4 = 0;
                sregs.efer = 0;
            }
            Self::Linux64 { .. } => {
                sregs.cs = segment(BOOT_CS, 11, Width::Bits64);
                sregs.gdt = kvm_dtable {
                    base: layout::GDT,
                    limit: 47,
                    ..Default::default()
                };
                sregs.cr0 = CR0_PE | CR0_ET | CR0_PG;
                sregs.cr3 = layout::PAGE_TABLES;
                sregs.cr4 = CR4_PAE;
                sregs.efer = EFER_LONG_MODE;
            }
        }
        sregs
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Bits32,
    Bits64,
}

/// A flat segment of 4 GiB, present, of the given descriptor type.
fn segment(selector: u16, type_: u8, width: Width) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_,
        present: 1,
        dpl: 0,
        db: u8::from(width == Width::Bits32),
        s: 1,
        l: u8::from(width == Width::Bits64),
        g: 1,
        ..Default::default()
    }
}

/// What firmware would have left in the model-specific registers of every CPU.
pub fn msrs() -> [kvm_msr_entry; 2] {
    let msr = |index, data| kvm_msr_entry {
        index,
        data,
        ..Default::default()
    };
    [
        msr(0x1a0, 1),     // IA32_MISC_ENABLE: fast strings
        msr(0x2ff, 0x806), // IA32_MTRR_DEF_TYPE: MTRRs on, everything write-back
    ]
}
