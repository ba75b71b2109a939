//! `axctl login`: save a node.

use axion_api::client::{Address, Client, Endpoint, Fingerprint, Trust, presented_ca};
use clap::Args;

use crate::error::Error;
use crate::node::{Context, Contexts, NodeArgs};
use crate::output::Output;
use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  axctl login https://10.0.0.5
      shows the fingerprint that the node presents, asks to compare it with the
      one on the node's console, then asks for the token
  axctl login node1 --fingerprint sha256:1f…c0 --token-file token --name lab
      asks nothing";

/// Save a node as a context: its address, the proof of its identity, a token
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Login {
    /// Address of the node: https://HOST or https://HOST:PORT
    url: String,
    /// Name of the context; the node's host name when absent
    #[arg(long)]
    name: Option<String>,
}

/// Proves the node, tries the token, saves both and makes the context current.
pub async fn run(login: Login, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let address: Address = login.url.parse()?;
    let trust = match node.trust() {
        Some(trust) => trust,
        None => Trust::Pin(compare(&address, output).await?),
    };
    let token = match node.token()? {
        Some(token) => token,
        None => terminal::secret("token")?,
    };
    let client = Client::tls(&Endpoint {
        address: address.clone(),
        token: token.clone(),
        trust: trust.clone(),
    })?;
    let host = client.host().await?;

    let (fingerprint, ca_file) = match trust {
        Trust::Pin(fingerprint) => (Some(fingerprint.to_string()), None),
        Trust::CaFile(file) => {
            let absolute = std::path::absolute(&file)
                .map_err(|source| Error::io(format!("cannot find {}", file.display()), source))?;
            (None, Some(absolute))
        }
    };
    let name = login.name.unwrap_or(host.hostname);
    let mut saved = Contexts::load()?;
    saved.contexts.insert(
        name.clone(),
        Context {
            server: address.to_string(),
            fingerprint,
            ca_file,
            token,
        },
    );
    saved.current = Some(name.clone());
    let path = saved.save()?;
    output.note(format_args!(
        "Saved {address} as context `{name}` in {} and made it current.",
        path.display()
    ));
    output.note("Next: axctl host show");
    Ok(())
}

/// Has the operator compare what the node presents with what its console shows.
async fn compare(address: &Address, output: &Output) -> Result<Fingerprint, Error> {
    if !terminal::is_attended() {
        return Err(Error::Usage(
            "nobody can compare the fingerprint here; give --fingerprint with the one on the node's console"
                .to_owned(),
        ));
    }
    let fingerprint = presented_ca(address).await?;
    output.note(format_args!(
        "The node at {address} presents the CA\n\n  {fingerprint}\n"
    ));
    terminal::confirm(
        "Does the node's own console show the same fingerprint?",
        "--fingerprint",
    )?;
    Ok(fingerprint)
}
