//! `SHA256SUMS` of a directory, and signatures (minisign, <https://jedisct1.github.io/minisign/>) of it and of what updates a
//! node.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use minisign::{PublicKey, SecretKey, SecretKeyBox};
use sha2::{Digest, Sha256};

const SUMS: &str = "SHA256SUMS";
/// What a signature is called: its file's name with this behind it.
const SUFFIX: &str = ".minisig";

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

    /// The public key, as minisign writes it into a file.
    pub fn public(&self) -> Result<String> {
        Ok(PublicKey::from_secret_key(&self.0)?.to_box()?.into_string())
    }

    fn sign(&self, content: &[u8]) -> Result<String> {
        let comment = format!("axion {}", env!("CARGO_PKG_VERSION"));
        Ok(minisign::sign(None, &self.0, content, Some(&comment), None)?.to_string())
    }
}

/// Writes the sums of the files `names` in `dir`. When there is a `key`, it signs them and each of the files `alone`.
pub fn write(dir: &Path, names: &[&str], alone: &[&str], key: Option<&Key>) -> Result<()> {
    super::write(&dir.join(SUMS), sums(dir, names)?.as_bytes())?;
    for name in alone.iter().chain([&SUMS]) {
        let signature = dir.join(format!("{name}{SUFFIX}"));
        // A signature of another file would only look like one.
        drop(fs::remove_file(&signature));
        if let Some(key) = key {
            let content = super::read(&dir.join(name))?;
            let signed = key.sign(&content).with_context(|| format!("signing {name}"))?;
            super::write(&signature, signed.as_bytes())?;
        }
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
