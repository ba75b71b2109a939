//! The keys of Secure Boot (UEFI 2.10 §32), made by openssl and by efitools, both Debian's.
//!
//! | key   | signs                                  | for firmware                              |
//! |-------|----------------------------------------|-------------------------------------------|
//! | `PK`  | changes of `PK` and `KEK`              | the platform key: whose machine this is   |
//! | `KEK` | changes of `db`                        | who says what may start                   |
//! | `db`  | the media: loader, UKI, kernel, modules | what may start                            |
//!
//! Of each there is the private key (`NAME.key`, mode 0600), the certificate as PEM and as DER (`NAME.crt`, `NAME.cer`), as a list
//! (`NAME.esl`), and as the signed change that firmware in setup mode takes (`NAME.auth`).
//!
//! One more key is for TPMs, not for firmware: [`PCR_KEY`] vouches for what is measured of an image (`axion_tpm::policy`), so that the next
//! one gets at what the one before has sealed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::step::{Step, output};

/// Kinds of keys: name, and whose change of this one firmware takes.
const KINDS: [(&str, &str); 3] = [("PK", "PK"), ("KEK", "PK"), ("db", "KEK")];
/// Private and public half of the key that vouches for what is measured: PEM both.
pub const PCR_KEY: [&str; 2] = ["pcr.key", "pcr.pub"];
/// Twenty years: what is signed must start for as long as the machine lives, and firmware has no clock to trust.
const DAYS: &str = "7305";
/// X.509's 64 letters of a common name, less what stands behind the owner in ours.
const LONGEST_OWNER: usize = 40;

/// Options of the keys of Secure Boot.
#[derive(Args)]
// A group of this name is what it is flattened into.
#[group(skip)]
pub struct Options {
    /// Directory to make, with the keys of Secure Boot: PK, KEK and db; and one that vouches to TPMs for what is measured
    #[arg(id = "secure_boot", long = "secure-boot", value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Whose keys these are, for people: in the certificates
    #[arg(long, value_name = "NAME", default_value = "Axion", requires = "secure_boot")]
    owner: String,
    /// One more certificate (PEM) whose programs machines may start: of the cards' own firmware, for example
    #[arg(long, value_name = "FILE", requires = "secure_boot")]
    trust: Vec<PathBuf>,
}

impl Options {
    /// In `directory`, for machines of the tests.
    pub fn for_tests(directory: &Path) -> Self {
        Self {
            directory: Some(directory.to_owned()),
            owner: "Axion test".to_owned(),
            trust: Vec::new(),
        }
    }

    /// Whether there are any to be made.
    pub const fn is_asked_for(&self) -> bool {
        self.directory.is_some()
    }
}

/// Makes the directory. One that exists is left alone.
pub fn make(options: &Options) -> Result<()> {
    let Some(directory) = &options.directory else {
        return Ok(());
    };
    ensure!(
        !directory.exists(),
        "{} exists; name another directory",
        directory.display()
    );
    check_owner(&options.owner)?;
    let step = Step::start("Secure Boot keys")?;
    let directory = std::path::absolute(directory)?;
    let parent = directory.parent().context("a directory is above all others")?;
    // Mode 0700 from the beginning, and whole or not there.
    let unfinished = tempfile::Builder::new()
        .prefix(".secure-boot-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .with_context(|| format!("making a directory in {}", parent.display()))?;
    let maker = Maker {
        step: &step,
        directory: unfinished.path(),
        // Of whoever put an entry into a list: a name without a meaning for firmware.
        owner_id: uuid::Uuid::from_u128(random()?).to_string(),
    };
    for (name, _) in KINDS {
        maker.pair(name, &options.owner)?;
    }
    maker.pcr_key()?;
    for (n, certificate) in options.trust.iter().enumerate() {
        maker.trust(certificate, n)?;
    }
    for (name, signer) in KINDS {
        maker.change(name, signer)?;
    }
    fs::rename(unfinished.keep(), &directory)
        .with_context(|| format!("making the directory {}", directory.display()))?;
    step.done();
    for (name, _) in KINDS {
        println!(
            "{name:<4} {}",
            fingerprint(&directory.join(format!("{name}.crt")))?
        );
    }
    println!("in   {}", directory.display());
    Ok(())
}

fn check_owner(owner: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " .-_".contains(c);
    ensure!(
        !owner.trim().is_empty() && owner.len() <= LONGEST_OWNER && owner.chars().all(plain),
        "--owner `{owner}`: at most {LONGEST_OWNER} of A-Z, a-z, 0-9, space, `.`, `-` and `_` go into a certificate"
    );
    Ok(())
}

fn random() -> Result<u128> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid").context("reading a random number")?;
    Ok(u128::from_str_radix(&text.trim().replace('-', ""), 16)?)
}

