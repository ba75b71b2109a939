//! `axctl snapshot`: datasets as they were.

use axion_api::storage::SnapshotSpec;
use clap::Subcommand;

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::pool::PATIENCE;
use crate::{render, terminal};

const EXAMPLES: &str = "\
Examples:
  axctl snapshot create tank/scratch@monday
      keep a file system as it is now; it takes room as the file system changes
  axctl snapshot list tank/scratch
  axctl snapshot rollback tank/scratch@monday
      set it back; what was written since is lost
  axctl snapshot clone tank/scratch@monday tank/branch
      a file system of its own that begins as the snapshot is";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// List snapshots, oldest first
    List {
        /// Those of this dataset
        dataset: Option<String>,
    },
    /// Make a snapshot
    Create {
        /// Dataset, `@` and a name, as `tank/scratch@monday`
        name: String,
        /// Of everything below as well, at the same instant
        #[arg(long, short)]
        recursive: bool,
    },
    /// Destroy a snapshot; the dataset stays
    Delete {
        /// Whole name
        name: String,
        /// Those of the same name below as well
        #[arg(long, short)]
        recursive: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Set a dataset back to a snapshot; what was written since is lost
    Rollback {
        /// Whole name
        name: String,
        /// Destroy the snapshots that are newer
        #[arg(long)]
        discard_newer: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Make a dataset of a snapshot
    Clone {
        /// Whole name of the snapshot
        name: String,
        /// Whole name of the new dataset, in the same pool
        new: String,
    },
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?.with_timeout(PATIENCE);
    match command {
        Command::List { dataset } => {
            let snapshots = client.snapshots(dataset.as_deref()).await?;
            output.show(&snapshots, |style| render::dataset::snapshots(&snapshots, style))
        }
        Command::Create { name, recursive } => {
            let snapshot = client.put_snapshot(&name, SnapshotSpec { recursive }).await?;
            output.show(&snapshot, |_| format!("{} is kept.\n", snapshot.name))
        }
        Command::Delete { name, recursive, yes } => {
            if !yes {
                terminal::confirm(&format!("Destroy the snapshot {name}?"), "--yes")?;
            }
            client.destroy_snapshot(&name, recursive).await?;
            output.note(format_args!("{name} is destroyed."));
            Ok(())
        }
        Command::Rollback {
            name,
            discard_newer,
            yes,
        } => {
            if !yes {
                let dataset = name.split('@').next().unwrap_or_default();
                let question = format!("Set {dataset} back to {name} and lose what was written since?");
                terminal::confirm(&question, "--yes")?;
            }
            client.rollback(&name, discard_newer).await?;
            output.note(format_args!("It is as it was at {name}."));
            Ok(())
        }
        Command::Clone { name, new } => {
            let dataset = client.clone_snapshot(&name, &new).await?;
            output.show(&dataset, |style| render::dataset::show(&dataset, style))
        }
    }
}
