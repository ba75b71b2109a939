//! The HTTP server as machines reach it. Pure.

use std::net::SocketAddrV4;

/// Where it is, and what it takes to talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// Everything before a file's name.
    start: String,
    /// With TLS: SHA-256 of the certificate, 64 hex digits.
    pin: Option<String>,
    /// The iPXE that BIOS machines are given can talk to it.
    bios: bool,
}

impl Web {
    /// Without TLS.
    pub fn plain(address: SocketAddrV4) -> Self {
        Self {
            start: format!("http://{address}/"),
            pin: None,
            bios: true,
        }
    }

    /// With TLS, as `host`, by a certificate with the digest `pin`.
    pub fn secure(host: &str, port: u16, pin: String, bios: bool) -> Self {
        Self {
            start: format!("https://{host}:{port}/"),
            pin: Some(pin),
            bios,
        }
    }

    /// URL of a file.
    pub fn url(&self, name: &str) -> String {
        format!("{}{name}", self.start)
    }

    /// What a node that fetches a URL from here proves the server by.
    pub fn fragment(&self) -> String {
        self.pin
            .as_ref()
            .map(|pin| format!("#sha256={pin}"))
            .unwrap_or_default()
    }

    /// Whether it takes TLS.
    pub const fn is_secure(&self) -> bool {
        self.pin.is_some()
    }

    /// Whether the iPXE that BIOS machines are given can talk to it.
    pub const fn is_for_bios(&self) -> bool {
        self.bios
    }
}
