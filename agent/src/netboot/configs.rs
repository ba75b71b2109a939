//! Machine configs of machines that boot from this node, one file each. The boot server looks for them by name
//! (`axion_netboot::Nodes`), anew for each machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use axion_api::netboot::NetbootConfig;
use axion_api::problem::{Kind, Problem};
use axion_core::config::{ConfigError as Mistake, check};
use sha2::{Digest, Sha256};

use crate::files::{FileError, replace};
use crate::log::chain;

const SUFFIX: &str = ".toml";
/// Documents at most: the node's state is not for other things.
const MOST: usize = 4096;
/// The server reads them by its group, which the directory gives them.
const MODE: u32 = 0o640;

/// Something cannot be done to a config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Bad name.
    #[error(
        "`{0}` is no name that a machine asks for; allowed are `default`, a UUID, a serial number with `-` for what is no letter, \
         digit or `.`, and a MAC address as in `52-54-00-12-34-56`, UUIDs and MAC addresses in small letters"
    )]
    Name(String),
    /// Bad document.
    #[error(transparent)]
    Document(#[from] Mistake),
    /// There is none.
    #[error("there is no config `{0}` for machines")]
    None(String),
    /// There are too many.
    #[error(
        "there are {MOST} configs for machines already; `default` with `${{serial}}` or `${{mac}}` in it serves many machines"
    )]
    Full,
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The thread ended.
    #[error("it was not finished")]
    Thread(#[from] tokio::task::JoinError),
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        let kind = match &error {
            ConfigError::Name(_) | ConfigError::Document(_) => Kind::Invalid,
            ConfigError::None(_) => Kind::NotFound,
            ConfigError::Full => Kind::InsufficientCapacity,
            ConfigError::File(_) | ConfigError::Thread(_) => Kind::Internal,
        };
        Self::new(kind, chain(&error))
    }
}

type Result<T> = std::result::Result<T, ConfigError>;

/// The directory of configs.
#[derive(Debug, Clone)]
pub struct Configs {
    directory: PathBuf,
}

impl Configs {
    /// Those in `directory`.
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn list(&self) -> Result<Vec<NetbootConfig>> {
        self.on_thread(|directory| list(&directory)).await
    }

    /// Their names.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn names(&self) -> Result<Vec<String>> {
        self.on_thread(|directory| names(&directory)).await
    }

    /// One document.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn get(&self, name: String) -> Result<String> {
        self.on_thread(move |directory| {
            let path = place(&directory, &name)?;
            match fs::read_to_string(&path) {
                Ok(text) => Ok(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ConfigError::None(name)),
                Err(error) => Err(FileError::new("read", &path, error).into()),
            }
        })
        .await
    }

    /// Keeps a document; `true`: there was none of that name.
    ///
    /// # Errors
    /// The name or the document is not what it should be, or it cannot be written.
    pub async fn put(&self, name: String, text: String) -> Result<(NetbootConfig, bool)> {
        self.on_thread(move |directory| {
            let path = place(&directory, &name)?;
            check(&text, &format!("{name}{SUFFIX}"))?;
            let new = !path.exists();
            if new && names(&directory)?.len() >= MOST {
                return Err(ConfigError::Full);
            }
            replace(&path, text.as_bytes(), MODE)?;
            Ok((facts(name, text.as_bytes()), new))
        })
        .await
    }

    /// Takes a document away.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be removed.
    pub async fn delete(&self, name: String) -> Result<()> {
        self.on_thread(move |directory| {
            let path = place(&directory, &name)?;
            match fs::remove_file(&path) {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ConfigError::None(name)),
                Err(error) => Err(FileError::new("remove", &path, error).into()),
            }
        })
        .await
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(PathBuf) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let directory = self.directory.clone();
        tokio::task::spawn_blocking(move || work(directory)).await?
    }
}

/// Where the document `name` is. A name that passes has no `/` in it.
fn place(directory: &Path, name: &str) -> Result<PathBuf> {
    if axion_netboot::is_name(name) && !name.starts_with('.') {
        Ok(directory.join(format!("{name}{SUFFIX}")))
    } else {
        Err(ConfigError::Name(name.to_owned()))
    }
}

fn facts(name: String, text: &[u8]) -> NetbootConfig {
    NetbootConfig {
        name,
        size: u64::try_from(text.len()).unwrap_or(u64::MAX),
        sha256: hex::encode(Sha256::digest(text)),
    }
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let failed = |error| FileError::new("read", directory, error);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // Init makes it at the start of the node; nothing was kept where it could not.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error).into()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        found.extend(name.map(ToOwned::to_owned));
    }
    found.sort_unstable();
    Ok(found)
}

fn list(directory: &Path) -> Result<Vec<NetbootConfig>> {
    let mut found = Vec::new();
    for name in names(directory)? {
        let path = directory.join(format!("{name}{SUFFIX}"));
        match fs::read(&path) {
            Ok(text) => found.push(facts(name, &text)),
            // It has just been taken away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(FileError::new("read", &path, error).into()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
