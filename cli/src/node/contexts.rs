//! Saved nodes: `$XDG_CONFIG_HOME/axion/config.toml`, which holds tokens and is therefore for its owner alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use axion_api::client::Trust;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The saved nodes and which of them is current.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// Name of the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// All of them, by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// A saved node.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Its address.
    pub server: String,
    /// Fingerprint of its CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// CA certificates of the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Bearer token.
    #[serde(default)]
    pub token: String,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({})", self.server)
    }
}

impl Context {
    /// What proves that a server is this node.
    pub fn trust(&self) -> Option<Trust> {
        match (&self.ca_file, &self.fingerprint) {
            (Some(file), _) => Some(Trust::CaFile(file.clone())),
            (None, Some(text)) => text.parse().ok().map(Trust::Pin),
            (None, None) => None,
        }
    }
}

impl Contexts {
    /// The context of that name.
    pub fn get(&self, name: &str) -> Result<&Context, Error> {
        self.contexts
            .get(name)
            .ok_or_else(|| Error::NoContext(name.to_owned()))
    }

    /// Reads the saved nodes; there are none before the first `axctl login`.
    pub fn load() -> Result<Self, Error> {
        match path() {
            Some(path) => Self::load_from(&path),
            None => Ok(Self::default()),
        }
    }

    /// Replaces the saved nodes and says where they are.
    pub fn save(&self) -> Result<PathBuf, Error> {
        let path = path().ok_or_else(|| {
            Error::Usage("no place for the configuration: neither XDG_CONFIG_HOME nor HOME is set".to_owned())
        })?;
        self.save_to(&path)?;
        Ok(path)
    }

    pub(super) fn load_from(path: &Path) -> Result<Self, Error> {
        let refuse = |detail: String| Error::Contexts {
            path: path.to_owned(),
            detail,
        };
        let failed = |source| Error::io(format!("cannot read {}", path.display()), source);
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let advice = format!("chmod 600 {}", path.display());
            return Err(refuse(format!(
                "holds tokens but has mode {mode:03o}; `{advice}` keeps others out"
            )));
        }
        // The message only: the excerpt that toml would show may hold a token.
        toml::from_str(&text).map_err(|error| refuse(error.message().to_owned()))
    }

    pub(super) fn save_to(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::io(format!("cannot write {}", path.display()), source);
        let text = toml::to_string(self).map_err(|error| failed(std::io::Error::other(error)))?;
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(failed)?;
        }
        // Written beside and renamed, so that a full disk or a power cut leaves the old file.
        let new = path.with_extension(format!("toml.{}", std::process::id()));
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written.map_err(failed)
    }
}

/// XDG Base Directory Specification: relative values are ignored.
fn path() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(base.join("axion/config.toml"))
}
