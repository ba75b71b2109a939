//! Which machine this is, the same at every boot.
//!
//! ```text
//! stored id (machine-id of an installed node)
//!   else the SMBIOS product UUID, its 32 hex digits, unless the firmware left it blank or shared
//!   else SHA-256("axion machine-id from mac\n" + lowest permanent MAC), the first 128 bits
//!   else the kernel's random boot id: unstable, and flagged as such
//! ```
//!
//! The same facts fill in `${…}` in host names and in config URLs ([`substitute`]).

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the machine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// SMBIOS product UUID, lower case with hyphens; only a real one.
    pub uuid: Option<String>,
    /// SMBIOS product serial number; only a real one.
    pub serial: Option<String>,
    /// Lowest permanent MAC address of an interface with hardware behind it, `52:54:00:12:34:56`.
    pub mac: Option<String>,
    /// Host name, once it is known; a host name cannot be made of it.
    pub hostname: Option<String>,
}

impl Facts {
    /// Reads `/sys` below `root` (`/` on a running node). The host name stays open.
    pub fn read(root: &Path) -> Self {
        let dmi = |name: &str| {
            let text = std::fs::read_to_string(root.join("sys/class/dmi/id").join(name)).ok()?;
            Some(text.trim().to_owned())
        };
        Self {
            uuid: dmi("product_uuid")
                .map(|u| u.to_ascii_lowercase())
                .filter(|u| is_real_uuid(u)),
            serial: dmi("product_serial").filter(|s| is_real_serial(s)),
            mac: lowest_permanent_mac(root),
            hostname: None,
        }
    }
}

/// Firmware vendors' placeholders that many machines share, as hex digits.
const SHARED_UUIDS: [&str; 4] = [
    "03000200040005000006000700080009",
    "00020003000400050006000700080009",
    "1234567890abcdef1234567890abcdef",
    "12345678123456789012345678901234",
];

/// Serial numbers that firmware vendors ship for "none".
const BLANK_SERIALS: [&str; 9] = [
    "none",
    "default string",
    "not specified",
    "not applicable",
    "not available",
    "system serial number",
    "to be filled by o.e.m.",
    "0123456789",
    "n/a",
];

fn hex_digits(uuid: &str) -> Option<String> {
    let digits: String = uuid
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    (digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
}

fn is_real_uuid(uuid: &str) -> bool {
    hex_digits(uuid).is_some_and(|digits| {
        // All zeros, all ones, `fefefefe…`: one byte repeated was never drawn.
        let repeated = digits.get(..2).is_some_and(|byte| digits == byte.repeat(16));
        !repeated && !SHARED_UUIDS.contains(&digits.as_str())
    })
}

fn is_real_serial(serial: &str) -> bool {
    let lower = serial.to_ascii_lowercase();
    !BLANK_SERIALS.contains(&lower.as_str()) && lower.bytes().any(|b| b.is_ascii_alphanumeric() && b != b'0')
}

fn lowest_permanent_mac(root: &Path) -> Option<String> {
    let interfaces = std::fs::read_dir(root.join("sys/class/net")).ok()?;
    let mac = |interface: std::fs::DirEntry| {
        let path = interface.path();
        let read = |name: &str| Some(std::fs::read_to_string(path.join(name)).ok()?.trim().to_owned());
        // NET_ADDR_PERM (0): the address is the hardware's own and not random, stolen or set by someone.
        let permanent = path.join("device").exists() && read("addr_assign_type")? == "0";
        let mac = read("address").filter(|_| permanent)?.to_ascii_lowercase();
        is_unicast_mac(&mac).then_some(mac)
    };
    interfaces.flatten().filter_map(mac).min()
}

fn is_unicast_mac(mac: &str) -> bool {
    let bytes: Option<Vec<u8>> = mac.split(':').map(|b| u8::from_str_radix(b, 16).ok()).collect();
    bytes.is_some_and(|b| b.len() == 6 && b.iter().any(|x| *x != 0) && b.first().is_some_and(|x| x & 1 == 0))
}

/// What a machine id was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Kept from an earlier boot.
    Stored,
    /// The SMBIOS product UUID.
    Smbios,
    /// The lowest permanent MAC address.
    Mac,
    /// Random: another one at the next boot.
    Random,
}

