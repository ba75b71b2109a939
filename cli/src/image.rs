//! `axctl image`: guest kernels, initial RAM disks and disk images on the node.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

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
        /// Guest kernel (ELF with a PVH note, or bzImage), initial RAM disk, or raw disk image
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

/// An image that the node has, or will have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Its digest.
    Digest(String),
    /// A file here.
    File(PathBuf),
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text.starts_with("sha256:") {
            Self::Digest(text.to_owned())
        } else {
            Self::File(text.into())
        })
    }
}

/// Finds an image on the node; a file is uploaded unless it is there.
pub async fn find(client: &Client, source: &Source, output: &Output) -> Result<Image, Error> {
    match source {
        Source::File(file) => ensure(client, file, output).await,
        Source::Digest(digest) => {
            let images = client.images().await?;
            let there = images.into_iter().find(|image| image.digest == *digest);
            there.ok_or_else(|| Error::NoImage(digest.clone()))
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
