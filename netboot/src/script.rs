//! The scripts that iPXE runs. Pure.
//!
//! The first one, the same for all, makes iPXE say who the machine is; the second one is that machine's. The kernel and the
//! initramfs are named by whole URLs, so that it does not matter what the script itself was loaded by.

use axion_core::cmdline::loader::IPXE_CHAIN;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::boot::{SCRIPT, UKI};
use crate::files::{INITRAMFS, KERNEL};
use crate::nodes::Identity;
use crate::web::Web;

/// Path of the second script.
pub const NODE: &str = "node.ipxe";
/// Path of a machine's config.
pub const CONFIG: &str = "config.toml";
/// What a value of a URL's query is written with.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// What all machines' scripts have in common.
#[derive(Debug, Clone)]
pub struct Scripts {
    /// The HTTP server.
    pub web: Web,
    /// What the kernel is told, with iPXE's variables.
    pub cmdline: String,
    /// Whether iPXE checks the signatures beside the files.
    pub imgverify: bool,
    /// Whether UEFI machines load the UKI, which firmware checks, unless iPXE is to check kernel and initramfs.
    pub uki: bool,
}

impl Scripts {
    /// The first script. A failure is shown and tried again for ever: nobody stands beside a machine in a rack.
    pub fn first(&self) -> String {
        let node = self.web.url(NODE);
        format!(
            "#!ipxe\n\
             chain --replace --autofree {node}?uuid=${{uuid}}&serial=${{serial:uristring}}&mac=${{netX/mac}} || goto failed\n\
             {}",
            self.again()
        )
    }

    /// The script of a machine; `config`: it has a config of its own.
    pub fn node(&self, identity: &Identity, config: bool) -> String {
        let cmdline = &self.cmdline;
        let (kernel, initramfs) = (self.web.url(KERNEL), self.web.url(INITRAMFS));
        let config = if config {
            format!(" axion.config={}", self.config_url(identity))
        } else {
            String::new()
        };
        let verify = if self.imgverify {
            let of = |name: &str| {
                let signature = self.web.url(&format!("{name}.sig"));
                format!("imgverify {name} {signature} || goto failed\n")
            };
            format!(
                "imgtrust --permanent || goto failed\n{}{}",
                of(KERNEL),
                of(INITRAMFS)
            )
        } else {
            String::new()
        };
        // Firmware that refuses it refuses the kernel as well, and both are seen on the machine's screen.
        let uki = if self.uki && !self.imgverify {
            format!("{IPXE_CHAIN}{} {cmdline}{config} ||\n", self.web.url(UKI))
        } else {
            String::new()
        };
        format!(
            "#!ipxe\n\
             {uki}\
             kernel --name {KERNEL} {kernel} {cmdline}{config} initrd={INITRAMFS} || goto failed\n\
             initrd --name {INITRAMFS} {initramfs} || goto failed\n\
             {verify}\
             boot || goto failed\n\
             {}",
            self.again()
        )
    }

    fn again(&self) -> String {
        format!(
            "\n:failed\n\
             echo Axion could not be loaded; trying again in 10 s\n\
             sleep 10\n\
             imgfree\n\
             chain --replace --autofree {} || goto failed\n",
            self.web.url(SCRIPT)
        )
    }

    fn config_url(&self, identity: &Identity) -> String {
        let mac = identity.mac.map(|mac| mac.to_string());
        let values = [
            ("uuid", identity.uuid.as_deref()),
            ("serial", identity.serial.as_deref()),
            ("mac", mac.as_deref()),
        ];
        let values = values
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", utf8_percent_encode(value?, VALUE))));
        format!(
            "{}?{}{}",
            self.web.url(CONFIG),
            values.collect::<Vec<_>>().join("&"),
            self.web.fragment()
        )
    }
}

#[cfg(test)]
mod tests;
