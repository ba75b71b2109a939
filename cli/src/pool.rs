//! `axctl pool`: ZFS pools of the node.

use std::time::Duration;

use axion_api::storage::{DeviceAction, DeviceRequest, PoolSpec, ReplaceRequest, ScrubAction};
use axion_core::config::{Compression, DiskChoice, PoolLayout};
use clap::{Args, Subcommand, ValueEnum};

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::{render, terminal, tpm};

/// Disks and pools take their time.
pub const PATIENCE: Duration = Duration::from_secs(600);

const EXAMPLES: &str = "\
Examples:
  axctl pool disks
      which disks there are, how a pool names them, and what is on them
  axctl pool create tank --layout mirror --disk serial:A1 --disk serial:A2
      a pool of two empty disks
  axctl pool show tank
      its devices, their health, the last scrub
  axctl pool replace tank nvme0n1p1 serial:A3
      another disk in the place of one that failed";

const CREATE_EXAMPLES: &str = "\
Examples:
  axctl pool create tank --layout mirror --disk serial:A1 --disk serial:A2
  axctl pool create big --layout raidz2 --disk pci:0000:41:00.0
      --disk pci:0000:42:00.0 --disk pci:0000:43:00.0 --disk pci:0000:44:00.0
  axctl pool create tank --layout stripe --disk serial:A1 --erase serial:A1
      even though something is on the disk

A disk is used as a whole; `system` is what the installation leaves for ZFS on
the disk that the node was started from. It must be empty, or named with --erase.
Sector size, TRIM and the rest are set by what the disks are.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// List the pools: health, size, what is free
    List,
    /// What a pool is made of, and how it is
    Show {
        /// Name of the pool
        name: String,
    },
    /// List the disks: how a pool names them, and what is on them
    Disks,
    /// List the pools that are on disks and not imported
    Found,
    /// Make a pool of whole disks
    Create(Create),
    /// Import a pool that is on disks
    Import {
        /// Name of the pool, or its id where several have the name
        pool: String,
        /// Even if another host had it last and did not export it
        #[arg(long)]
        take_over: bool,
    },
    /// Give a pool back, so that any host may import it
    Export {
        /// Name of the pool
        name: String,
    },
    /// Destroy a pool and everything in it
    Destroy {
        /// Name of the pool
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Read everything in a pool and repair what is damaged
    Scrub {
        /// Name of the pool
        name: String,
        /// Stand still until it is started again
        #[arg(long)]
        pause: bool,
        /// Give up
        #[arg(long, conflicts_with = "pause")]
        stop: bool,
    },
    /// Have another disk take the place of a device
    Replace {
        /// Name of the pool
        name: String,
        /// The device: its name in the pool, its id, or its disk
        device: String,
        /// The new disk: `serial:…`, `wwid:…`, `pci:…` or `system`
        disk: DiskChoice,
        /// Overwrite the new disk whatever is on it
        #[arg(long)]
        erase: bool,
    },
    /// Put a device to use again
    Online(Device),
    /// Take a device out of use
    Offline(Device),
    /// Forget a device of a mirror
    Detach(Device),
    /// Forget a device's errors
    Clear(Device),
    /// Unlock the node's state, which is locked since the node started
    Unlock(tpm::Unlock),
    /// Show the recovery passphrase that was made with the node's state, for the only time
    Recovery,
}

/// A device of a pool
#[derive(Debug, Args)]
pub struct Device {
    /// Name of the pool
    name: String,
    /// The device: its name in the pool, its id, or its disk
    device: String,
}

/// How disks are put together.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Layout {
    /// Each block on one disk: the loss of any disk loses the pool
    Stripe,
    /// Each block on every disk
    Mirror,
    /// Any one disk may fail
    Raidz1,
    /// Any two disks may fail
    Raidz2,
    /// Any three disks may fail
    Raidz3,
}

/// Compression.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Compress {
    /// By use
    Auto,
    /// None
    Off,
    /// LZ4: hardly any CPU time
    Lz4,
    /// Zstandard: smaller
    Zstd,
}

impl From<Compress> for Compression {
    fn from(compress: Compress) -> Self {
        match compress {
            Compress::Auto => Self::Auto,
            Compress::Off => Self::Off,
            Compress::Lz4 => Self::Lz4,
            Compress::Zstd => Self::Zstd,
        }
    }
}

