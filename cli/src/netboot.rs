//! `axctl netboot`: boots other machines over the network, from this computer or from a node. The servers themselves are in the
//! crate `axion-netboot`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use axion_core::config::AddressRange;
use axion_netboot::{Content, Options, Server, Sources, Tls, TlsFiles, UefiLoader, interface};
use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;

use crate::config;
use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::render;

const EXAMPLES: &str = "\
Examples:
  axctl netboot serve target/axion/media
                                   beside the network's own DHCP server
  axctl netboot serve media --interface eth1 --dhcp-range 10.0.0.100-10.0.0.199
                                   on a network without one
  axctl netboot serve media --configs nodes --key axion-release.key.pub
                                   with a config for each node, signature checked
  axctl netboot serve media --tls-cert boot.crt --tls-key boot.key --tls-name boot.example.org
                                   by HTTPS, to machines that trust the certificate's CA";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve Axion to machines that boot by PXE or UEFI HTTP, until interrupted
    #[command(after_help = EXAMPLES)]
    Serve(Box<Serve>),
    /// The boot server of the node: whether it serves, what and where, and what machines did last
    Status,
    /// Machine configs that the node keeps for machines that boot from it
    #[command(subcommand)]
    Config(ConfigCommand),
}

const CONFIG_EXAMPLES: &str = "\
Examples:
  axctl netboot config put default nodes/default.toml
                                   for all machines without one of their own
  axctl netboot config put 52-54-00-12-34-56 rack7.toml
  axctl netboot config get default > default.toml";

/// A machine asks by its UUID, its serial number and its MAC address in this order, and for `default` last.
#[derive(Debug, Subcommand)]
#[command(after_help = CONFIG_EXAMPLES)]
pub enum ConfigCommand {
    /// List them
    List,
    /// Print one
    Get {
        /// UUID, serial number, MAC address (52-54-00-12-34-56) or `default`
        name: String,
    },
    /// Keep one, from the machine's next boot on
    Put {
        /// UUID, serial number, MAC address (52-54-00-12-34-56) or `default`
        name: String,
        /// The document; `-` for the standard input
        file: PathBuf,
    },
    /// Take one away
    Rm {
        /// As it was put
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Directory of the boot media, as `cargo xtask media` makes it
    media: PathBuf,
    /// Network interface to serve on, where there are several
    #[arg(long, short, value_name = "NAME")]
    interface: Option<String>,
    /// Be the network's DHCP server and lend these addresses, instead of adding to what the site's own server says
    #[arg(long, value_name = "FIRST-LAST")]
    dhcp_range: Option<AddressRange>,
    /// With --dhcp-range: the router to other networks that machines are told of
    #[arg(long, value_name = "ADDRESS", requires = "dhcp_range")]
    router: Option<Ipv4Addr>,
    /// With --dhcp-range: name servers that machines are told of, separated by commas
    #[arg(
        long,
        value_name = "ADDRESSES",
        requires = "dhcp_range",
        value_delimiter = ','
    )]
    dns: Vec<Ipv4Addr>,
    /// Directory of machine configs: UUID.toml, SERIAL.toml, 52-54-00-12-34-56.toml or default.toml
    #[arg(long, value_name = "DIR")]
    configs: Option<PathBuf>,
    /// Public key (minisign) that has to have signed the media
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Directory with an undionly.kpxe and a snponly.efi of your own
    #[arg(long, value_name = "DIR")]
    ipxe: Option<PathBuf>,
    /// Have iPXE check vmlinuz.sig and initramfs.cpio.sig; needs an iPXE that trusts their certificate
    #[arg(long)]
    imgverify: bool,
    /// Have UEFI machines load axion.efi without iPXE in between; it has to name the machine's config itself
    #[arg(long, conflicts_with_all = ["kernel_args", "imgverify"])]
    uki: bool,
    /// More arguments for the kernel
    #[arg(long, value_name = "ARGUMENTS", default_value = "", hide_default_value = true)]
    kernel_args: String,
    /// Port of the HTTP server
    #[arg(long, value_name = "PORT", default_value_t = 8069, value_parser = clap::value_parser!(u16).range(1..))]
    http_port: u16,
    /// Serve by HTTPS, with this certificate and those up to its CA (PEM); iPXE wants an RSA key
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Host name in URLs instead of the address, where the certificate is for a name
    #[arg(long, value_name = "NAME", requires = "tls_cert")]
    tls_name: Option<String>,
}

