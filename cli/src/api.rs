//! `axctl api`: the REST API as it is.

use clap::Subcommand;

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what the node answers to a GET
    #[command(after_help = "Example:\n  axctl api get /openapi.json")]
    Get {
        /// Path, as in `/v1/host`
        path: String,
    },
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    match command {
        Command::Get { path } if !path.starts_with('/') => Err(Error::Usage(format!(
            "`{path}` is not a path of the API; a path starts with `/`, as in `/v1/host`"
        ))),
        Command::Get { path } => output.bytes(&node.client()?.get_raw(&path).await?),
    }
}
