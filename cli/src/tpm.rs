//! `axctl tpm`, and what of `axctl pool` is about the keys of the node's state.

use axion_api::keys::{SealRequest, UnlockRequest};
use clap::{Args, Subcommand};

use crate::dataset::KeyFile;
use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::pool::PATIENCE;
use crate::{render, terminal};

const EXAMPLES: &str = "\
Examples:
  axctl tpm show
      its registers, what was measured in this boot, whose keys it keeps
  axctl tpm seal
      the key of the node's state, to the registers as they are now
  axctl tpm seal tank/secret --passphrase-file key.txt
      a dataset that the node is to unlock by itself from now on";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// What the TPM is, what was measured into it, and whose keys it keeps
    Show,
    /// Seal the key of an encrypted dataset to the TPM as its registers are now
    Seal {
        /// The dataset; without it the node's own
        dataset: Option<String>,
        #[command(flatten)]
        key: KeyFile,
    },
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?.with_timeout(PATIENCE);
    match command {
        Command::Show => {
            let tpm = client.tpm().await?;
            output.show(&tpm, |style| render::tpm::show(&tpm, style))
        }
        Command::Seal { dataset, key } => {
            let key = key.read()?;
            let what = dataset.as_deref().unwrap_or("the node's state").to_owned();
            client.seal_key(&SealRequest { dataset, key }).await?;
            output.note(format_args!("The key of {what} is sealed."));
            Ok(())
        }
    }
}

/// Unlock the node's state, which is locked since the node started
#[derive(Debug, Args)]
pub struct Unlock {
    #[command(flatten)]
    key: KeyFile,
    /// Do not seal the key to the TPM as its registers are now
    #[arg(long)]
    no_seal: bool,
}

/// Unlocks the node's state.
pub async fn unlock(unlock: &Unlock, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?.with_timeout(PATIENCE);
    let key = match unlock.key.read()? {
        Some(key) => key,
        None => {
            let lock = client.tpm().await?.state_lock;
            let is_new = lock.is_some_and(|lock| lock.is_new);
            axion_api::storage::Key::Passphrase(typed(is_new)?)
        }
    };
    let seal = !unlock.no_seal;
    client.unlock_state(&UnlockRequest { key, seal }).await?;
    output.note(format_args!(
        "The state is unlocked. The node's agent starts again with it: it proves itself by the fingerprint that you know."
    ));
    Ok(())
}

fn typed(is_new: bool) -> Result<String, Error> {
    if !is_new {
        return terminal::secret("passphrase of the node's state");
    }
    let first = terminal::secret("new passphrase of the node's state (8 to 512 bytes)")?;
    if !terminal::is_attended() {
        return Ok(first);
    }
    let again = terminal::secret("same once more")?;
    if first == again {
        Ok(first)
    } else {
        Err(Error::Usage(
            "these are not the same; nothing was sent".to_owned(),
        ))
    }
}

/// Shows the recovery passphrase, and has the node forget it then: an answer that is lost on its way is no loss.
pub async fn recovery(node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?;
    let recovery = client.recovery().await?;
    output.show(&recovery, |style| render::tpm::recovery(&recovery, style))?;
    Ok(client.forget_recovery().await?)
}
