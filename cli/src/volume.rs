//! `axctl volume`: disks that the node keeps for VMs.

use std::convert::Infallible;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use axion_api::client::{Client, Precondition};
use axion_api::vm::Image;
use axion_api::volume::{VolumeKind, VolumeSpec};
use axion_core::quantity::ByteSize;
use clap::{Args, Subcommand, ValueEnum};

use crate::error::Error;
use crate::image::{self, Source};
use crate::node::NodeArgs;
use crate::output::Output;
use crate::{render, terminal};

/// The node copies an image before it answers.
const COPY: Duration = Duration::from_secs(600);
/// A volume that is as large as its image is rounded up to this, bytes.
const STEP: u64 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  axctl volume create data --size 20GiB
      an empty disk; it takes room on the node as it is written
  axctl volume create root --from ./debian.raw --size 8GiB
      a copy of a disk image from here, with room to grow
  axctl volume create web --from root@clean --size 8GiB
      on a pool: begins as a snapshot of another volume, at once
  axctl volume resize data --size 40GiB
      a volume can grow; a VM sees it at its next start
  axctl vm run web --disk volume=data
      the first disk of a VM: /dev/vda";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a volume
    Create(Create),
    /// List the volumes
    List,
    /// What a volume is and whose disk it is
    Show {
        /// Name of the volume
        name: String,
    },
    /// Make a volume larger
    Resize {
        /// Name of the volume
        name: String,
        /// Size that the guest is to see
        #[arg(long, value_name = "SIZE")]
        size: ByteSize,
    },
    /// Keep a volume that is a zvol as it is now; a VM may be writing to it
    Snapshot {
        /// The volume, `@` and a name, as `root@clean`
        #[arg(value_parser = snapshot_name)]
        snapshot: (String, String),
    },
    /// List the snapshots of a volume, oldest first
    Snapshots {
        /// Name of the volume
        name: String,
    },
    /// Delete a snapshot; the volume stays
    DeleteSnapshot {
        /// The volume, `@` and the name of the snapshot
        #[arg(value_parser = snapshot_name)]
        snapshot: (String, String),
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Set a volume back to a snapshot, while its VM is off; what was written since is lost
    Rollback {
        /// The volume, `@` and the name of the snapshot
        #[arg(value_parser = snapshot_name)]
        snapshot: (String, String),
        /// Destroy the snapshots that are newer
        #[arg(long)]
        discard_newer: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Delete a volume that no VM has, and what is on it
    Delete {
        /// Name of the volume
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Forget a volume whose pool is gone; what is on the pool's disks stays there
        #[arg(long)]
        forget: bool,
    },
}

/// Make a volume
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Create {
    /// Name: 1 to 40 of a-z, 0-9 and `-`, starting with a letter
    name: String,
    /// Size that the guest sees, a multiple of 4 KiB, at least 1 MiB; without it the image's
    #[arg(long, value_name = "SIZE", required_unless_present = "from")]
    size: Option<ByteSize>,
    /// What it begins with: a raw disk image here, the `sha256:` of an uploaded one, or on a pool a snapshot: `VOLUME@NAME`, or a
    /// zvol's by its whole name
    #[arg(long, value_name = "IMAGE|SNAPSHOT")]
    from: Option<Origin>,
    /// What it is kept in; without it a zvol where there is a pool, else a file
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// The pool of a zvol; without it the one that keeps the node's state, or the one with the most room
    #[arg(long)]
    pool: Option<String>,
    /// Block size of a zvol, a power of two from 4KiB to 128KiB; without it by the pool
    #[arg(long, value_name = "SIZE")]
    block_size: Option<ByteSize>,
    /// Keep room for all of a zvol, rather than take it as it is written
    #[arg(long)]
    reserved: bool,
}

/// What a volume is kept in.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A sparse raw file
    File,
    /// A block device on a pool, with snapshots
    Zvol,
}

/// What a volume begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Image(Source),
    Snapshot(String),
}

impl FromStr for Origin {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        if text.contains('@') && !Path::new(text).exists() {
            return Ok(Self::Snapshot(text.to_owned()));
        }
        text.parse().map(Self::Image)
    }
}

