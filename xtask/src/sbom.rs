//! The list of everything in the image: Debian packages, kernel, Rust crates, with version and licence, as SPDX 2.3
//! JSON (<https://spdx.github.io/spdx-spec/v2.3/>). The loaders on the boot media have a list of their own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::debian::Package;
use crate::layout;
use crate::step::output;

/// Writes the list; `unpacked` has each package's files in a directory of its name.
pub fn write(debs: &[&Package], kernel: &Package, unpacked: &Path) -> Result<String> {
    let mut packages = Vec::new();
    for deb in debs {
        packages.push(debian_entry(deb, &unpacked.join(&deb.name))?);
    }
    packages.push(entry(
        &kernel.name,
        &kernel.version,
        "GPL-2.0-only WITH Linux-syscall-note",
        Some(&kernel.sha256),
        "deb",
    ));
    // The C library that is linked into our programs.
    let libc = output(Command::new("dpkg-query").args(["-W", "-f=${Version}", "libc6-dev"]))?;
    packages.push(entry("libc6-dev", &libc, "LGPL-2.1-or-later", None, "deb"));
    packages.extend(crates()?);
    document("axion", &packages)
}

/// Writes a list of its own for packages, each with the directory that its files are in: the loaders on the boot media, firmware.
pub fn write_packages(name: &str, packages: &[(&Package, &Path)]) -> Result<String> {
    let packages = packages.iter().map(|(deb, files)| debian_entry(deb, files));
    document(name, &packages.collect::<Result<Vec<_>>>()?)
}

fn document(name: &str, packages: &[Value]) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{name}-{version}"),
        "documentNamespace": format!("urn:{name}:sbom:{version}"),
        "creationInfo": { "created": "2026-01-01T00:00:00Z", "creators": ["Tool: axion-xtask"] },
        "packages": packages,
    });
    Ok(serde_json::to_string_pretty(&document)?)
}

/// Packages whose copyright file is another package's, or is for people alone, and what it says there.
const ELSEWHERE: [(&str, &str); 3] = [
    ("amd64-microcode", "LicenseRef-AMD-microcode"),
    ("intel-microcode", "LicenseRef-Intel-microcode"),
    ("libgcc-s1", "GPL-3.0-or-later WITH GCC-exception-3.1"),
];

fn debian_entry(deb: &Package, files: &Path) -> Result<Value> {
    let licence = match ELSEWHERE.iter().find(|(name, _)| *name == deb.name) {
        Some((_, licence)) => (*licence).to_owned(),
        None => debian_licence(&files.join(format!("usr/share/doc/{}/copyright", deb.name)))?,
    };
    Ok(entry(&deb.name, &deb.version, &licence, Some(&deb.sha256), "deb"))
}

fn entry(name: &str, version: &str, licence: &str, sha256: Option<&str>, kind: &str) -> Value {
    let id: String = format!("{kind}-{name}-{version}")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let purl = match kind {
        "deb" => format!("pkg:deb/debian/{name}@{version}"),
        _ => format!("pkg:cargo/{name}@{version}"),
    };
    let mut package = json!({
        "SPDXID": format!("SPDXRef-{id}"),
        "name": name,
        "versionInfo": version,
        "licenseDeclared": licence,
        "licenseConcluded": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "externalRefs": [{ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl }],
    });
    if let Some(sha256) = sha256 {
        package["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": sha256 }]);
    }
    package
}

/// Licences that a machine-readable Debian copyright file names for the package's files.
fn debian_licence(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let licences: BTreeSet<_> = text
        .lines()
        .filter_map(|l| l.strip_prefix("License:"))
        .flat_map(|l| l.split(" and "))
        .filter_map(|l| spdx_name(l.trim()))
        .collect();
    Ok(if licences.is_empty() {
        "NOASSERTION".to_owned()
    } else {
        licences.into_iter().collect::<Vec<_>>().join(" AND ")
    })
}

/// SPDX identifier of a licence's short name in a Debian copyright file; one that SPDX does not know becomes a
/// `LicenseRef`.
fn spdx_name(debian: &str) -> Option<String> {
    if debian.is_empty() {
        return None;
    }
    let known = match debian {
        "GPL-2" => "GPL-2.0-only",
        "GPL-2+" => "GPL-2.0-or-later",
        "GPL-3" => "GPL-3.0-only",
        "GPL-3+" => "GPL-3.0-or-later",
        "LGPL-2.1" => "LGPL-2.1-only",
        "LGPL-2.1+" => "LGPL-2.1-or-later",
        "BSD-2-clause" => "BSD-2-Clause",
        "BSD-3-clause" => "BSD-3-Clause",
        "Expat" | "MIT" => "MIT",
        "CDDL-1.0" | "Apache-2.0" => debian,
        "public-domain" => "LicenseRef-public-domain",
        other => {
            let name: String = other
                .chars()
                .map(|c| {
                    if c.is_ascii_alphanumeric() || c == '.' {
                        c
                    } else {
                        '-'
                    }
                })
                .collect();
            return Some(format!("LicenseRef-Debian-{name}"));
        }
    };
    Some(known.to_owned())
}

/// Every crate linked into the programs of the image.
fn crates() -> Result<Vec<Value>> {
    let mut names = BTreeSet::new();
    for package in ["axion-init", "axion-agent", "axion-console", "axion-vmm"] {
        let tree = output(
            Command::new("cargo")
                .current_dir(layout::root())
                .args([
                    "tree",
                    "--locked",
                    "-p",
                    package,
                    "-e",
                    "normal",
                    "--target",
                    "x86_64-unknown-linux-gnu",
                ])
                .args(["--prefix", "none", "--format", "{p}|{l}"]),
        )?;
        for line in tree.lines() {
            let Some((crate_, licence)) = line.trim_end_matches(" (*)").split_once('|') else {
                continue;
            };
            let mut words = crate_.split_whitespace();
            if let (Some(name), Some(version)) = (words.next(), words.next()) {
                let licence = licence.trim().replace('/', " OR ");
                names.insert((
                    name.to_owned(),
                    version.trim_start_matches('v').to_owned(),
                    licence,
                ));
            }
        }
    }
    Ok(names
        .iter()
        .map(|(name, version, licence)| entry(name, version, licence, None, "cargo"))
        .collect())
}
