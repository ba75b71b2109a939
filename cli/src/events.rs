//! `axctl events`: what changes on the node, as it happens.

use std::time::Duration;

use axion_api::client::Client;
use axion_api::client::Error as ClientError;

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::render;

/// How often a lost node is called again, and how many times.
const RETRY: Duration = Duration::from_secs(1);
const RETRIES: u32 = 60;

/// Prints events until interrupted. A broken stream is opened again where it ended.
pub async fn run(node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?;
    let mut last_seen = None;
    // The first call's failure is the answer; later ones are a node that restarts.
    let mut stream = client.events(None).await?;
    loop {
        match stream.next().await {
            Some(Ok(event)) => {
                last_seen = Some(event.sequence);
                output.line(&event, |style| render::event::line(&event, style))?;
            }
            Some(Err(error)) if !is_passing(&error) => return Err(error.into()),
            Some(Err(_)) | None => {
                output.note("the stream broke; calling the node again");
                stream = reopen(&client, last_seen).await?;
            }
        }
    }
}

async fn reopen(client: &Client, last_seen: Option<u64>) -> Result<axion_api::client::EventStream, Error> {
    let mut left = RETRIES;
    loop {
        tokio::time::sleep(RETRY).await;
        left -= 1;
        match client.events(last_seen).await {
            Ok(stream) => return Ok(stream),
            Err(error) if left > 0 && is_passing(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether an error may go away by itself.
fn is_passing(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Connect { .. }
            | ClientError::Tls { .. }
            | ClientError::Broken { .. }
            | ClientError::Timeout { .. }
    )
}
