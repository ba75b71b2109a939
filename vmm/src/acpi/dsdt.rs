//! DSDT: the devices that no bus enumerates, in AML.

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Device, EISAName, Field, FieldAccessType, FieldEntry,
    FieldLockRule, FieldUpdateRule, IO, If, Interrupt, Local, Memory32Fixed, Method, Name, Notify, OpRegion,
    OpRegionSpace, Package, Path, ResourceTemplate, Scope, Store,
};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, aml};

use super::{OEM, OEM_REVISION, OEM_TABLE};
use crate::arch::layout::{self, Layout};
use crate::devices::power;

/// Notification value of a pressed power button (ACPI §5.6.6, table for control-method power buttons).
const BUTTON_PRESSED: u8 = 0x80;

/// The table.
pub fn table(layout: &Layout) -> Sdt {
    const HEADER: u32 = 36;
    let mut body = Vec::new();
    host_bridge(layout, &mut body);
    motherboard(&mut body);
    serial(&mut body);
    power_button(&mut body);
    event_device(&mut body);
    soft_off(&mut body);
    let mut sdt = Sdt::new(*b"DSDT", HEADER, 6, OEM, OEM_TABLE, OEM_REVISION);
    sdt.append_slice(&body);
    sdt
}

fn hid(name: &str) -> Name {
    Name::new("_HID".into(), &EISAName::new(name))
}

fn uid() -> Name {
    Name::new("_UID".into(), &aml::ZERO)
}

/// Appends the device `\_SB.name`.
fn add(body: &mut Vec<u8>, name: &str, children: Vec<&dyn Aml>) {
    Scope::new("\\_SB_".into(), vec![&Device::new(name.into(), children)]).to_aml_bytes(body);
}

/// The root of the PCI Express hierarchy, with the windows in which BARs lie. No function has an interrupt pin, so there
/// is no `_PRT`.
fn host_bridge(layout: &Layout, body: &mut Vec<u8>) {
    let last_bus = u16::try_from(layout::PCI_BUSES - 1).unwrap_or(u16::MAX);
    let buses = AddressSpace::new_bus_number(0u16, last_bus);
    let low = window(layout::PCI_WINDOW_32.start, layout::PCI_WINDOW_32.end - 1);
    let mut windows: Vec<&dyn Aml> = vec![&buses, &low];
    let high;
    if !layout.pci_window_64.is_empty() {
        high = window(layout.pci_window_64.start, layout.pci_window_64.end - 1);
        windows.push(&high);
    }
    add(
        body,
        "PCI0",
        vec![
            &hid("PNP0A08"),
            &Name::new("_CID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_SEG".into(), &aml::ZERO),
            &Name::new("_BBN".into(), &aml::ZERO),
            &uid(),
            &Name::new("_CRS".into(), &ResourceTemplate::new(windows)),
        ],
    );
}

/// Keeps configuration space from being given to anybody (PCI firmware specification 3.3 §4.1.2): Linux does not use an
/// ECAM that no motherboard resource reserves.
fn motherboard(body: &mut Vec<u8>) {
    const { assert!(layout::ECAM + layout::PCI_BUSES * layout::ECAM_BUS_SIZE <= u32::MAX as u64) };
    let base = u32::try_from(layout::ECAM).unwrap_or_default();
    let size = u32::try_from(layout::PCI_BUSES * layout::ECAM_BUS_SIZE).unwrap_or_default();
    let ecam = Memory32Fixed::new(true, base, size);
    add(
        body,
        "MBRD",
        vec![
            &hid("PNP0C02"),
            &uid(),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&ecam])),
        ],
    );
}

fn window<T: Default>(first: T, last: T) -> AddressSpace<T> {
    AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, first, last, None)
}

fn serial(body: &mut Vec<u8>) {
    let [ports, _] = layout::COM1_SIZE.to_le_bytes();
    let io = IO::new(layout::COM1, layout::COM1, 1, ports);
    let interrupt = edge_interrupt(layout::COM1_GSI);
    add(
        body,
        "COM1",
        vec![
            &hid("PNP0501"),
            &uid(),
            &Name::new("_DDN".into(), &"COM1"),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&io, &interrupt])),
        ],
    );
}

/// An active-high edge on a pin of the I/O APIC that nothing else uses.
fn edge_interrupt(gsi: u32) -> Interrupt {
    Interrupt::new(true, true, false, false, gsi)
}

fn power_button(body: &mut Vec<u8>) {
    add(body, "PWRB", vec![&hid("PNP0C0C"), &uid()]);
}

/// Generic Event Device (ACPI §5.6.9): its interrupt runs `_EVT`, which reads (and so clears) what happened.
fn event_device(body: &mut Vec<u8>) {
    let interrupt = edge_interrupt(layout::GED_GSI);
    let button = Path::new("\\_SB_.PWRB");
    let notify = Notify::new(&button, &BUTTON_PRESSED);
    add(
        body,
        "GED_",
        vec![
            &Name::new("_HID".into(), &"ACPI0013"),
            &uid(),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&interrupt])),
            &OpRegion::new(
                "EVTR".into(),
                OpRegionSpace::SystemIO,
                &(layout::POWER + power::EVENTS),
                &aml::ONE,
            ),
            &Field::new(
                "EVTR".into(),
                FieldAccessType::Byte,
                FieldLockRule::NoLock,
                FieldUpdateRule::WriteAsZeroes,
                vec![FieldEntry::Named(*b"EVTS", 8)],
            ),
            &Method::new(
                "_EVT".into(),
                1,
                true,
                vec![
                    &Store::new(&Local(0), &Path::new("EVTS")),
                    &And::new(&Local(1), &Local(0), &power::EVENT_POWER_BUTTON),
                    &If::new(&Local(1), vec![&notify]),
                ],
            ),
        ],
    );
}

/// `_S5`: what the guest writes as SLP_TYP to switch the machine off (ACPI §7.4.2).
fn soft_off(body: &mut Vec<u8>) {
    let types: Vec<&dyn Aml> = vec![&power::SLEEP_TYPE_OFF, &aml::ZERO, &aml::ZERO, &aml::ZERO];
    Name::new("\\_S5_".into(), &Package::new(types)).to_aml_bytes(body);
}