impl Serve {
    /// What the UKI cannot be told needs iPXE, which is told by its script.
    fn uefi(&self) -> UefiLoader {
        if self.uki {
            UefiLoader::Uki
        } else if self.configs.is_some() || self.imgverify || !self.kernel_args.is_empty() {
            UefiLoader::Ipxe
        } else {
            UefiLoader::Best
        }
    }

    /// What HTTPS is served with, where it is.
    fn tls(&self, place: &interface::Place) -> Result<Option<Tls>, Error> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let files = TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            name: self.tls_name.clone(),
        };
        Ok(Some(Tls::open(&files, place.address)?))
    }
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    match command {
        Command::Serve(serve) => run_server(*serve, output).await,
        Command::Status => {
            let status = node.client()?.netboot().await?;
            output.show(&status, |style| render::netboot::status(&status, style))
        }
        Command::Config(command) => run_config(command, node, output).await,
    }
}

async fn run_config(command: ConfigCommand, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?;
    match command {
        ConfigCommand::List => {
            let configs = client.netboot_configs().await?;
            output.show(&configs, |style| render::netboot::configs(&configs, style))
        }
        ConfigCommand::Get { name } => {
            let text = client.netboot_config(&name).await?;
            output.text(&text)
        }
        ConfigCommand::Put { name, file } => {
            let (_, text) = config::read(&file)?;
            let kept = client.put_netboot_config(&name, &text).await?;
            output.show(&kept, |_| {
                format!("{} is kept; its machine gets it at its next boot.\n", kept.name)
            })
        }
        ConfigCommand::Rm { name } => {
            client.delete_netboot_config(&name).await?;
            output.note(format_args!("{name} is removed."));
            Ok(())
        }
    }
}

async fn run_server(serve: Serve, output: &Output) -> Result<(), Error> {
    let interfaces = interface::list()?;
    let place = interface::choose(&interfaces, serve.interface.as_deref(), serve.dhcp_range)?;
    let (signal, failed) = (
        |kind| signal(kind),
        |source| Error::io("cannot wait for an interrupt", source),
    );
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (events, mut happened) = unbounded_channel();
    let tls = serve.tls(&place)?;
    let words = introduction(&serve, &place, tls.as_ref());
    let options = Options {
        uefi: serve.uefi(),
        place,
        content: Content::Media(Sources {
            media: serve.media,
            ipxe: serve.ipxe,
            key: serve.key,
            imgverify: serve.imgverify,
        }),
        configs: serve.configs,
        range: serve.dhcp_range,
        router: serve.router,
        dns: serve.dns,
        http_port: serve.http_port,
        tls,
        kernel_arguments: serve.kernel_args,
    };
    let server = Server::open(options, events).await?;
    if server.leaves_secure_boot_untold() {
        output.note(UNTOLD);
    }
    output.note(words);
    let end = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let mut serving = std::pin::pin!(server.serve(end));
    loop {
        tokio::select! {
            result = &mut serving => return Ok(result?),
            Some(event) = happened.recv() => output.line(&event, |_| event.to_string())?,
        }
    }
}

/// Said of signed media with configs.
const UNTOLD: &str = "\
The media are signed: a machine with Secure Boot starts axion.efi, which goes by nothing but what it has in itself, and that
names no config. Others get theirs. `cargo xtask media --arguments axion.config=URL` makes media that name one.";

/// What is served, where, and what is not checked.
fn introduction(serve: &Serve, place: &interface::Place, tls: Option<&Tls>) -> String {
    let interface::Place {
        interface, address, ..
    } = place;
    let role = match serve.dhcp_range {
        Some(range) => format!("as the only DHCP server, lending {range}"),
        None => "beside the site's DHCP server".to_owned(),
    };
    let signature = match &serve.key {
        Some(key) => format!("signed by {}", key.display()),
        None => "whose signature is not checked without --key".to_owned(),
    };
    let (web, mut remarks) = match tls {
        None => ("HTTP", String::new()),
        Some(tls) => ("HTTPS", format!("Machines reach it as {}.\n", tls.host)),
    };
    if tls.is_some_and(|tls| !tls.rsa) {
        remarks += "Its key is not RSA, which iPXE does not take.\n";
    }
    if tls.is_some() && serve.ipxe.is_none() {
        remarks += "BIOS machines are served with --ipxe alone, whose iPXE was built with HTTPS.\n";
    }
    format!(
        "Serving {} on {interface} ({address}, {web} port {}) {role}.\n{remarks}\
         Every file is as SHA256SUMS says, {signature}. Ctrl-C ends it.",
        serve.media.display(),
        serve.http_port,
    )
}

#[cfg(test)]
mod tests;
