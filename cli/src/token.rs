//! `axctl token`: API tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token and the hash of it that a machine config carries
    ///
    /// The token is shown this once. A node only ever holds the hash.
    Generate,
}

#[derive(Debug, Serialize)]
struct Generated {
    token: String,
    hash: String,
}

pub fn run(command: &Command, output: &Output) -> Result<(), Error> {
    match command {
        Command::Generate => {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes)
                .map_err(|error| Error::io("cannot get random bytes", std::io::Error::other(error)))?;
            let generated = generated(&bytes);
            output.show(&generated, |_| {
                format!(
                    "Token, shown this once:\n\n  {}\n\nFor the machine config:\n\n  [api]\n  token_hashes = [\"{}\"]\n",
                    generated.token, generated.hash
                )
            })
        }
    }
}

fn generated(bytes: &[u8; 32]) -> Generated {
    let token = format!("axion_{}", URL_SAFE_NO_PAD.encode(bytes));
    let hash = format!("sha256:{}", hex::encode(Sha256::digest(&token)));
    Generated { token, hash }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_token_and_its_hash() {
        let made = super::generated(&[0; 32]);
        assert_eq!(made.token, format!("axion_{}", "A".repeat(43)));
        // printf axion_AAA… | sha256sum
        assert_eq!(
            made.hash,
            "sha256:bd31cfdd8f7474cbe8ac3dc93bd6919bac53618f153e03837753c8381532428f"
        );
    }
}