/// The machine's identity: 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineId {
    digits: String,
    origin: Origin,
}

impl MachineId {
    /// Decides on the id. `stored` is the text of the node's stored id, where there is one (an unusable one is passed
    /// over); `boot_id` is `/proc/sys/kernel/random/boot_id`, the last resort.
    pub fn decide(stored: Option<&str>, facts: &Facts, boot_id: &str) -> Self {
        let stored = stored.and_then(|text| hex_digits(text.trim()));
        let smbios = || {
            facts
                .uuid
                .as_deref()
                .filter(|u| is_real_uuid(u))
                .and_then(hex_digits)
        };
        let mac = || facts.mac.as_deref().map(digits_of_mac);
        let random = || hex_digits(boot_id.trim()).unwrap_or_else(|| "0".repeat(32));
        let (digits, origin) = stored
            .map(|digits| (digits, Origin::Stored))
            .or_else(|| Some((smbios()?, Origin::Smbios)))
            .or_else(|| Some((mac()?, Origin::Mac)))
            .unwrap_or_else(|| (random(), Origin::Random));
        Self { digits, origin }
    }

    /// The 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.digits
    }

    /// What it was made of.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether the machine will have the same id at its next boot.
    pub fn is_stable(&self) -> bool {
        self.origin != Origin::Random
    }

    /// The host name of a node that was given none: `axion-` and the first 8 digits.
    pub fn default_hostname(&self) -> String {
        format!("axion-{}", self.digits.get(..8).unwrap_or(&self.digits))
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits)
    }
}

fn digits_of_mac(mac: &str) -> String {
    let digest = Sha256::digest(format!("axion machine-id from mac\n{mac}"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A template that cannot be filled in on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubstituteError {
    /// Not a variable.
    #[error(
        "`${{{0}}}` is not known; allowed are `${{serial}}`, `${{uuid}}`, `${{mac}}` and, in URLs, `${{hostname}}`"
    )]
    Unknown(String),
    /// `${` without `}`.
    #[error("`${{` without a `}}` after it")]
    Unclosed,
    /// The machine does not have the fact.
    #[error("this machine has no usable {what} for `${{{variable}}}`")]
    Missing {
        /// Variable.
        variable: String,
        /// What it stands for.
        what: &'static str,
    },
}

/// Fills `${serial}`, `${uuid}`, `${mac}` (with hyphens: `52-54-00-12-34-56`) and `${hostname}` into `template`.
///
/// Every character of a fact that is not a letter, a digit, `-` or `.` becomes `-`, so that a fact can neither break out
/// of a URL nor make a host name invalid.
///
/// # Errors
/// The template names an unknown variable, or one that this machine has no value for.
pub fn substitute(template: &str, facts: &Facts) -> Result<String, SubstituteError> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, after) = after.split_once('}').ok_or(SubstituteError::Unclosed)?;
        let (fact, what) = match variable {
            "serial" => (&facts.serial, "serial number"),
            "uuid" => (&facts.uuid, "SMBIOS UUID"),
            "mac" => (&facts.mac, "MAC address"),
            "hostname" => (&facts.hostname, "host name"),
            _ => return Err(SubstituteError::Unknown(variable.to_owned())),
        };
        let missing = || SubstituteError::Missing {
            variable: variable.to_owned(),
            what,
        };
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        };
        out.push_str(before);
        out.extend(fact.as_ref().ok_or_else(missing)?.chars().map(safe));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The host name in force: the configured template filled in, in lower case, or the default one where none is
/// configured.
///
/// # Errors
/// The template cannot be filled in on this machine; [`MachineId::default_hostname`] is the way out.
pub fn hostname(template: &str, facts: &Facts, id: &MachineId) -> Result<String, SubstituteError> {
    if template.is_empty() {
        return Ok(id.default_hostname());
    }
    let facts = Facts {
        hostname: None,
        ..facts.clone()
    };
    let name = substitute(template, &facts)?.to_ascii_lowercase();
    // A long serial number must not make the name longer than sethostname(2) takes.
    Ok(name
        .chars()
        .take(63)
        .collect::<String>()
        .trim_matches('-')
        .to_owned())
}

#[cfg(test)]
mod tests;
