//! Whether the node boots other machines over the network, and how.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A boot server on this node: it serves its own image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Netboot {
    /// Interface to serve on, by its kernel name: `eth1`. Without one the node serves nobody.
    pub interface: Option<String>,
    /// Addresses to lend as the network's only DHCP server, `10.0.0.100-10.0.0.199`. Without them another server gives the
    /// addresses, and this node adds what to boot (proxy DHCP).
    pub dhcp_range: Option<String>,
    /// UEFI machines load the image as one program, as Secure Boot wants it; they are then told neither a config nor arguments.
    pub uki: bool,
    /// Port of the HTTP server.
    pub http_port: u16,
    /// Kernel arguments of the machines, behind the image's own.
    pub kernel_args: String,
}

impl Default for Netboot {
    fn default() -> Self {
        Self {
            interface: None,
            dhcp_range: None,
            uki: false,
            http_port: 8069,
            kernel_args: String::new(),
        }
    }
}

/// Addresses of the largest range: what one network of machines can need, and what is searched in no time.
const MOST: u32 = 65_536;

/// A range of IPv4 addresses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    first: u32,
    last: u32,
}

impl AddressRange {
    /// Whether `address` is in it.
    pub fn has(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&u32::from(address))
    }

    /// Its lowest address.
    pub fn first(self) -> Ipv4Addr {
        self.first.into()
    }

    /// Its highest address.
    pub fn last(self) -> Ipv4Addr {
        self.last.into()
    }

    /// How many addresses are in it: one at least, 65536 at most.
    #[allow(clippy::len_without_is_empty, reason = "no range is empty")]
    pub const fn len(self) -> u32 {
        self.last - self.first + 1
    }

    /// The address `number` places behind the first one, from the first one again behind the last.
    pub fn nth(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.first + number % self.len())
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first(), self.last())
    }
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no range of addresses, as in `10.0.0.100-10.0.0.199`");
        let (first, last) = text.split_once('-').ok_or_else(bad)?;
        let address = |text: &str| text.trim().parse::<Ipv4Addr>().map(u32::from);
        let (first, last) = (
            address(first).map_err(|_| bad())?,
            address(last).map_err(|_| bad())?,
        );
        if last < first {
            return Err(format!("the range {text} ends before it begins"));
        }
        if last - first >= MOST {
            return Err(format!("the range {text} has more than {MOST} addresses"));
        }
        Ok(Self { first, last })
    }
}