/// SHA-256 of a certificate, as firmware's setup and `mokutil --db` show it.
fn fingerprint(certificate: &Path) -> Result<String> {
    output(
        Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(certificate),
    )
}

/// Makes files in a directory.
struct Maker<'a> {
    step: &'a Step,
    directory: &'a Path,
    owner_id: String,
}

impl Maker<'_> {
    fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{name}.{extension}"))
    }

    /// A key and its certificate.
    fn pair(&self, name: &str, owner: &str) -> Result<()> {
        let (key, certificate) = (self.file(name, "key"), self.file(name, "crt"));
        let request = self.file(name, "cnf");
        fs::write(&request, request_for(name, owner))?;
        self.step.run(
            Command::new("openssl")
                .args(["req", "-new", "-x509", "-sha256", "-days", DAYS, "-config"])
                .arg(&request)
                .args(["-newkey", "rsa:2048", "-noenc", "-keyout"])
                .arg(&key)
                .arg("-out")
                .arg(&certificate),
        )?;
        fs::remove_file(request)?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        self.step.run(
            Command::new("openssl")
                .args(["x509", "-outform", "DER", "-in"])
                .arg(&certificate)
                .arg("-out")
                .arg(self.file(name, "cer")),
        )?;
        self.list(&certificate, &self.file(name, "esl"))
    }

    /// The key that vouches for what is measured: of the one kind that every TPM knows.
    fn pcr_key(&self) -> Result<()> {
        let [key, public] = PCR_KEY.map(|name| self.directory.join(name));
        self.step.run(
            Command::new("openssl")
                .args([
                    "genpkey",
                    "-quiet",
                    "-algorithm",
                    "RSA",
                    "-pkeyopt",
                    "rsa_keygen_bits:2048",
                    "-out",
                ])
                .arg(&key),
        )?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        self.step.run(
            Command::new("openssl")
                .args(["pkey", "-pubout", "-in"])
                .arg(&key)
                .arg("-out")
                .arg(public),
        )
    }

    /// A certificate as a list of one.
    fn list(&self, certificate: &Path, to: &Path) -> Result<()> {
        self.step.run(
            Command::new("cert-to-efi-sig-list")
                .args(["-g", &self.owner_id])
                .arg(certificate)
                .arg(to),
        )
    }

    /// One more certificate in the list `db`.
    fn trust(&self, certificate: &Path, number: usize) -> Result<()> {
        let own = self.file("db", "esl");
        let other = self.file(&format!("trust{number}"), "esl");
        // The tool takes anything, and makes an empty list of it.
        fingerprint(certificate)
            .with_context(|| format!("{} is no certificate in PEM", certificate.display()))?;
        self.list(certificate, &other)?;
        let both = [fs::read(&own)?, fs::read(&other)?].concat();
        fs::write(own, both)?;
        Ok(fs::remove_file(other)?)
    }

    /// The change to the list of `name`, signed by `signer`.
    fn change(&self, name: &str, signer: &str) -> Result<()> {
        self.step.run(
            Command::new("sign-efi-sig-list")
                .arg("-k")
                .arg(self.file(signer, "key"))
                .arg("-c")
                .arg(self.file(signer, "crt"))
                .arg(name)
                .arg(self.file(name, "esl"))
                .arg(self.file(name, "auth")),
        )
    }
}

/// What openssl reads about a certificate that signs and is nobody's authority.
fn request_for(name: &str, owner: &str) -> String {
    format!(
        "[req]\ndistinguished_name = name\nprompt = no\nx509_extensions = extensions\n\
         [name]\nCN = {owner} Secure Boot {name}\n\
         [extensions]\nbasicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\n\
         subjectKeyIdentifier = hash\n"
    )
}

#[cfg(test)]
mod tests;
