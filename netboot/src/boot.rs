//! Who asks, by its DHCP message, and what it boots. Pure.

use std::fmt;

use axion_core::mac::Mac;
use dhcproto::v4::{DhcpOption, Message, OptionCode};
use serde::Serialize;

use crate::web::Web;

/// iPXE for BIOS, on the firmware's own network driver.
pub const BIOS_LOADER: &str = "undionly.kpxe";
/// iPXE for UEFI, on the firmware's own network driver.
pub const UEFI_LOADER: &str = "snponly.efi";
/// Axion whole, for UEFI.
pub const UKI: &str = "axion.efi";
/// Script that iPXE loads first.
pub const SCRIPT: &str = "boot.ipxe";

/// Option of iPXE with options inside (iPXE's include/ipxe/dhcp.h, `DHCP_EB_ENCAP`).
const IPXE_OPTIONS: u8 = 175;
/// Inside it: this iPXE has HTTP.
const IPXE_HTTP: u8 = 19;
/// Inside it: this iPXE has HTTPS.
const IPXE_HTTPS: u8 = 20;
/// Inside it: this iPXE boots Linux kernels.
const IPXE_BZIMAGE: u8 = 24;
/// Inside it: this iPXE boots EFI programs.
const IPXE_EFI: u8 = 36;

/// Processor and firmware of a machine (IANA, Processor Architecture Types).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// x86 BIOS.
    Bios,
    /// x86-64 UEFI.
    Uefi,
    /// x86-64 UEFI, booting by HTTP.
    UefiHttp,
    /// Anything else; Axion does not run there.
    #[serde(untagged)]
    Other(u16),
}

impl Architecture {
    const fn of(code: u16) -> Self {
        match code {
            0 => Self::Bios,
            // Firmware for x86-64 says 9 (EBC) where its authors read the first edition of RFC 4578.
            7 | 9 => Self::Uefi,
            16 => Self::UefiHttp,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bios => f.write_str("BIOS"),
            Self::Uefi => f.write_str("UEFI"),
            Self::UefiHttp => f.write_str("UEFI-HTTP"),
            Self::Other(code) => write!(f, "type-{code}"),
        }
    }
}

/// What a machine runs while it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Firmware, or an iPXE that cannot do what the script needs.
    Firmware,
    /// UEFI firmware that boots by HTTP.
    Http,
    /// iPXE.
    Ipxe,
    /// Something that does not boot by the network: an operating system.
    System,
}

/// A machine that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub mac: Mac,
    /// What it is.
    pub architecture: Architecture,
    /// What it runs.
    pub stage: Stage,
    /// What it runs is an iPXE with HTTPS.
    pub https: bool,
}

impl Client {
    /// Who sent `message`; `None` when it is no Ethernet interface's.
    pub fn of(message: &Message) -> Option<Self> {
        // `chaddr()` takes the length's word for it.
        let mac: [u8; 6] = (message.hlen() == 6)
            .then(|| message.chaddr().try_into().ok())
            .flatten()?;
        let options = message.opts();
        let class = match options.get(OptionCode::ClassIdentifier) {
            Some(DhcpOption::ClassIdentifier(class)) => class.as_slice(),
            _ => &[],
        };
        let architecture = match options.get(OptionCode::ClientSystemArchitecture) {
            Some(DhcpOption::ClientSystemArchitecture(code)) => Architecture::of(u16::from(*code)),
            _ => Architecture::Bios,
        };
        let stage = if class.starts_with(b"HTTPClient") {
            Stage::Http
        } else if !class.starts_with(b"PXEClient") {
            Stage::System
        } else if able_ipxe(message) {
            Stage::Ipxe
        } else {
            Stage::Firmware
        };
        Some(Self {
            mac: Mac(mac),
            architecture,
            stage,
            https: ipxe_has(message, IPXE_HTTPS),
        })
    }
}

/// Whether the sender is an iPXE that can run the script. Network cards hold some that cannot: those load ours.
fn able_ipxe(message: &Message) -> bool {
    let has = |code| ipxe_has(message, code);
    has(IPXE_HTTP) && (has(IPXE_BZIMAGE) || has(IPXE_EFI))
}

/// Whether the sender is an iPXE with the feature `code`.
fn ipxe_has(message: &Message, code: u8) -> bool {
    let options = message.opts();
    let named = matches!(options.get(OptionCode::UserClass),
        Some(DhcpOption::UserClass(class)) if class.ends_with(b"iPXE"));
    match options.get(OptionCode::from(IPXE_OPTIONS)) {
        Some(DhcpOption::Unknown(features)) => named && sub_option(features.data(), code),
        _ => false,
    }
}

/// Whether the encapsulated options `bytes` have the option `code`.
fn sub_option(mut bytes: &[u8], code: u8) -> bool {
    while let [found, length, rest @ ..] = bytes {
        if *found == code {
            return true;
        }
        bytes = rest.get(usize::from(*length)..).unwrap_or_default();
    }
    false
}

/// What UEFI machines load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UefiLoader {
    /// By PXE iPXE, by HTTP the UKI: neither loads a large file over TFTP.
    Best,
    /// iPXE always: a node's own config comes by its script.
    Ipxe,
    /// The UKI always, as one signed program for Secure Boot.
    Uki,
}

/// A boot file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFile {
    /// Name for TFTP, or URL.
    pub name: String,
    /// Vendor class that the answer carries, without which the client does not take it.
    pub class: &'static str,
    /// The client takes the file without asking again on port 4011.
    pub at_once: bool,
}

/// What `client` boots from the HTTP server `web`; `None`: nothing that is served here runs there.
pub fn file(client: &Client, uefi: UefiLoader, web: &Web) -> Option<BootFile> {
    let url = |name: &str| web.url(name);
    let stage = match client.stage {
        // One that cannot talk to the server loads ours.
        Stage::Ipxe if web.is_secure() && !client.https => Stage::Firmware,
        stage => stage,
    };
    let (name, class, at_once) = match (stage, client.architecture) {
        // It would load itself for ever.
        (Stage::Firmware, Architecture::Bios) if !web.is_for_bios() => return None,
        (Stage::Ipxe, Architecture::Bios | Architecture::Uefi) => (url(SCRIPT), "PXEClient", true),
        (Stage::Firmware, Architecture::Bios) => (BIOS_LOADER.to_owned(), "PXEClient", true),
        // Some UEFI firmware ignores an answer that forbids to ask again; all of it asks again when nothing is said.
        (Stage::Firmware, Architecture::Uefi) => {
            let name = if uefi == UefiLoader::Uki { UKI } else { UEFI_LOADER };
            (name.to_owned(), "PXEClient", false)
        }
        (Stage::Http, Architecture::UefiHttp) => {
            let name = if uefi == UefiLoader::Ipxe {
                UEFI_LOADER
            } else {
                UKI
            };
            (url(name), "HTTPClient", true)
        }
        _ => return None,
    };
    Some(BootFile { name, class, at_once })
}

#[cfg(test)]
mod tests;
