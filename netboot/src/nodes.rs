//! Each machine's own config, by what its firmware says of it: the first of `${uuid}.toml`, `${serial}.toml`, `${mac}.toml` and
//! `default.toml` in a directory, the variables written as a node itself writes them in the URL of its config (`52-54-00-12-34-56`).
//! What stands in the document, `hostname = "hpc-${serial}"` for example, the node fills in itself.
//!
//! The directory is read anew for each machine, so that configs can be edited while the server runs; all of them are checked when
//! it starts, and each once more before it is given.

use std::fs;
use std::path::{Path, PathBuf};

use axion_core::mac::Mac;

use crate::Error;

/// Name of the config for machines without one of their own.
const DEFAULT: &str = "default.toml";
/// Bytes of the longest document that a node takes.
const LONGEST: u64 = 1 << 20;

/// What a machine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// SMBIOS system UUID.
    pub uuid: Option<String>,
    /// SMBIOS serial number.
    pub serial: Option<String>,
    /// MAC address of the interface that it boots by.
    pub mac: Option<Mac>,
}

impl Identity {
    /// From what iPXE gives, or a node with its MAC address as in `52-54-00-12-34-56`; a value that cannot be used counts as none.
    pub fn new(uuid: Option<&str>, serial: Option<&str>, mac: Option<&str>) -> Self {
        let uuid = uuid.map(str::to_lowercase);
        let serial = serial.map(str::trim).filter(|serial| !serial.is_empty());
        Self {
            // Firmware without one says nothing but zeros.
            uuid: uuid.filter(|uuid| is_uuid(uuid) && uuid.contains(|c| !matches!(c, '0' | '-'))),
            serial: serial.map(|serial| serial.chars().map(safe).collect()),
            mac: mac.and_then(|mac| mac.replace('-', ":").parse().ok()),
        }
    }

    /// Names of its config, the best first.
    fn names(&self) -> Vec<String> {
        let own = [
            self.uuid.clone(),
            self.serial.clone(),
            self.mac.map(|mac| mac.to_string().replace(':', "-")),
        ];
        let own = own.into_iter().flatten().map(|name| format!("{name}.toml"));
        own.chain([DEFAULT.to_owned()]).collect()
    }
}

/// What stands for a character of a serial number in a name: firmware has all kinds of text there.
fn safe(c: char) -> char {
    if c.is_ascii_alphanumeric() || c == '.' {
        c
    } else {
        '-'
    }
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// Whether a machine may ask for the config `stem`: letters of UUIDs and MAC addresses are small ones.
pub fn is_name(stem: &str) -> bool {
    let lower = stem.to_lowercase();
    let number = is_uuid(&lower) || lower.replace('-', ":").parse::<Mac>().is_ok();
    !stem.is_empty() && stem.chars().all(|c| safe(c) == c) && (!number || stem == lower)
}

/// The directory of configs.
#[derive(Debug, Clone)]
pub struct Nodes {
    dir: PathBuf,
}

impl Nodes {
    /// Takes `dir` after a check of all that is in it.
    ///
    /// # Errors
    /// A document has a mistake, or a name that no machine asks for.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let nodes = Self { dir: dir.to_owned() };
        let entries = fs::read_dir(dir).map_err(Error::file("read", dir))?;
        for entry in entries {
            let path = entry.map_err(Error::file("read", dir))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let Some(stem) = name.strip_suffix(".toml") else {
                continue;
            };
            if !is_name(stem) {
                return Err(Error::ConfigName(path));
            }
            nodes.read(name)?;
        }
        Ok(nodes)
    }

    /// Name of the config of the machine `identity`.
    pub fn find(&self, identity: &Identity) -> Option<String> {
        identity
            .names()
            .into_iter()
            .find(|name| self.dir.join(name).is_file())
    }

    /// The config `name`.
    ///
    /// # Errors
    /// It cannot be read, or has a mistake.
    pub fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.dir.join(name);
        let size = fs::metadata(&path).map_err(Error::file("read", &path))?.len();
        if size > LONGEST {
            let source = std::io::Error::other("a node takes 1 MiB at most");
            return Err(Error::file("use", &path)(source));
        }
        let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        axion_core::config::check(&text, &path.display().to_string())?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