fn snapshot_name(text: &str) -> Result<(String, String), String> {
    match text.split_once('@') {
        Some((volume, name)) if !volume.is_empty() && !name.is_empty() => {
            Ok((volume.to_owned(), name.to_owned()))
        }
        _ => Err("a volume's name, `@` and the snapshot's are needed, as in `root@clean`".to_owned()),
    }
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?;
    match command {
        Command::Create(create) => make(create, &client, output).await,
        Command::List => {
            let volumes = client.volumes().await?;
            output.show(&volumes, |style| render::volume::list(&volumes, style))
        }
        Command::Show { name } => {
            let volume = client.volume(&name).await?;
            output.show(&volume, |style| render::volume::show(&volume, style))
        }
        Command::Resize { name, size } => {
            let there = client.volume(&name).await?;
            let spec = VolumeSpec { size, ..there.spec };
            let only_if = Precondition::Revision(there.revision);
            let volume = client
                .with_timeout(COPY)
                .put_volume(&name, &spec, only_if)
                .await?;
            output.show(&volume, |style| render::volume::show(&volume, style))
        }
        Command::Snapshot {
            snapshot: (volume, name),
        } => {
            let snapshot = client.put_volume_snapshot(&volume, &name).await?;
            output.show(&snapshot, |_| format!("{volume}@{name} is kept.\n"))
        }
        Command::Snapshots { name } => {
            let snapshots = client.volume_snapshots(&name).await?;
            output.show(&snapshots, |style| render::dataset::snapshots(&snapshots, style))
        }
        Command::DeleteSnapshot {
            snapshot: (volume, name),
            yes,
        } => {
            if !yes {
                terminal::confirm(&format!("Delete the snapshot {volume}@{name}?"), "--yes")?;
            }
            client.destroy_volume_snapshot(&volume, &name).await?;
            output.note(format_args!("{volume}@{name} is deleted."));
            Ok(())
        }
        Command::Rollback {
            snapshot: (volume, name),
            discard_newer,
            yes,
        } => {
            if !yes {
                let question =
                    format!("Set {volume} back to {volume}@{name} and lose what was written since?");
                terminal::confirm(&question, "--yes")?;
            }
            client.roll_volume_back(&volume, &name, discard_newer).await?;
            output.note(format_args!("{volume} is as it was at {volume}@{name}."));
            Ok(())
        }
        Command::Delete { name, yes, forget } => {
            if !yes && forget {
                terminal::confirm(&format!("Forget {name}?"), "--yes")?;
            } else if !yes {
                let volume = client.volume(&name).await?;
                let size = volume.spec.size;
                terminal::confirm(&format!("Delete {name} ({size}) and what is on it?"), "--yes")?;
            }
            if forget {
                client.forget_volume(&name).await?;
                output.note(format_args!("{name} is forgotten."));
            } else {
                client.delete_volume(&name).await?;
                output.note(format_args!("{name} is deleted."));
            }
            Ok(())
        }
    }
}

async fn make(create: Create, client: &Client, output: &Output) -> Result<(), Error> {
    let (image, snapshot) = match create.from {
        Some(Origin::Image(source)) => (Some(image::find(client, &source, output).await?), None),
        Some(Origin::Snapshot(name)) => (None, Some(name)),
        None => (None, None),
    };
    let size = create
        .size
        .or_else(|| image.as_ref().map(fitting))
        .ok_or_else(|| {
            Error::Usage("how large? Give --size, or --from an image whose size it is to have".to_owned())
        })?;
    let spec = VolumeSpec {
        size,
        from: image.map(|image| image.digest).or(snapshot),
        kind: create.kind.map(|kind| match kind {
            Kind::File => VolumeKind::File,
            Kind::Zvol => VolumeKind::Zvol,
        }),
        pool: create.pool,
        block_size: create.block_size,
        reserved: create.reserved,
    };
    let patient = client.clone().with_timeout(COPY);
    let wait = output.wait(format!("{} is being made", create.name));
    let made = patient
        .put_volume(&create.name, &spec, Precondition::Absent)
        .await;
    wait.finish_and_clear();
    let volume = match made {
        Err(error) if error.status() == Some(412) => {
            return Err(Error::Taken {
                what: "volume",
                name: create.name,
            });
        }
        result => result?,
    };
    output.show(&volume, |_| {
        let (name, size, kind) = (&volume.name, volume.spec.size, volume.kind);
        format!("{name} is made, {size}, a {kind}.\n")
    })
}

/// The size of a volume that an image just fits into.
fn fitting(image: &Image) -> ByteSize {
    ByteSize(image.size.max(1).next_multiple_of(STEP))
}
