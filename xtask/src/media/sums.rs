//! `SHA256SUMS` of a directory, and its signature (minisign, <https://jedisct1.github.io/minisign/>).

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use minisign::{SecretKey, SecretKeyBox};
use sha2::{Digest, Sha256};

const SUMS: &str = "SHA256SUMS";
const SIGNATURE: &str = "SHA256SUMS.minisig";

/// A secret key, ready to sign.
pub struct Key(SecretKey);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Reads a secret key file; asks for the password of one that has a password.
    pub fn read(file: &Path) -> Result<Self> {
        let name = || format!("the secret key {}", file.display());
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", name()))?;
        let unencrypted = SecretKeyBox::from_string(&text)?.into_unencrypted_secret_key();
        let key = match unencrypted {
            Ok(key) => key,
            Err(_) => SecretKeyBox::from_string(&text)?
                .into_secret_key(None)
                .with_context(|| format!("opening {}", name()))?,
        };
        Ok(Self(key))
    }
}

/// Writes the sums of the files `names` in `dir`, signed by `key` when there is one.
pub fn write(dir: &Path, names: &[&str], key: Option<&Key>) -> Result<()> {
    // A signature of other files would only look like one.
    drop(fs::remove_file(dir.join(SIGNATURE)));
    let sums = sums(dir, names)?;
    super::write(&dir.join(SUMS), sums.as_bytes())?;
    if let Some(Key(key)) = key {
        let comment = format!("axion {}", env!("CARGO_PKG_VERSION"));
        let signature = minisign::sign(None, key, sums.as_bytes(), Some(&comment), None)
            .with_context(|| format!("signing {SUMS}"))?;
        super::write(&dir.join(SIGNATURE), signature.to_string().as_bytes())?;
    }
    Ok(())
}

/// Lines as `sha256sum` writes them and `sha256sum --check` reads them.
fn sums(dir: &Path, names: &[&str]) -> Result<String> {
    let line = |name: &&str| {
        let content = super::read(&dir.join(name))?;
        Ok(format!("{}  {name}\n", hex::encode(Sha256::digest(content))))
    };
    names.iter().map(line).collect()
}

#[cfg(test)]
mod tests;
