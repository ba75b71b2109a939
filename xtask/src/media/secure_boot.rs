//! Media that start under Secure Boot: what is signed, and what firmware in setup mode is offered.
//!
//! | signed                         | checked by        | the signature is                                           |
//! |--------------------------------|-------------------|------------------------------------------------------------|
//! | `axion.efi`, iPXE, the loader  | firmware          | in the program                                             |
//! | the kernel, for kexec alone    | the kernel        | in the initramfs ([`axion_install::authenticode`])         |
//! | modules                        | the kernel        | in the initramfs                                           |
//! | the UKI and loader of a disk   | firmware          | in the initramfs, for the installer                        |
//! | PCR 11 of each UKI             | a node's TPM      | in the UKI, `.pcrsig`                                      |
//!
//! The image is as it was built: signatures are one more archive behind its initramfs. sbsign's signatures hold the time, so
//! signed media differ from build to build; what is signed does not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use axion_core::cmdline::loader::IPXE_CHAIN;
use axion_install::authenticode::{
    SIGNATURES, SIGNED_IMAGE, Signature, Signatures, SignedImage, behind_module, for_kexec, table,
};
use axion_install::uki::{self, PcrPolicy};
use axion_tpm::{Pcrs, Signer, policy};
use cpio::newc;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Archives, fat, read};
use crate::erofs;
use crate::image::cpio;
use crate::keys::secure_boot::PCR_KEY;
use crate::step::Step;

/// Where systemd-boot looks for UKIs (Boot Loader Specification, type 2).
const UKI_PATH: &str = "EFI/Linux/axion.efi";
/// Where it looks for keys to enrol; the directory's name is what its menu shows.
const KEYS: &str = "loader/keys/axion";
const LOADER_CONFIG: &str = "loader/loader.conf";
/// In the root: systemd-boot.
const LOADER: &str = "usr/lib/axion/boot/systemd-bootx64.efi";
/// In the root: modules.
const MODULES: &str = "usr/lib/modules";
/// In the initramfs: the root.
const ROOT: &str = "axion/root.erofs";

/// What a line `kernel` of iPXE's script becomes: firmware would not start a kernel by itself, nor look at its initramfs.
pub fn ipxe_kernel() -> String {
    format!("\n{IPXE_CHAIN}axion.efi @CMDLINE@ ||\nkernel ")
}

/// Whoever signs, and what they hand to firmware.
pub struct Owner {
    key: PathBuf,
    certificate: PathBuf,
    /// Name and content of each change that firmware in setup mode takes.
    changes: Vec<(String, Vec<u8>)>,
    /// Who vouches for what is measured. A directory of an earlier version has none.
    voucher: Option<Voucher>,
}

/// Who vouches for what is measured.
struct Voucher {
    key: PathBuf,
    /// The other half, as PEM.
    public: String,
    signer: Signer,
}

/// The register that systemd-stub measures an image into.
const IMAGE_PCR: u8 = 11;

impl Owner {
    /// That of the directory that `cargo xtask keys --secure-boot` has made.
    pub fn open(directory: &Path) -> Result<Self> {
        let directory = std::path::absolute(directory)?;
        let file = |name: &str| {
            let path = directory.join(name);
            ensure!(
                path.is_file(),
                "there is no {}; `cargo xtask keys --secure-boot DIR` makes a directory that has it",
                path.display()
            );
            Ok(path)
        };
        let change = |name: &str| Ok((name.to_owned(), read(&file(name)?)?));
        let [key, public] = PCR_KEY.map(|name| directory.join(name));
        let voucher = key.is_file().then(|| Voucher::open(key, &public)).transpose()?;
        if voucher.is_none() {
            eprintln!(
                "  {} has no {}: nodes whose TPM keeps a key ask for its passphrase after each update (docs/secure-boot.md)",
                directory.display(),
                PCR_KEY.join(" and ")
            );
        }
        Ok(Self {
            voucher,
            key: file("db.key")?,
            certificate: file("db.crt")?,
            changes: ["db.auth", "KEK.auth", "PK.auth"]
                .into_iter()
                .map(change)
                .collect::<Result<_>>()?,
        })
    }

    /// The signature of an EFI program.
    pub fn sign(&self, step: &Step, program: &[u8]) -> Result<Signature> {
        let dir = tempfile::tempdir()?;
        let (from, to) = (dir.path().join("program"), dir.path().join("signed"));
        fs::write(&from, program)?;
        step.run(
            Command::new("sbsign")
                .arg("--key")
                .arg(&self.key)
                .arg("--cert")
                .arg(&self.certificate)
                .arg("--output")
                .arg(&to)
                .arg(&from),
        )?;
        Ok(Signature::new(table(&read(&to)?)?))
    }

    /// What stands behind a module that is signed.
    fn sign_module(&self, step: &Step, module: &Path) -> Result<Signature> {
        let dir = tempfile::tempdir()?;
        let signature = dir.path().join("signature");
        // As the kernel's scripts/sign-file does; nothing in it depends on the time.
        step.run(
            Command::new("openssl")
                .args([
                    "cms",
                    "-sign",
                    "-binary",
                    "-noattr",
                    "-nocerts",
                    "-nosmimecap",
                    "-md",
                    "sha512",
                ])
                .args(["-outform", "DER", "-signer"])
                .arg(&self.certificate)
                .arg("-inkey")
                .arg(&self.key)
                .arg("-in")
                .arg(module)
                .arg("-out")
                .arg(&signature),
        )?;
        Ok(Signature::new(&behind_module(&read(&signature)?)))
    }

