//! Boots machines over the network: what stands behind `axctl netboot serve`.
//!
//! ```text
//!  machine                        this server                                            from
//!  firmware  ── DHCPDISCOVER ──>  67    which loader, for which firmware (proxy or full) dhcp, boot
//!  UEFI      ── DHCPREQUEST ───>  4011  the same once more, where UEFI asks for it
//!  firmware  ── TFTP ──────────>  69    undionly.kpxe, snponly.efi: iPXE                 tftp
//!  UEFI HTTP ── GET ───────────>  http  axion.efi, whole
//!  iPXE      ── DHCPDISCOVER ──>  67    http://…/boot.ipxe
//!  iPXE      ── GET ───────────>  http  the script for this machine, kernel, initramfs   script, http
//!  Axion     ── GET ───────────>  http  the machine's own config                         nodes
//! ```
//!
//! As **proxy DHCP** (PXE 2.1 §2.2.3) it adds the boot file to what the site's own DHCP server says and never gives an address;
//! with a range it is the network's only DHCP server, for isolated networks. What is answered is decided in pure modules
//! (`dhcp`, `boot`, `script`, `nodes`, `tftp::packet`, `interface::choose`); [`Server`] owns sockets and files.
//!
//! With a certificate (`tls`), what machines get by HTTP they get by HTTPS.
//!
//! Every file is checked against `SHA256SUMS`, and that against its signature where a key is given, before the first byte is
//! served; the files stay open, so that what is served is what was checked. Nothing is written and nothing else than those files,
//! the scripts and the configs can be asked for.

mod boot;
mod connections;
mod dhcp;
mod error;
mod event;
mod files;
mod http;
pub mod interface;
mod nodes;
mod script;
mod server;
mod socket;
mod tftp;
mod tls;
mod turns;
mod web;

#[cfg(test)]
mod fixture;

pub use boot::{Architecture, UefiLoader};
pub use error::Error;
pub use event::{Event, Who};
pub use files::{Content, Facts, Held, Part, Sources, check_medium};
pub use nodes::{Nodes, is_name};
pub use server::{Options, Server};
pub use tls::{Tls, TlsFiles};
