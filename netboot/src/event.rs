//! What happens, as the operator sees it: a line of text or of JSON each.

use std::fmt;
use std::net::Ipv4Addr;

use axion_core::mac::Mac;
use serde::{Serialize, Serializer};

use crate::boot::{Architecture, Client};

/// A machine, by what is known of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Who {
    /// Its MAC address.
    #[serde(serialize_with = "as_text")]
    pub mac: Option<Mac>,
    /// Its IP address.
    pub address: Option<Ipv4Addr>,
    /// What it is.
    pub architecture: Option<Architecture>,
}

fn as_text<S: Serializer>(mac: &Option<Mac>, serializer: S) -> Result<S::Ok, S::Error> {
    mac.map(|mac| mac.to_string()).serialize(serializer)
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
        write!(
            f,
            "{:<17}  {:<15}  {:<9}",
            text(self.mac.map(|mac| mac.to_string())),
            text(self.address.map(|address| address.to_string())),
            text(self.architecture.map(|architecture| architecture.to_string())),
        )
    }
}

/// Characters of a name that a machine made up, as far as it is told.
const SHOWN: usize = 100;

/// A name that a machine made up, fit to be told.
pub fn shown(name: &str) -> String {
    name.escape_debug().take(SHOWN).collect()
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A machine was told what to boot.
    Boots {
        /// Which.
        #[serde(flatten)]
        who: Who,
        /// What: a name for TFTP, or a URL.
        file: String,
    },
    /// A machine was given an address and nothing to boot.
    Address {
        /// Which.
        #[serde(flatten)]
        who: Who,
    },
    /// A file is on its way.
    Transfer {
        /// To whom.
        #[serde(flatten)]
        who: Who,
        /// Its name.
        file: String,
        /// Bytes that were sent.
        sent: u64,
        /// Bytes that it has.
        size: u64,
        /// The same in hundredths.
        percent: u8,
    },
    /// A machine got its script.
    Script {
        /// Which.
        #[serde(flatten)]
        who: Who,
        /// The config that it will ask for; `None`: there is none for it.
        config: Option<String>,
    },
    /// A machine got its config.
    Config {
        /// Which.
        #[serde(flatten)]
        who: Who,
        /// File that it was made from.
        file: String,
    },
    /// A machine did not get what it wants.
    Refused {
        /// Which.
        #[serde(flatten)]
        who: Who,
        /// Why.
        reason: String,
    },
}

impl Event {
    pub(crate) fn boots(client: &Client, address: Option<Ipv4Addr>, file: String) -> Self {
        Self::Boots {
            who: Who::of(client, address),
            file,
        }
    }

    pub(crate) fn address(client: &Client, address: Ipv4Addr) -> Self {
        Self::Address {
            who: Who::of(client, Some(address)),
        }
    }

    pub(crate) fn unfit(client: &Client, secure: bool) -> Self {
        let mut reason = format!("nothing to boot for {}", client.architecture);
        if secure && client.architecture == Architecture::Bios {
            reason += " over HTTPS; --ipxe names a directory with an iPXE that was built with it";
        }
        Self::Refused {
            who: Who::of(client, None),
            reason,
        }
    }

    pub(crate) fn rival(client: &Client, server: Ipv4Addr) -> Self {
        Self::Refused {
            who: Who::of(client, None),
            reason: format!("it chose another DHCP server that is on this network, {server}"),
        }
    }

    /// Which machine it is about.
    pub fn who(&self) -> &Who {
        match self {
            Self::Boots { who, .. }
            | Self::Address { who }
            | Self::Transfer { who, .. }
            | Self::Script { who, .. }
            | Self::Config { who, .. }
            | Self::Refused { who, .. } => who,
        }
    }
}

impl Who {
    fn of(client: &Client, address: Option<Ipv4Addr>) -> Self {
        Self {
            mac: Some(client.mac),
            address,
            architecture: Some(client.architecture),
        }
    }
}

impl Event {
    /// What happened, without the machine that it is about.
    pub fn words(&self) -> String {
        match self {
            Self::Boots { file, .. } => format!("boots {file}"),
            Self::Address { .. } => "has an address".to_owned(),
            Self::Transfer { file, percent, .. } => format!("{file}  {percent} %"),
            Self::Script {
                config: Some(config), ..
            } => format!("script, config {config}"),
            Self::Script { config: None, .. } => "script, no config".to_owned(),
            Self::Config { file, .. } => format!("config {file}"),
            Self::Refused { reason, .. } => format!("refused: {reason}"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.who(), self.words())
    }
}

/// How far a file is, said once a quarter.
#[derive(Debug)]
pub struct Progress {
    who: Who,
    file: String,
    size: u64,
    sent: u64,
    /// Quarters that were said.
    said: u64,
}

impl Progress {
    /// Nothing sent yet.
    pub const fn new(who: Who, file: String, size: u64) -> Self {
        Self {
            who,
            file,
            size,
            sent: 0,
            said: 0,
        }
    }

    /// So many bytes have been sent in all; gives what is to be said about it.
    pub fn reach(&mut self, sent: u64) -> Option<Event> {
        self.sent = sent.min(self.size);
        let hundredths = self
            .sent
            .saturating_mul(100)
            .checked_div(self.size)
            .unwrap_or(100);
        let quarter = hundredths / 25;
        if quarter <= self.said {
            return None;
        }
        self.said = quarter;
        Some(Event::Transfer {
            who: self.who,
            file: self.file.clone(),
            sent: self.sent,
            size: self.size,
            percent: u8::try_from(hundredths).unwrap_or(100),
        })
    }

    /// So many bytes more.
    pub fn advance(&mut self, bytes: usize) -> Option<Event> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.reach(self.sent.saturating_add(bytes))
    }
}

#[cfg(test)]
mod tests;
