//! `axctl support`: what helps somebody else to understand a node.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::render;

/// A node in trouble takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

const EXAMPLES: &str = "\
Examples:
  axctl support bundle             into axion-support-HOST-TIME.tar here
  axctl support bundle node.tar    into this file
  axctl support bundle - | tar -xO --wildcards '*/log.txt'
                                   the node's log alone

Passwords, keys and tokens are hidden; names, addresses and serial numbers are
not. manifest.json in the archive lists every part and why one is missing.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch all that helps to understand a node: logs, config, hardware, pools, the last crash
    #[command(after_help = EXAMPLES)]
    Bundle {
        /// The file, which must not be there; `-` is standard output
        file: Option<PathBuf>,
    },
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?.with_timeout(PATIENCE);
    let Command::Bundle { file } = command;
    let waiting = output.wait("the node puts its support bundle together".to_owned());
    let bundle = client.support_bundle().await;
    waiting.finish_and_clear();
    let bundle = bundle?;
    if file.as_deref() == Some(Path::new("-")) {
        return output.bytes(&bundle.archive);
    }
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{}.tar", bundle.name)));
    let failed = |error| Error::io(format!("cannot write {}", file.display()), error);
    // It tells much about a site.
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file);
    created
        .and_then(|mut created| created.write_all(&bundle.archive))
        .map_err(failed)?;
    output.show(&bundle.manifest, |style| {
        render::support::manifest(&bundle.manifest, style)
    })?;
    output.note(format_args!(
        "Written to {} ({} KiB).",
        file.display(),
        bundle.archive.len().div_ceil(1024)
    ));
    Ok(())
}
