//! Which devices built-in drivers look for: the tables that `MODULE_DEVICE_TABLE` names, out of the kernel's object files.
//!
//! The kernel's build writes aliases for loadable modules alone. For a driver that is built in, the table is where the driver itself
//! finds it: an array in its object file, whose name stands in its source. Arrays of PCI ids (`struct pci_device_id`) and of ACPI
//! ids (`struct acpi_device_id`, include/linux/mod_devicetable.h) are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol};

/// Bytes of a `struct pci_device_id` and of a `struct acpi_device_id` on x86-64.
const PCI: usize = 40;
const ACPI: usize = 32;
const ANY: u32 = u32::MAX;

/// Ids by driver, as `modules.builtin.modinfo` names its file.
pub type Tables = BTreeMap<String, BTreeSet<String>>;

/// Reads the tables of the drivers below `drivers/`, of the kernel whose source is in `tree` and which was built in `build`.
pub fn read(tree: &Path, build: &Path) -> Result<Tables> {
    let mut tables = Tables::new();
    for entry in walkdir::WalkDir::new(build.join("drivers")).sort_by_file_name() {
        let entry = entry?;
        let object = entry.path();
        if object.extension().is_none_or(|extension| extension != "o") {
            continue;
        }
        // What is linked of several has no source of its own.
        let source = tree.join(object.strip_prefix(build)?).with_extension("c");
        let Ok(text) = fs::read(&source) else { continue };
        let named = declared(&String::from_utf8_lossy(&text));
        if named.is_empty() {
            continue;
        }
        let Some(driver) = driver_of(object)? else {
            continue;
        };
        let bytes = fs::read(object).with_context(|| format!("reading {}", object.display()))?;
        let file = object::File::parse(&*bytes).with_context(|| format!("reading {}", object.display()))?;
        let ids = tables.entry(driver).or_default();
        for (kind, name) in named {
            let Some(table) = table(&file, &name) else {
                continue;
            };
            match kind {
                Kind::Pci => ids.extend(table.chunks_exact(PCI).map_while(pci)),
                Kind::Acpi => ids.extend(table.chunks_exact(ACPI).map_while(acpi)),
            }
        }
    }
    Ok(tables)
}

/// What a table lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pci,
    Acpi,
}

/// Tables that a source names: `MODULE_DEVICE_TABLE(pci, igb_pci_tbl);`.
fn declared(source: &str) -> Vec<(Kind, String)> {
    let calls = source.split("MODULE_DEVICE_TABLE(").skip(1);
    let read = |call: &str| {
        let (kind, rest) = call.split_once(',')?;
        let (name, _) = rest.split_once(')')?;
        let kind = match kind.trim() {
            "pci" => Kind::Pci,
            "acpi" => Kind::Acpi,
            _ => return None,
        };
        Some((kind, name.trim().to_owned()))
    };
    calls.filter_map(read).collect()
}

/// The driver that an object file is of, by the command that made it.
fn driver_of(object: &Path) -> Result<Option<String>> {
    let name = object.file_name().context("a file has a name")?.to_string_lossy();
    let command = object.with_file_name(format!(".{name}.cmd"));
    let text = fs::read_to_string(&command).unwrap_or_default();
    let driver = text
        .split_once("KBUILD_MODFILE='\"")
        .and_then(|(_, rest)| rest.split_once("\"'"));
    Ok(driver.map(|(driver, _)| driver.to_owned()))
}

/// Bytes of the array of that name.
fn table<'f>(file: &object::File<'f>, name: &str) -> Option<&'f [u8]> {
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name))?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    // Of a file that is not linked, an address is a place in its section.
    let start = usize::try_from(symbol.address()).ok()?;
    let size = usize::try_from(symbol.size()).ok()?;
    section.data().ok()?.get(start..start + size)
}

fn number(entry: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(entry[at..at + 4].try_into().expect("four bytes"))
}

/// `8086:1521`, `19a2:*`, `class 010802`; none: the end of the table.
fn pci(entry: &[u8]) -> Option<String> {
    let [vendor, device, subvendor, _, class, mask] = [0, 4, 8, 12, 16, 20].map(|at| number(entry, at));
    if vendor == 0 && subvendor == 0 && mask == 0 {
        return None;
    }
    Some(match (vendor, device) {
        (ANY, _) => format!("class {}", masked(class, mask)),
        (vendor, ANY) if mask != 0 => format!("{vendor:04x}:* class {}", masked(class, mask)),
        (vendor, ANY) => format!("{vendor:04x}:*"),
        (vendor, device) => format!("{vendor:04x}:{device:04x}"),
    })
}

/// `0106*`: the digits that count.
fn masked(class: u32, mask: u32) -> String {
    let digits = format!("{class:06x}");
    let counts = format!("{mask:06x}");
    let kept = counts.bytes().take_while(|digit| *digit == b'f').count().min(6);
    let rest = if kept < 6 { "*" } else { "" };
    format!("{}{rest}", &digits[..kept])
}

/// `PNP0C0C`; none: the end of the table.
fn acpi(entry: &[u8]) -> Option<String> {
    let id = entry[..16].split(|byte| *byte == 0).next()?;
    let id = String::from_utf8_lossy(id).into_owned();
    (!id.is_empty()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: [u32; 6]) -> Vec<u8> {
        let mut bytes: Vec<u8> = fields.into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.resize(PCI, 0);
        bytes
    }

    #[test]
    fn sources_name_their_tables() {
        let source = "MODULE_DEVICE_TABLE(pci, igb_pci_tbl);\nMODULE_DEVICE_TABLE(of, x);\nMODULE_DEVICE_TABLE(acpi,\n\tids);";
        let named = declared(source);
        assert_eq!(
            named,
            [
                (Kind::Pci, "igb_pci_tbl".to_owned()),
                (Kind::Acpi, "ids".to_owned())
            ]
        );
    }

    #[test]
    fn an_entry_is_an_id_and_zeros_end_the_table() {
        assert_eq!(
            pci(&entry([0x8086, 0x1521, ANY, ANY, 0, 0])).unwrap(),
            "8086:1521"
        );
        assert_eq!(pci(&entry([0x19a2, ANY, ANY, ANY, 0, 0])).unwrap(), "19a2:*");
        assert_eq!(
            pci(&entry([ANY, ANY, ANY, ANY, 0x010802, 0xff_ffff])).unwrap(),
            "class 010802"
        );
        assert_eq!(
            pci(&entry([ANY, ANY, ANY, ANY, 0x0c0300, 0xff_ff00])).unwrap(),
            "class 0c03*"
        );
        assert_eq!(
            pci(&entry([0x1b36, ANY, ANY, ANY, 0x010600, 0xff_ff00])).unwrap(),
            "1b36:* class 0106*"
        );
        assert_eq!(pci(&entry([0; 6])), None);
        let mut id = [0; ACPI];
        id[..7].copy_from_slice(b"PNP0C0C");
        assert_eq!(acpi(&id).unwrap(), "PNP0C0C");
        assert_eq!(acpi(&[0; ACPI]), None);
    }
}
