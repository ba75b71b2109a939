//! Snapshots on their way: to another node, to a file here, and back.
//!
//! A copy goes through this computer: what one node sends is the body of what the other receives, so the nodes need not reach or
//! know each other. Where either end breaks off, so does the other.

use std::io;
use std::path::{Path, PathBuf};

use axion_api::client::{Client, DatasetStream};
use axion_api::storage::{ReceiveOptions, SendOptions};
use bytes::Bytes;
use clap::Args;
use futures_util::{Stream, StreamExt};
use indicatif::ProgressBar;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::{pool, render};

/// Bytes read of a file at a time.
const PIECE: usize = 1 << 18;

/// What is sent of a snapshot
#[derive(Debug, Args)]
pub struct Sending {
    /// Snapshot, as `tank/scratch@monday`
    snapshot: String,
    /// Only what changed since this older snapshot, which the receiver has
    #[arg(long, value_name = "SNAPSHOT")]
    from_snapshot: Option<String>,
    /// As it is on the disks: what is encrypted stays so, and the receiver needs no key
    #[arg(long)]
    raw: bool,
}

impl Sending {
    fn options(&self) -> SendOptions {
        SendOptions {
            from: self.from_snapshot.clone(),
            raw: self.raw,
            resume: None,
        }
    }
}

/// Copy a snapshot to a dataset of this node or of another one
#[derive(Debug, Args)]
pub struct Copy {
    #[command(flatten)]
    sending: Sending,
    /// Whole name of the dataset that it becomes; what is above it must be there
    dataset: String,
    /// The saved node that receives it; without it the same node
    #[arg(long, value_name = "CONTEXT")]
    to: Option<String>,
    /// Lose what was written to the dataset since its last snapshot
    #[arg(long)]
    discard_changes: bool,
    /// Keep what arrived when it breaks off; the same command goes on there
    #[arg(long)]
    resumable: bool,
}

/// Write a snapshot to a file here
#[derive(Debug, Args)]
pub struct Send {
    #[command(flatten)]
    sending: Sending,
    /// The file, which must not be there; `-` is standard output
    file: PathBuf,
}

/// Make a dataset of a file that `send` wrote, or bring one up to date
#[derive(Debug, Args)]
pub struct Receive {
    /// Whole name of the dataset; what is above it must be there
    dataset: String,
    /// The file; `-` is standard input
    file: PathBuf,
    /// Lose what was written to the dataset since its last snapshot
    #[arg(long)]
    discard_changes: bool,
}

fn counted<E>(
    parts: impl Stream<Item = Result<Bytes, E>> + std::marker::Send + 'static,
    bar: &ProgressBar,
) -> impl Stream<Item = Result<Bytes, E>> + std::marker::Send + 'static
where
    E: std::marker::Send + 'static,
{
    let bar = bar.clone();
    parts.inspect(move |part| {
        if let Ok(part) = part {
            bar.inc(part.len() as u64);
        }
    })
}

/// Copies from a node to a node.
pub async fn copy(copy: Copy, from: &Client, output: &Output) -> Result<(), Error> {
    let to = match &copy.to {
        None => from.clone(),
        Some(name) => {
            let node = NodeArgs {
                context: Some(name.clone()),
                ..NodeArgs::default()
            };
            node.client()?.with_timeout(pool::PATIENCE)
        }
    };
    let mut options = copy.sending.options();
    if copy.resumable {
        let broken_off = to.datasets(None).await?.into_iter();
        options.resume = broken_off
            .filter(|dataset| dataset.name == copy.dataset)
            .find_map(|dataset| dataset.resume_token);
    }
    let stream: DatasetStream = from.send_snapshot(&copy.sending.snapshot, &options).await?;
    let bar = output.flow(&copy.sending.snapshot);
    let receiving = ReceiveOptions {
        resumable: copy.resumable,
        discard_changes: copy.discard_changes,
    };
    let parts = counted(stream.into_parts(), &bar);
    let received = to.receive_dataset(&copy.dataset, receiving, parts).await;
    bar.finish_and_clear();
    let dataset = received?;
    output.show(&dataset, |style| render::dataset::show(&dataset, style))
}

/// Writes to a file, which is removed when it breaks off.
pub async fn send(send: Send, client: &Client, output: &Output) -> Result<(), Error> {
    let options = send.sending.options();
    let mut stream = client.send_snapshot(&send.sending.snapshot, &options).await?;
    let bar = output.flow(&send.sending.snapshot);
    let written = if send.file == Path::new("-") {
        write(&mut stream, tokio::io::stdout(), &bar, &send.file).await
    } else {
        let failed = |error| Error::io(format!("cannot create {}", send.file.display()), error);
        let file = tokio::fs::File::create_new(&send.file).await.map_err(failed)?;
        let written = write(&mut stream, file, &bar, &send.file).await;
        if written.is_err() {
            // Why it broke off is what counts.
            let _ = tokio::fs::remove_file(&send.file).await;
        }
        written
    };
    bar.finish_and_clear();
    written
}

async fn write(
    stream: &mut DatasetStream,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    bar: &ProgressBar,
    path: &Path,
) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io(format!("cannot write {}", path.display()), error);
    while let Some(part) = stream.next().await {
        let part = part?;
        to.write_all(&part).await.map_err(failed)?;
        bar.inc(part.len() as u64);
    }
    to.flush().await.map_err(failed)
}

/// Reads from a file.
pub async fn receive(receive: Receive, client: &Client, output: &Output) -> Result<(), Error> {
    let options = ReceiveOptions {
        resumable: false,
        discard_changes: receive.discard_changes,
    };
    let bar = output.flow(&receive.dataset);
    let received = if receive.file == Path::new("-") {
        let parts = counted(ReaderStream::with_capacity(tokio::io::stdin(), PIECE), &bar);
        client.receive_dataset(&receive.dataset, options, parts).await
    } else {
        let failed = |error| Error::io(format!("cannot open {}", receive.file.display()), error);
        let file = tokio::fs::File::open(&receive.file).await.map_err(failed)?;
        let parts = counted(ReaderStream::with_capacity(file, PIECE), &bar);
        client.receive_dataset(&receive.dataset, options, parts).await
    };
    bar.finish_and_clear();
    let dataset = received?;
    output.show(&dataset, |style| render::dataset::show(&dataset, style))
}
