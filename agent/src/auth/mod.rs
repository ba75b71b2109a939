//! Who is asking.
//!
//! Over TLS a bearer token says so; over the local socket the kernel does (`SO_PEERCRED`). The node keeps only SHA-256
//! digests of tokens; a token is 256 random bits, so its digest needs no salt and no stretching. A guess costs its
//! peer a place in a queue ([`limit`]), never anybody else.

pub mod limit;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axion_core::paths;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::files::{FileError, read_optional, remove_optional, replace};
use crate::log::chain;

/// File of the digest of the token that the agent made itself, in its state directory.
const OWN_TOKEN: &str = "token.sha256";
/// Beside it for as long as nobody is known to have the token.
const UNNOTED: &str = "token.unnoted";
/// Between two looks whether the console was told that it is noted.
const LOOK: Duration = Duration::from_secs(2);
/// What tokens of the agent's making start with.
const PREFIX: &str = "axion_";

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The local socket, from a process of this user.
    Local {
        /// User id.
        uid: u32,
    },
    /// The network.
    Remote(SocketAddr),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local { uid } => write!(f, "local uid {uid}"),
            Self::Remote(address) => write!(f, "{address}"),
        }
    }
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Root, or the node's own console, on the local socket.
    Local {
        /// User id.
        uid: u32,
    },
    /// The holder of a token; the start of its digest.
    Token(String),
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local { uid: 0 } => f.write_str("root"),
            Self::Local {
                uid: paths::UID_CONSOLE,
            } => f.write_str("console"),
            Self::Local { uid } => write!(f, "uid {uid}"),
            Self::Token(id) => write!(f, "token {id}"),
        }
    }
}

impl Peer {
    /// Who the peer is by the kernel's word, where that is enough.
    pub fn identity(self) -> Option<Identity> {
        match self {
            Self::Local {
                uid: uid @ (0 | paths::UID_CONSOLE),
            } => Some(Identity::Local { uid }),
            _ => None,
        }
    }
}

/// Why the tokens cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No randomness.
    #[error("the kernel gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// The tokens that are accepted.
pub struct Tokens {
    hashes: Vec<[u8; 32]>,
    first: Option<First>,
}

/// A token that the agent made itself, which somebody may not have noted yet.
struct First {
    /// Where the console finds it, and removes it when it is noted.
    shown: PathBuf,
    /// What says that nobody has noted it.
    marker: PathBuf,
    noted: AtomicBool,
}

impl Tokens {
    /// The tokens of the machine config; where it has none, the one that the agent made itself. At first it makes it, and
    /// leaves it at `first_token` for the console to show. One that was gone before anybody noted it is no use to anybody: it
    /// makes another.
    pub fn load(configured: &[String], state: &Path, first_token: &Path) -> Result<Self, TokenError> {
        let hashes: Vec<[u8; 32]> = configured.iter().filter_map(|text| read_hash(text)).collect();
        if hashes.len() < configured.len() {
            tracing::warn!(
                "{} of api.token_hashes are not `sha256:` and 64 hex digits and are left out",
                configured.len() - hashes.len()
            );
        }
        let shown = read_optional(first_token)?.map(|token| hash(token.trim()));
        if !hashes.is_empty() {
            return Self::kept(hashes, first_token, shown);
        }
        let (kept, marker) = (state.join(OWN_TOKEN), state.join(UNNOTED));
        let own = read_optional(&kept)?.and_then(|text| read_hash(text.trim()));
        let is_noted = read_optional(&marker)?.is_none();
        match own {
            Some(own) if is_noted => return Self::kept(vec![own], first_token, shown),
            Some(own) if shown == Some(own) => {
                return Ok(Self {
                    hashes: vec![own],
                    first: Some(First::new(first_token, marker)),
                });
            }
            _ => {}
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(TokenError::Random)?;
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let hash = hash(&token);
        // In this order: a token that nobody can read any more must not be the one that is accepted.
        replace(first_token, token.as_bytes(), 0o640)?;
        replace(&marker, b"", 0o600)?;
        replace(&kept, format!("sha256:{}\n", hex::encode(hash)).as_bytes(), 0o600)?;
        tracing::info!("made a first API token; the local console shows it");
        Ok(Self {
            hashes: vec![hash],
            first: Some(First::new(first_token, marker)),
        })
    }

    /// Tokens that somebody has. What the console shows is one of them, or left over from before the node had its state.
    fn kept(hashes: Vec<[u8; 32]>, first_token: &Path, shown: Option<[u8; 32]>) -> Result<Self, TokenError> {
        if !shown.is_some_and(|shown| hashes.contains(&shown)) {
            remove_optional(first_token)?;
        }
        Ok(Self { hashes, first: None })
    }

    /// Takes note that somebody has the token, where it was not known: it stays from now on.
    pub async fn noted(&self) {
        let Some(first) = self.first.as_ref() else { return };
        if first.noted.swap(true, Ordering::Relaxed) {
            return;
        }
        let marker = first.marker.clone();
        let removed = tokio::task::spawn_blocking(move || remove_optional(&marker)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(
                "the node makes another first token when it starts: {}",
                chain(&error)
            );
        }
    }

    /// Waits until the token that the console shows is noted, where there is one.
    pub async fn follow(&self) {
        let Some(first) = self.first.as_ref() else { return };
        while !first.noted.load(Ordering::Relaxed) {
            if !tokio::fs::try_exists(&first.shown).await.unwrap_or(true) {
                return self.noted().await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Who holds `token`; takes the same time whatever the token is.
    pub fn check(&self, token: &str) -> Option<Identity> {
        let hash = hash(token);
        let known = self
            .hashes
            .iter()
            .fold(Choice::from(0), |known, accepted| known | accepted.ct_eq(&hash));
        let id: String = hex::encode(hash).chars().take(8).collect();
        bool::from(known).then_some(Identity::Token(id))
    }
}

impl First {
    fn new(shown: &Path, marker: PathBuf) -> Self {
        Self {
            shown: shown.to_owned(),
            marker,
            noted: AtomicBool::new(false),
        }
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn read_hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text.strip_prefix("sha256:")?, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests;
