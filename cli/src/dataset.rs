//! `axctl dataset`: file systems and zvols of the node's pools.

mod transfer;

use axion_api::storage::{Dataset, DatasetKind, DatasetSpec, Encryption, Key, Use};
use axion_core::quantity::ByteSize;
use clap::{Args, Subcommand, ValueEnum};

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::pool::{Compress, PATIENCE};
use crate::{render, terminal};

const EXAMPLES: &str = "\
Examples:
  axctl dataset create tank/scratch --for stream --quota 2TiB
      a file system for large files
  axctl dataset create tank/disk1 --size 100GiB --sparse
      a zvol: a block device that takes room as it is written
  axctl dataset create tank/secret --passphrase-file key.txt
      an encrypted file system; the node forgets the key when it restarts, unless
      `axctl tpm seal` has the TPM keep it
  axctl dataset set tank/disk1 --size 200GiB
      a zvol can grow
  axctl dataset copy tank/scratch@monday tank/scratch --to node2
      to another node that is a saved context; --from-snapshot sends what changed
  axctl dataset list tank
      everything in a pool";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// List file systems and zvols
    List {
        /// This one and what is below it
        under: Option<String>,
    },
    /// What a dataset is and takes
    Show {
        /// Whole name, as `tank/scratch`
        name: String,
    },
    /// Make a file system, or with --size a zvol
    Create(Create),
    /// Change a dataset's limits, compression or size
    Set(Set),
    /// Destroy a dataset, its snapshots and its data
    Delete {
        /// Whole name
        name: String,
        /// With everything below it
        #[arg(long, short)]
        recursive: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Copy a snapshot to a dataset of this node or of another one
    Copy(transfer::Copy),
    /// Write a snapshot to a file here
    Send(transfer::Send),
    /// Make a dataset of a file that `send` wrote, or bring one up to date
    Receive(transfer::Receive),
    /// Forget what arrived of a stream that broke off
    AbortReceive {
        /// Whole name
        name: String,
    },
    /// Unlock an encrypted dataset and mount it
    LoadKey {
        /// Whole name
        name: String,
        #[command(flatten)]
        key: KeyFile,
    },
    /// Unmount an encrypted dataset and forget its key
    UnloadKey {
        /// Whole name
        name: String,
    },
}

/// What a dataset is for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum For {
    /// Anything
    General,
    /// Disks of VMs
    Vm,
    /// Small writes anywhere
    Database,
    /// Large files from end to end
    Stream,
    /// Written once, seldom read
    Archive,
}

/// A key, which is never an argument: arguments are visible to everyone on the machine
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct KeyFile {
    /// File whose first line is a passphrase of 8 to 512 bytes
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<std::path::PathBuf>,
    /// File with a key of 64 hex digits
    #[arg(long, value_name = "FILE")]
    key_file: Option<std::path::PathBuf>,
}

impl KeyFile {
    /// The key in the file, where one is named.
    pub fn read(&self) -> Result<Option<Key>, Error> {
        let line = |path: &std::path::Path| {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|e| Error::io(format!("cannot read {}", path.display()), e))?;
            Ok::<_, Error>(text.lines().next().unwrap_or_default().to_owned())
        };
        Ok(match (&self.passphrase_file, &self.key_file) {
            (Some(path), _) => Some(Key::Passphrase(line(path)?)),
            (_, Some(path)) => Some(Key::Hex(line(path)?)),
            _ => None,
        })
    }
}

/// Make a file system, or with --size a zvol
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Create {
    /// Whole name, as `tank/scratch`; what is above it must be there
    name: String,
    /// Make a zvol of this size
    #[arg(long)]
    size: Option<ByteSize>,
    /// Take room for the zvol as it is written, instead of all at once
    #[arg(long, requires = "size")]
    sparse: bool,
    /// What it is for; decides about block sizes and compression
    #[arg(long = "for", value_enum, value_name = "USE")]
    used_for: Option<For>,
    /// Compression; without it by use
    #[arg(long, value_enum)]
    compression: Option<Compress>,
    /// Block size, a power of two; without it by use
    #[arg(long, value_name = "SIZE")]
    block_size: Option<ByteSize>,
    /// Most that it and what is below it may take
    #[arg(long, value_name = "SIZE", conflicts_with = "size")]
    quota: Option<ByteSize>,
    /// Kept free for it
    #[arg(long, value_name = "SIZE")]
    reservation: Option<ByteSize>,
    #[command(flatten)]
    key: KeyFile,
}

