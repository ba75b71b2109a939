//! `axctl volume`: disks that the node keeps for VMs.

use std::time::Duration;

use axion_api::client::{Client, Precondition};
use axion_api::vm::Image;
use axion_api::volume::VolumeSpec;
use axion_core::quantity::ByteSize;
use clap::{Args, Subcommand};

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
    /// Delete a volume that no VM has, and what is on it
    Delete {
        /// Name of the volume
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
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
    /// What it begins with: a raw disk image here, or the `sha256:` of an uploaded one
    #[arg(long, value_name = "IMAGE")]
    from: Option<Source>,
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
        Command::Delete { name, yes } => {
            if !yes {
                let volume = client.volume(&name).await?;
                let size = volume.spec.size;
                terminal::confirm(&format!("Delete {name} ({size}) and what is on it?"), "--yes")?;
            }
            client.delete_volume(&name).await?;
            output.note(format_args!("{name} is deleted."));
            Ok(())
        }
    }
}

async fn make(create: Create, client: &Client, output: &Output) -> Result<(), Error> {
    let image = match &create.from {
        Some(source) => Some(image::find(client, source, output).await?),
        None => None,
    };
    let size = create
        .size
        .or_else(|| image.as_ref().map(fitting))
        .ok_or_else(|| {
            Error::Usage("how large? Give --size, or --from an image whose size it is to have".to_owned())
        })?;
    let spec = VolumeSpec {
        size,
        from: image.map(|image| image.digest),
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
        format!("{} is made, {}.\n", volume.name, volume.spec.size)
    })
}

/// The size of a volume that an image just fits into.
fn fitting(image: &Image) -> ByteSize {
    ByteSize(image.size.max(1).next_multiple_of(STEP))
}