/// Make a pool of whole disks
#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub struct Create {
    /// Name: up to 40 letters, digits, `_`, `-` and `.`, starting with a letter
    name: String,
    /// How the disks are put together
    #[arg(long, value_enum)]
    layout: Layout,
    /// A disk, as `axctl pool disks` names it; once for each
    #[arg(long = "disk", value_name = "DISK", required = true)]
    disks: Vec<DiskChoice>,
    /// A disk of these that is overwritten whatever is on it; once for each
    #[arg(long, value_name = "DISK")]
    erase: Vec<DiskChoice>,
    /// Base-2 logarithm of the smallest write in bytes, 9 to 16; without it by the disks
    #[arg(long)]
    ashift: Option<u8>,
    /// Compression of what is stored
    #[arg(long, value_enum, default_value_t = Compress::Auto)]
    compression: Compress,
}

impl Create {
    fn spec(self) -> (String, PoolSpec) {
        let layout = match self.layout {
            Layout::Stripe => PoolLayout::Stripe,
            Layout::Mirror => PoolLayout::Mirror,
            Layout::Raidz1 => PoolLayout::Raidz1,
            Layout::Raidz2 => PoolLayout::Raidz2,
            Layout::Raidz3 => PoolLayout::Raidz3,
        };
        let spec = PoolSpec {
            layout,
            disks: self.disks,
            erase: self.erase,
            ashift: self.ashift,
            compression: self.compression.into(),
        };
        (self.name, spec)
    }
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?.with_timeout(PATIENCE);
    let device =
        async |Device { name, device }: Device, action: DeviceAction, what: &str| -> Result<(), Error> {
            let request = DeviceRequest {
                device: device.clone(),
                action,
            };
            client.pool_device(&name, &request).await?;
            output.note(format_args!("{device} of {name} {what}."));
            Ok(())
        };
    match command {
        Command::List => {
            let pools = client.pools().await?;
            output.show(&pools, |style| render::pool::list(&pools, style))
        }
        Command::Show { name } => {
            let pool = client.pool(&name).await?;
            output.show(&pool, |style| render::pool::show(&pool, style))
        }
        Command::Disks => {
            let disks = client.pool_disks().await?;
            output.show(&disks, |style| render::pool::disks(&disks, style))
        }
        Command::Found => {
            let found = client.found_pools().await?;
            output.show(&found, |style| render::pool::found(&found, style))
        }
        Command::Create(create) => {
            let (name, spec) = create.spec();
            if !spec.erase.is_empty() {
                let disks: Vec<_> = spec.erase.iter().map(ToString::to_string).collect();
                output.note(format_args!("What is on {} is overwritten.", disks.join(", ")));
            }
            let wait = output.wait(format!("{name} is being made"));
            let made = client.put_pool(&name, &spec).await;
            wait.finish_and_clear();
            let pool = made?;
            output.show(&pool, |style| render::pool::show(&pool, style))
        }
        Command::Import { pool, take_over } => {
            let wait = output.wait(format!("{pool} is being imported"));
            let imported = client.import_pool(&pool, take_over).await;
            wait.finish_and_clear();
            let pool = imported?;
            output.show(&pool, |style| render::pool::show(&pool, style))
        }
        Command::Export { name } => {
            client.export_pool(&name).await?;
            output.note(format_args!("{name} is exported."));
            Ok(())
        }
        Command::Destroy { name, yes } => {
            if !yes {
                let pool = client.pool(&name).await?;
                let used = render::bytes(pool.allocated);
                terminal::confirm(&format!("Destroy {name} and the {used} in it?"), "--yes")?;
            }
            client.destroy_pool(&name).await?;
            output.note(format_args!("{name} is destroyed."));
            Ok(())
        }
        Command::Scrub { name, pause, stop } => {
            let (action, what) = match (pause, stop) {
                (true, _) => (ScrubAction::Pause, "stands still"),
                (_, true) => (ScrubAction::Stop, "is given up"),
                _ => (ScrubAction::Start, "is under way"),
            };
            client.scrub_pool(&name, action).await?;
            output.note(format_args!(
                "The scrub of {name} {what}; `axctl pool show {name}` shows it."
            ));
            Ok(())
        }
        Command::Replace {
            name,
            device,
            disk,
            erase,
        } => {
            let request = ReplaceRequest { device, disk, erase };
            client.replace_device(&name, &request).await?;
            output.note(format_args!(
                "{} takes the place of {}; `axctl pool show {name}` shows how far it is.",
                request.disk, request.device
            ));
            Ok(())
        }
        Command::Online(at) => device(at, DeviceAction::Online, "is in use").await,
        Command::Offline(at) => device(at, DeviceAction::Offline, "is out of use").await,
        Command::Detach(at) => device(at, DeviceAction::Detach, "is forgotten").await,
        Command::Unlock(arguments) => tpm::unlock(&arguments, node, output).await,
        Command::Recovery => tpm::recovery(node, output).await,
        Command::Clear(at) => device(at, DeviceAction::Clear, "has no errors any more").await,
    }
}
