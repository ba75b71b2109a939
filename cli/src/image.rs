//! `axctl image`: guest kernels and initial RAM disks on the node.

use std::path::{Path, PathBuf};

use axion_api::client::{Client, ImageFile};
use axion_api::vm::Image;
use clap::Subcommand;

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::render;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List uploaded images
    List,
    /// Upload a file; its name on the node is its digest
    #[command(after_help = "Example:\n  axctl image upload vmlinux")]
    Upload {
        /// Guest kernel (ELF with a PVH note, or bzImage) or initial RAM disk
        file: PathBuf,
    },
    /// Delete an image that no VM uses
    Delete {
        /// `sha256:` and 64 hex digits
        digest: String,
    },
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?;
    match command {
        Command::List => {
            let images = client.images().await?;
            output.show(&images, |style| render::image::list(&images, style))
        }
        Command::Upload { file } => {
            let image = ensure(&client, &file, output).await?;
            output.show(&image, |_| format!("{}\n", image.digest))
        }
        Command::Delete { digest } => {
            client.delete_image(&digest).await?;
            output.note(format_args!("{digest} is deleted."));
            Ok(())
        }
    }
}

/// Has the node hold `file`: uploads it unless it is there.
pub async fn ensure(client: &Client, file: &Path, output: &Output) -> Result<Image, Error> {
    let image = ImageFile::open(file).await?;
    if let Some(there) = client
        .images()
        .await?
        .into_iter()
        .find(|there| there.digest == image.digest())
    {
        return Ok(there);
    }
    let bar = output.transfer(&file.display().to_string(), image.size());
    let progress = bar.clone();
    let result = client.put_image(&image, move |bytes| progress.inc(bytes)).await;
    bar.finish_and_clear();
    Ok(result?)
}
