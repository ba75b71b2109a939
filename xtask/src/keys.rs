//! Keys of whoever hands out media: a pair that signs releases (minisign), and the keys of Secure Boot (`keys/secure_boot.rs`).

pub mod secure_boot;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use minisign::KeyPair;

use crate::setup;

/// Options of `keys`.
#[derive(Args)]
#[command(
    after_help = "FILE signs SHA256SUMS of the media (`cargo xtask media --key FILE`). DIR makes machines start what is \
    signed with it and nothing else (`cargo xtask media --secure-boot DIR`): docs/secure-boot.md. Whoever has DIR can \
    make such machines start anything: keep it off the network, and a copy of it."
)]
pub struct Options {
    /// Secret key file to make; the public key goes beside it, with `.pub` behind the name
    #[arg(value_name = "FILE", required_unless_present = "secure_boot")]
    secret: Option<PathBuf>,
    /// Protect the secret key by its file mode alone, without asking for a password
    #[arg(long)]
    no_password: bool,
    #[command(flatten)]
    secure_boot: secure_boot::Options,
}

/// Makes the keys that are asked for. Files that exist are never replaced.
pub fn keys(options: &Options) -> Result<()> {
    if let Some(secret) = &options.secret {
        release_key(secret, options.no_password)?;
    }
    if options.secure_boot.is_asked_for() {
        setup::install(&setup::Options::default())?;
        secure_boot::make(&options.secure_boot)?;
    }
    Ok(())
}

/// Makes a key pair of minisign.
fn release_key(secret: &Path, no_password: bool) -> Result<()> {
    let public = public_file(secret);
    for file in [secret, &public] {
        ensure!(!file.exists(), "{} exists; name another file", file.display());
    }
    let KeyPair { pk, sk } = if no_password {
        KeyPair::generate_unencrypted_keypair()
    } else {
        KeyPair::generate_encrypted_keypair(None)
    }
    .context("making a key pair")?;
    let text = sk.to_box(Some("Axion release key, secret"))?.into_string();
    create(secret, 0o600, &text)?;
    create(&public, 0o644, &pk.to_box()?.into_string())?;
    println!("secret key  {}", secret.display());
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
