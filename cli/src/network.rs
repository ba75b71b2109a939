//! `axctl network`: what connects the VMs of a node.

use axion_api::client::Precondition;
use axion_api::network::NetworkSpec;
use clap::{Args, Subcommand};

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::render;

const EXAMPLES: &str = "\
Examples:
  axctl network create lab --address 10.1.0.1/24
      VMs reach each other, and the node at 10.1.0.1
  axctl network create lan --uplink eth1
      VMs are in the network behind the node's second port
  axctl vm run web --net lan";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a network
    Create(Create),
    /// List the networks
    List,
    /// What a network is and who is in it
    Show {
        /// Name of the network
        name: String,
    },
    /// Delete a network that no VM is in
    Delete {
        /// Name of the network
        name: String,
    },
}

/// Make a network
///
/// A network is a bridge on the node. Without an uplink and an address it connects VMs with each other alone. Guests find
/// no DHCP server there unless one of them is it, or the uplink leads to one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Create {
    /// Name: 1 to 12 of a-z, 0-9 and `-`, starting with a letter
    name: String,
    /// Interface of the node that leads outside: its name or MAC address, as `axctl host show` lists them
    #[arg(long, value_name = "INTERFACE")]
    uplink: Option<String>,
    /// MTU, 576 to 9216 bytes; 1500 without it
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(576..=9216))]
    mtu: Option<u16>,
    /// Address of the node in the network, with its prefix length
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    address: Option<String>,
    /// Take the uplink even if the node is reached by it: it loses its addresses
    #[arg(long, requires = "uplink")]
    force: bool,
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?;
    match command {
        Command::Create(create) => {
            let spec = NetworkSpec {
                uplink: create.uplink,
                mtu: create.mtu,
                address: create.address,
                force: create.force,
            };
            let made = client
                .put_network(&create.name, &spec, Precondition::Absent)
                .await;
            let network = match made {
                Err(error) if error.status() == Some(412) => {
                    return Err(Error::Taken {
                        what: "network",
                        name: create.name,
                    });
                }
                result => result?,
            };
            output.show(&network, |_| {
                format!("{} is made, as {} on the node.\n", network.name, network.bridge)
            })
        }
        Command::List => {
            let networks = client.networks().await?;
            output.show(&networks, |style| render::network::list(&networks, style))
        }
        Command::Show { name } => {
            let network = client.network(&name).await?;
            output.show(&network, |style| render::network::show(&network, style))
        }
        Command::Delete { name } => {
            client.delete_network(&name).await?;
            output.note(format_args!("{name} is deleted."));
            Ok(())
        }
    }
}
