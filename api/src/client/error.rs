//! What can go wrong between a caller and a node.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{Fingerprint, FingerprintError};
use crate::problem::Problem;

/// A call that failed. Its cause is in `source`, never repeated in its own text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no address of a node.
    #[error("`{0}` is not a node's address; expected https://HOST or https://HOST:PORT")]
    Address(String),
    /// The text is no fingerprint.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// The token cannot be sent. It is not repeated here: it is a secret.
    #[error("the token is empty or has characters that no token has; check for line ends and quotes")]
    Token,
    /// The CA file cannot be used.
    #[error("CA file {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS cannot be set up on this side.
    #[error("cannot set up TLS")]
    TlsSetup(#[from] rustls::Error),
    /// The host name has no address.
    #[error("cannot resolve {host}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing answers there.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake with {address}")]
    Tls {
        /// With whom.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Another node answers there, or someone in between.
    #[error("{address} is not the node that was pinned: expected CA {expected}, presented {presented}")]
    PinMismatch {
        /// Who answered.
        address: String,
        /// Fingerprint that was pinned.
        expected: Fingerprint,
        /// Fingerprint of the last certificate of the chain that was presented.
        presented: Fingerprint,
    },
    /// The node refused the call and says why.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The answer is not what the API promises.
    #[error("{call}: {detail}")]
    Protocol {
        /// Method and path.
        call: String,
        /// What was wrong with the answer.
        detail: String,
    },
    /// The connection broke before the answer was complete.
    #[error("{call}: the connection broke")]
    Broken {
        /// Method and path.
        call: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The node took too long.
    #[error("{call}: no answer within {} s", after.as_secs_f32())]
    Timeout {
        /// Method and path, or what was waited for.
        call: String,
        /// Deadline.
        after: Duration,
    },
    /// A file to upload cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// HTTP status of the node's refusal, where there is one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }

    /// What the operator may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Resolve { .. } => Some("check the name, or use the address that the node's console shows"),
            Self::Connect { source, .. } => Some(connect_hint(source)),
            Self::PinMismatch { .. } => Some(
                "compare with the fingerprint on the node's console; a node that was installed anew has a new CA",
            ),
            Self::Tls { .. } => {
                Some("is this the port of a node's API? Check both clocks where a certificate is out of date")
            }
            Self::Problem(problem) if problem.status == 401 => {
                Some("the token is wrong; the node's console or its machine config says which are accepted")
            }
            Self::Timeout { .. } => Some("the node is busy or unreachable; look at its console"),
            _ => None,
        }
    }
}

fn connect_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::ConnectionRefused => {
            "the host answers, but no agent listens there: check the port, or wait for the boot's end"
        }
        io::ErrorKind::NotFound => {
            "the agent's socket is not there: the agent is down or this is no Axion node"
        }
        io::ErrorKind::PermissionDenied => "the local socket is for root and the node's own services",
        _ => "check address, cable and firewall; the node's console shows its addresses",
    }
}
