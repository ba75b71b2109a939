//! `axctl update`: the slots of an installed node.

use std::path::PathBuf;
use std::time::Duration;

use axion_api::client::{Client, UpdateFile};
use axion_api::host::PowerAction;
use axion_api::update::{MirrorRequest, StageRequest, UpdateStatus};
use clap::{Args, Subcommand};

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::render;
use crate::terminal;

/// How long a slow disk may take.
const PATIENCE: Duration = Duration::from_secs(600);

const EXAMPLES: &str = "\
Examples:
  axctl update stage target/axion/media/axion.efi --reboot
      checks and writes the other slot, then starts it on trial
  axctl update stage https://images.example.org/axion.efi
      the node fetches the image, and axion.efi.minisig beside it
  axctl update status
      what is in the slots, which one runs, why one was given up
  axctl update rollback --reboot
      back to the version before
  axctl update mirror add serial:S4EVNX0R123456
      keeps the slots and the machine config on a second disk as well

An update that does not prove itself within its deadline gives way to the version
before it by itself; nobody has to be there.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Check a signed image and write it to the slot that is not the last confirmed one
    Stage(Stage),
    /// What is in the slots, which one runs, which one is next
    Status {
        /// Show the log that a slot left when it was given up
        #[arg(long)]
        log: bool,
    },
    /// The second system disk, which holds the same
    #[command(subcommand)]
    Mirror(Mirror),
    /// Make the other confirmed slot the next one; takes back an update that was not tried
    Rollback {
        /// Restart the node into it
        #[arg(long)]
        reboot: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Mirror {
    /// Make a disk the second system disk; what is on it is lost
    Add {
        /// The disk as `axctl pool disks` names it: serial:..., wwid:... or pci:...
        #[arg(value_name = "DISK")]
        disk: String,
        /// Give up a ZFS pool that is on it
        #[arg(long)]
        destroy_pool: bool,
        /// Show what would become of the disk, and the word that confirms it
        #[arg(long, conflicts_with = "word")]
        dry_run: bool,
        /// The word of the plan, where nobody can be asked
        #[arg(long, value_name = "WORD")]
        word: Option<String>,
    },
    /// Go on with one system disk and miss no other; the other one keeps what is on it
    Forget {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub struct Stage {
    /// axion.efi as `cargo xtask media --key` makes it, or its URL for the node to fetch it
    #[arg(value_name = "FILE|URL")]
    image: String,
    /// File with the signature; without it FILE.minisig
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Restart the node into it
    #[arg(long)]
    reboot: bool,
    /// Take a version that is older than the one that runs
    #[arg(long)]
    allow_downgrade: bool,
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?.with_timeout(PATIENCE);
    match command {
        Command::Status { log } => {
            let status = client.update().await?;
            output.show(&status, |style| render::update::show(&status, log, style))
        }
        Command::Stage(stage) => {
            let status = send(&client, &stage, output).await?;
            finish(&client, &status, stage.reboot, output).await
        }
        Command::Mirror(command) => mirror(&client, command, output).await,
        Command::Rollback { reboot } => {
            let status = client.roll_back_update().await?;
            finish(&client, &status, reboot, output).await
        }
    }
}

async fn mirror(client: &Client, command: Mirror, output: &Output) -> Result<(), Error> {
    let status = match command {
        Mirror::Forget { yes } => {
            if !yes {
                terminal::confirm("Go on with one system disk, and miss no other?", "--yes")?;
            }
            client.forget_mirror().await?
        }
        Mirror::Add {
            disk,
            destroy_pool,
            dry_run,
            word,
        } => {
            let mut request = MirrorRequest {
                disk,
                destroy_pool,
                token: word,
            };
            if request.token.is_none() {
                let plan = client.plan_mirror(&request).await?;
                if dry_run {
                    return output.show(&plan, |_| render::update::plan(&plan));
                }
                output.note(&plan.text);
                let question = format!("Type {} to write it:", plan.token);
                terminal::confirm_by(
                    &question,
                    &plan.token,
                    "--word with the word that --dry-run shows",
                )?;
                request.token = Some(plan.token);
            }
            let wait = output.wait("the node copies its system disk".to_owned());
            let added = client.add_mirror(&request).await;
            wait.finish_and_clear();
            added?
        }
    };
    output.show(&status, |style| render::update::show(&status, false, style))
}

async fn send(client: &Client, stage: &Stage, output: &Output) -> Result<UpdateStatus, Error> {
    let Stage {
        image,
        allow_downgrade,
        ..
    } = stage;
    if image.starts_with("http://") || image.starts_with("https://") {
        if stage.signature.is_some() {
            let why = "--signature is for a file from here; a URL's signature is at the URL with .minisig behind it";
            return Err(Error::Usage(why.to_owned()));
        }
        let request = StageRequest {
            url: image.clone(),
            allow_downgrade: *allow_downgrade,
        };
        let wait = output.wait(format!("the node fetches, checks and writes {image}"));
        let staged = client.fetch_update(&request).await;
        wait.finish_and_clear();
        return Ok(staged?);
    }
    let file = UpdateFile::open(image, stage.signature.as_deref()).await?;
    // A node that takes no update says so before anything is sent.
    client.update().await?;
    let bar = output.transfer(image, file.size());
    let (progress, size) = (bar.clone(), file.size());
    let staged = client.stage_update(&file, *allow_downgrade, move |bytes| {
        progress.inc(bytes);
        if progress.position() >= size {
            progress.set_message("the node checks and writes it");
        }
    });
    let staged = staged.await;
    bar.finish_and_clear();
    Ok(staged?)
}

/// Shows what is next, and restarts where that is wanted.
async fn finish(client: &Client, status: &UpdateStatus, reboot: bool, output: &Output) -> Result<(), Error> {
    output.show(status, |style| render::update::show(status, false, style))?;
    if reboot {
        client.power(PowerAction::Reboot).await?;
        output.note("The node restarts; `axctl update status` says what became of it.");
    } else {
        output.note("The next start takes it: `axctl host reboot`.");
    }
    Ok(())
}
