//! A key pair that signs releases (minisign).

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use minisign::KeyPair;

/// Options of `keys`.
#[derive(Args)]
pub struct Options {
    /// Secret key file to make; the public key goes beside it, with `.pub` behind the name
    #[arg(value_name = "FILE")]
    secret: PathBuf,
    /// Protect the secret key by its file mode alone, without asking for a password
    #[arg(long)]
    no_password: bool,
}

/// Makes a key pair. Files that exist are never replaced.
pub fn keys(options: &Options) -> Result<()> {
    let public = public_file(&options.secret);
    for file in [&options.secret, &public] {
        ensure!(!file.exists(), "{} exists; name another file", file.display());
    }
    let KeyPair { pk, sk } = if options.no_password {
        KeyPair::generate_unencrypted_keypair()
    } else {
        KeyPair::generate_encrypted_keypair(None)
    }
    .context("making a key pair")?;
    let secret = sk.to_box(Some("Axion release key, secret"))?.into_string();
    create(&options.secret, 0o600, &secret)?;
    create(&public, 0o644, &pk.to_box()?.into_string())?;
    println!("secret key  {}", options.secret.display());
    println!("public key  {}", public.display());
    println!("            {}", pk.to_base64());
    Ok(())
}

fn public_file(secret: &Path) -> PathBuf {
    let mut name = secret.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn create(file: &Path, mode: u32, text: &str) -> Result<()> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests;
