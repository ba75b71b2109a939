//! The command line's shape.

use clap::{Parser, Subcommand};

use crate::output::Format;
use crate::{
    api, completion, config, context, dataset, devices, host, image, login, media, netboot, network, node,
    pool, profile, snapshot, support, token, tpm, update, vm, volume,
};

const EXAMPLES: &str = "\
Examples:
  axctl login https://10.0.0.5     save a node and prove that it is the right one
  axctl host show                  what the node is
  axctl vm run hello --console     run the built-in guest, attach to its console
  axctl vm run web --disk volume=data --net lan
                                   with a disk and a network of the node's
  axctl capacity                   what is left for VMs, and who has the rest
  axctl vm list -o json            for programs
  axctl host logs -f               follow the node's log

Which node: --context, else --server (with --fingerprint and a token), else the
local socket when run on a node, else the context that `axctl login` or
`axctl context use` chose last.

Exit status:
  0  done                     3  node out of reach, or it does not know you
  1  the request failed       4  no such thing
  2  wrong usage              5  conflict: it exists, or its state forbids it";

/// Runs an Axion node and the virtual machines on it.
#[derive(Debug, Parser)]
#[command(name = "axctl", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub node: node::NodeArgs,
    /// What to print
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The node itself: inventory, boot, units, config, logs, power
    #[command(subcommand)]
    Host(host::Command),
    /// The boot profile: how CPUs, memory and devices are divided, and whether it is so
    #[command(subcommand)]
    Profile(profile::Command),
    /// What the node has for VMs: CPUs, memory and hugepages of each NUMA node, and who has them
    Capacity,
    /// PCI devices: what they are, who has them, what giving them to a VM takes
    Devices(devices::Devices),
    /// Virtual machines
    #[command(subcommand)]
    Vm(vm::Command),
    /// Disks that the node keeps for VMs
    #[command(subcommand)]
    Volume(volume::Command),
    /// The TPM: what was measured into it, and whose keys it keeps
    #[command(subcommand)]
    Tpm(tpm::Command),
    /// ZFS pools: what they are made of, their health, scrubs, replacing disks
    #[command(subcommand)]
    Pool(pool::Command),
    /// File systems and zvols in pools
    #[command(subcommand)]
    Dataset(dataset::Command),
    /// Snapshots of datasets: keep, go back, branch off
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// What connects VMs with each other, with the node and with the outside
    #[command(subcommand)]
    Network(network::Command),
    /// Guest kernels, initial RAM disks and disk images that were uploaded to the node
    #[command(subcommand)]
    Image(image::Command),
    /// Updates of an installed node: a new version on trial, and the way back
    #[command(subcommand)]
    Update(update::Command),
    /// What helps somebody else to understand the node
    #[command(subcommand)]
    Support(support::Command),
    /// Follow what changes on the node, until interrupted
    Events,
    /// Save a node as a context: its address, the proof of its identity, a token
    Login(login::Login),
    /// Saved nodes
    #[command(subcommand)]
    Context(context::Command),
    /// API tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Machine configs
    #[command(subcommand)]
    Config(config::Command),
    /// Boot media on sticks and disks of this computer
    #[command(subcommand)]
    Media(media::Command),
    /// Boot other machines from this computer over the network
    #[command(subcommand)]
    Netboot(netboot::Command),
    /// The node's REST API as it is
    #[command(subcommand)]
    Api(api::Command),
    /// Print a shell's completion script
    Completion(completion::Completion),
}

#[cfg(test)]
mod tests;
