//! What the drivers that are built into the kernel say of themselves: `modules.builtin.modinfo`, which the kernel's build makes of
//! `MODULE_DESCRIPTION` and `MODULE_FIRMWARE` (Documentation/kbuild/kbuild.rst).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A driver that is built in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Driver {
    /// Name.
    pub name: String,
    /// Its source in the kernel's tree, without an ending: `drivers/net/ethernet/intel/igb/igb`.
    pub file: String,
    /// What it is, in its author's words.
    pub description: String,
    /// Files below `/lib/firmware` that it may ask for.
    pub firmware: Vec<String>,
}

/// The drivers of the kernel in `dir`, as [`crate::kernel`] keeps it, by name.
pub fn read(dir: &Path) -> Result<Vec<Driver>> {
    let file = find(dir)?;
    let text = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    Ok(parse(&text))
}

/// Where `modules_install` has put it.
fn find(dir: &Path) -> Result<PathBuf> {
    let modules = dir.join("modules/lib/modules");
    let releases = fs::read_dir(&modules).with_context(|| format!("reading {}", modules.display()))?;
    let files = releases.filter_map(|entry| Some(entry.ok()?.path().join("modules.builtin.modinfo")));
    files
        .into_iter()
        .find(|file| file.exists())
        .with_context(|| format!("{} has no modules.builtin.modinfo", modules.display()))
}

/// `driver.key=value`, each ended by a NUL.
pub fn parse(text: &[u8]) -> Vec<Driver> {
    let mut drivers: BTreeMap<String, Driver> = BTreeMap::new();
    for line in text.split(|byte| *byte == 0) {
        let line = String::from_utf8_lossy(line);
        let Some((name, key, value)) = line
            .split_once('=')
            .and_then(|(name, value)| name.split_once('.').map(|(name, key)| (name, key, value)))
        else {
            continue;
        };
        let driver = drivers.entry(name.to_owned()).or_insert_with(|| Driver {
            name: name.to_owned(),
            ..Driver::default()
        });
        let value = value.trim().to_owned();
        match key {
            "file" => driver.file = value,
            "description" if driver.description.is_empty() => driver.description = value,
            "firmware" => driver.firmware.push(value),
            _ => {}
        }
    }
    let mut drivers: Vec<Driver> = drivers.into_values().collect();
    for driver in &mut drivers {
        driver.firmware.sort();
        driver.firmware.dedup();
    }
    drivers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_what_its_lines_say() {
        let text = b"igb.file=drivers/net/ethernet/intel/igb/igb\0igb.description=Intel(R) Gigabit\0igb.license=GPL v2\0\
                     bnx2.firmware=bnx2/b.fw\0bnx2.firmware=bnx2/a.fw\0\
                     bnx2.parm=x:y = z\0no line\0";
        let drivers = parse(text);
        let [bnx2, igb] = drivers.as_slice() else {
            panic!("{drivers:?}")
        };
        assert_eq!(bnx2.firmware, ["bnx2/a.fw", "bnx2/b.fw"]);
        assert_eq!(igb.description, "Intel(R) Gigabit");
        assert_eq!(igb.file, "drivers/net/ethernet/intel/igb/igb");
    }
}
