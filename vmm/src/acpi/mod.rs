//! ACPI tables (ACPI 6.5) of a hardware-reduced machine.
//!
//! ```text
//! RSDP -> XSDT -> FADT -> DSDT   sleep and reset registers; what the devices are
//!              -> MADT           local APICs and the I/O APIC
//!              -> MCFG           PCI configuration space
//!              -> SRAT, SLIT     NUMA nodes and their distances
//! ```
//!
//! Hardware-reduced (ACPI §4.1) means no PM1 registers, no SCI, no PM timer: power-off is a write to the sleep control
//! register, and the power button is an interrupt of the Generic Event Device.

mod dsdt;
mod tables;

use acpi_tables::Aml;
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;

use crate::arch::layout::{self, Layout};
use crate::arch::topology::Topology;
use crate::numa::Numa;

/// OEM id of every table.
const OEM: [u8; 6] = *b"AXION ";
/// OEM table id of every table.
const OEM_TABLE: [u8; 8] = *b"AXIONVMM";
/// OEM revision of every table.
const OEM_REVISION: u32 = 1;

/// The tables as one block of guest memory that begins at [`layout::ACPI`] with the RSDP.
#[derive(Debug)]
pub struct Tables(Vec<u8>);

/// The tables do not fit where the guest looks for them.
#[derive(Debug, thiserror::Error)]
#[error("ACPI tables for {cpus} vCPUs take {size} bytes; there is room for {room}")]
pub struct TooLarge {
    cpus: u32,
    size: usize,
    room: u64,
}

impl Tables {
    /// The tables of a machine.
    ///
    /// # Errors
    /// [`TooLarge`] with more vCPUs than [`layout::MAX_CPUS`].
    pub fn new(topology: &Topology, numa: &Numa, layout: &Layout) -> Result<Self, TooLarge> {
        // The RSDP comes first but points to the XSDT, which points to all others: reserve its place.
        let mut block = Block(vec![0; Rsdp::len()]);
        let dsdt = block.add(&dsdt::table(layout));
        let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
        xsdt.add_entry(block.add(&tables::fadt(dsdt)));
        xsdt.add_entry(block.add(&tables::madt(topology)));
        xsdt.add_entry(block.add(&mcfg()));
        xsdt.add_entry(block.add(&tables::srat(topology, numa, layout.hot.as_ref())));
        xsdt.add_entry(block.add(&tables::slit(numa)));
        let xsdt = block.add(&xsdt);

        let mut bytes = Vec::with_capacity(block.0.len());
        Rsdp::new(OEM, xsdt).to_aml_bytes(&mut bytes);
        bytes.extend(block.0.into_iter().skip(Rsdp::len()));
        let room = layout::ACPI.end - layout::ACPI.start;
        if bytes.len() as u64 > room {
            return Err(TooLarge {
                cpus: topology.cpus(),
                size: bytes.len(),
                room,
            });
        }
        Ok(Self(bytes))
    }

    /// Physical address of the RSDP.
    pub const fn rsdp(&self) -> u64 {
        layout::ACPI.start
    }

    /// What is to lie at [`layout::ACPI`].
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The block under construction.
struct Block(Vec<u8>);

impl Block {
    /// Appends a table, aligned to 16 bytes; returns its physical address.
    fn add(&mut self, table: &dyn Aml) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(16), 0);
        let address = layout::ACPI.start + self.0.len() as u64;
        table.to_aml_bytes(&mut self.0);
        address
    }
}

/// Where PCI configuration space lies (PCI firmware specification 3.3 §4.1.2).
fn mcfg() -> MCFG {
    let mut table = MCFG::new(OEM, OEM_TABLE, OEM_REVISION);
    let last_bus = u8::try_from(layout::PCI_BUSES - 1).unwrap_or(u8::MAX);
    table.add_ecam(layout::ECAM, 0, 0, last_bus);
    table
}

#[cfg(test)]
mod tests;