/// Change a dataset's limits, compression or size
#[derive(Debug, Args)]
pub struct Set {
    /// Whole name
    name: String,
    /// New size of a zvol; it can grow only
    #[arg(long)]
    size: Option<ByteSize>,
    /// Compression of what is written from now on
    #[arg(long, value_enum)]
    compression: Option<Compress>,
    /// Most that it and what is below it may take; `0B`: no limit
    #[arg(long, value_name = "SIZE")]
    quota: Option<ByteSize>,
    /// Kept free for it; `0B`: nothing
    #[arg(long, value_name = "SIZE")]
    reservation: Option<ByteSize>,
}

impl Create {
    fn spec(&self) -> Result<DatasetSpec, Error> {
        let used_for = self.used_for.map(|used_for| match used_for {
            For::General => Use::General,
            For::Vm => Use::Vm,
            For::Database => Use::Database,
            For::Stream => Use::Stream,
            For::Archive => Use::Archive,
        });
        Ok(DatasetSpec {
            size: self.size,
            sparse: self.sparse,
            r#use: used_for,
            compression: self.compression.map(Into::into),
            block_size: self.block_size,
            quota: self.quota,
            reservation: self.reservation,
            encryption: self.key.read()?.map(|key| Encryption { key }),
        })
    }
}

/// A spec that leaves everything as it is, but for what is to change.
fn changed(there: &Dataset, set: &Set) -> DatasetSpec {
    let limit = |wanted: Option<ByteSize>, has: Option<u64>| match wanted {
        Some(ByteSize(0)) => None,
        Some(size) => Some(size),
        None => has.map(ByteSize),
    };
    DatasetSpec {
        size: set.size.or(there.volume_size.map(ByteSize)),
        compression: set.compression.map(Into::into),
        quota: limit(set.quota, there.quota),
        reservation: limit(set.reservation, there.reservation),
        ..DatasetSpec::default()
    }
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?.with_timeout(PATIENCE);
    match command {
        Command::List { under } => {
            let datasets = client.datasets(under.as_deref()).await?;
            output.show(&datasets, |style| render::dataset::list(&datasets, style))
        }
        Command::Show { name } => {
            let dataset = client.dataset(&name).await?;
            output.show(&dataset, |style| render::dataset::show(&dataset, style))
        }
        Command::Create(create) => {
            let dataset = client.put_dataset(&create.name, &create.spec()?).await?;
            output.show(&dataset, |style| render::dataset::show(&dataset, style))
        }
        Command::Set(set) => {
            let there = client.dataset(&set.name).await?;
            let dataset = client.put_dataset(&set.name, &changed(&there, &set)).await?;
            output.show(&dataset, |style| render::dataset::show(&dataset, style))
        }
        Command::Copy(copy) => transfer::copy(copy, &client, output).await,
        Command::Send(send) => transfer::send(send, &client, output).await,
        Command::Receive(receive) => transfer::receive(receive, &client, output).await,
        Command::AbortReceive { name } => {
            client.abort_receive(&name).await?;
            output.note(format_args!("Nothing of it is left at {name}."));
            Ok(())
        }
        Command::Delete { name, recursive, yes } => {
            if !yes {
                let dataset = client.dataset(&name).await?;
                let what = match (dataset.kind, recursive) {
                    (DatasetKind::Volume, _) => "the zvol",
                    (_, true) => "the file system, everything below it",
                    _ => "the file system",
                };
                let used = render::bytes(dataset.used);
                let question = format!("Destroy {what} {name}, its snapshots and the {used} in it?");
                terminal::confirm(&question, "--yes")?;
            }
            client.destroy_dataset(&name, recursive).await?;
            output.note(format_args!("{name} is destroyed."));
            Ok(())
        }
        Command::LoadKey { name, key } => {
            let key = key
                .read()?
                .ok_or_else(|| Error::Usage("which key? Give --passphrase-file or --key-file".to_owned()))?;
            client.load_key(&name, key).await?;
            output.note(format_args!("{name} is unlocked."));
            Ok(())
        }
        Command::UnloadKey { name } => {
            client.unload_key(&name).await?;
            output.note(format_args!("{name} is locked."));
            Ok(())
        }
    }
}