    /// What `assemble` makes of a policy, with one that vouches for what will be measured of it; and that policy, if there is one.
    pub fn vouched(
        &self,
        step: &Step,
        assemble: impl Fn(Option<&PcrPolicy>) -> Result<Vec<u8>>,
    ) -> Result<(Vec<u8>, Option<PcrPolicy>)> {
        let Some(voucher) = &self.voucher else {
            return Ok((assemble(None)?, None));
        };
        let mut policy = PcrPolicy {
            key: voucher.public.clone(),
            signatures: String::new(),
        };
        let measured = uki::measured(&assemble(Some(&policy))?)?;
        policy.signatures = voucher.vouch(step, measured)?;
        Ok((assemble(Some(&policy))?, Some(policy)))
    }

    /// Signs an image. Its archives get the signatures that a node needs, and those that an installer needs; `assemble` makes a
    /// UKI of archives. Gives the loader of the media, signed.
    pub fn sign_image(
        &self,
        step: &Step,
        kernel: &[u8],
        archives: &mut Archives,
        assemble: impl Fn(&Archives, Option<&PcrPolicy>) -> Result<Vec<u8>>,
        staging: &Path,
    ) -> Result<Vec<u8>> {
        let root = unpack_root(step, archives, staging)?;
        let loader = read(&root.join(LOADER))?;
        let signatures = Signatures {
            loader: self.sign(step, &loader)?,
            kernel: self.sign(step, &for_kexec(kernel)?)?,
            modules: self.sign_modules(step, &root.join(MODULES))?,
        };
        archives.push(&archive(SIGNATURES, &signatures, staging)?);
        let (slot, policy) = self.vouched(step, |policy| assemble(archives, policy))?;
        let signed = SignedImage {
            digest: hex::encode(Sha256::digest(&slot)),
            signature: self.sign(step, &slot)?,
            policy,
        };
        archives.push(&archive(SIGNED_IMAGE, &signed, staging)?);
        Ok(signatures.loader.attach(&loader)?)
    }

    fn sign_modules(&self, step: &Step, directory: &Path) -> Result<BTreeMap<String, Signature>> {
        let mut signatures = BTreeMap::new();
        for entry in walkdir::WalkDir::new(directory).sort_by_file_name() {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if let Some(name) = name.strip_suffix(".ko") {
                let signature = self.sign_module(step, entry.path())?;
                signatures.insert(name.replace('-', "_"), signature);
            }
        }
        ensure!(!signatures.is_empty(), "the root has no modules in {MODULES}");
        Ok(signatures)
    }

    /// What the ESP of a medium holds: the loader, which offers the keys to firmware in setup mode, and the UKI.
    pub fn esp<'a>(&'a self, loader: &'a [u8], uki: &'a [u8], config: &'a str) -> Vec<fat::File<'a>> {
        let mut files = vec![
            (super::REMOVABLE_PATH.to_owned(), loader),
            (UKI_PATH.to_owned(), uki),
            (LOADER_CONFIG.to_owned(), config.as_bytes()),
        ];
        let changes = self.changes.iter();
        files.extend(changes.map(|(name, change)| (format!("{KEYS}/{name}"), change.as_slice())));
        files
    }
}

impl Voucher {
    fn open(key: PathBuf, public: &Path) -> Result<Self> {
        let text = fs::read_to_string(public).with_context(|| format!("reading {}", public.display()))?;
        let signer = Signer::from_pem(&text).with_context(|| public.display().to_string())?;
        Ok(Self {
            key,
            public: text,
            signer,
        })
    }

    /// The text of the signature of [`IMAGE_PCR`] when it holds `value`.
    fn vouch(&self, step: &Step, value: [u8; 32]) -> Result<String> {
        let pcrs: Pcrs = [IMAGE_PCR].into_iter().collect();
        let digest = pcrs.policy(&[value]);
        let dir = tempfile::tempdir()?;
        let [of, signature] = ["policy", "signature"].map(|name| dir.path().join(name));
        fs::write(&of, digest)?;
        step.run(
            Command::new("openssl")
                .args(["dgst", "-sha256", "-sign"])
                .arg(&self.key)
                .arg("-out")
                .arg(&signature)
                .arg(&of),
        )?;
        Ok(policy::signatures(
            &self.signer,
            pcrs,
            &digest,
            &read(&signature)?,
        ))
    }
}

/// One file of a node's initramfs, as an archive.
fn archive(path: &str, content: &impl Serialize, staging: &Path) -> Result<Vec<u8>> {
    let dir = staging.join("signatures");
    let file = dir.join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().context("a file is in a directory")?)?;
    fs::write(&file, serde_json::to_vec(content)?)?;
    let archive = cpio(&dir)?;
    fs::remove_dir_all(&dir)?;
    Ok(archive)
}

/// Unpacks the root of an image.
fn unpack_root(step: &Step, archives: &Archives, staging: &Path) -> Result<PathBuf> {
    let packed = staging.join("root.erofs");
    fs::write(&packed, file_of(archives.bytes(), ROOT)?)?;
    let root = staging.join("root");
    erofs::unpack(step, &packed, &root)?;
    fs::remove_file(packed)?;
    Ok(root)
}

/// A file of the first archive in `bytes`.
fn file_of(mut bytes: &[u8], name: &str) -> Result<Vec<u8>> {
    loop {
        let mut entry = newc::Reader::new(bytes).context("reading the initramfs")?;
        ensure!(
            !entry.entry().is_trailer(),
            "the initramfs has no {name}: it is no image of this version"
        );
        if entry.entry().name() == name {
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content)?;
            return Ok(content);
        }
        bytes = entry.finish()?;
    }
}

#[cfg(test)]
mod tests;
