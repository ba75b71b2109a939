//! What keeps a server from starting, or ends it.

use std::io;
use std::path::{Path, PathBuf};

use axion_core::cmdline::loader::LoaderError;
use axion_core::config::ConfigError;

use crate::files::SCRIPT;

/// A server that cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that a machine would ask for is not there.
    #[error("{}: {} missing", dir.display(), files.join(", "))]
    Missing {
        /// Where they were looked for.
        dir: PathBuf,
        /// Their names, each with what it is for.
        files: Vec<String>,
    },
    /// A file is not what its sum says.
    #[error("{}: its SHA-256 is not the one in SHA256SUMS", .0.display())]
    Sum(PathBuf),
    /// A file is not in the list of sums.
    #[error("{}: not in SHA256SUMS, so it cannot be checked", .0.display())]
    NoSum(PathBuf),
    /// The list of sums has a bad line.
    #[error("{}: line {line} is not `HASH  NAME` as `sha256sum` writes it", path.display())]
    Sums {
        /// The list.
        path: PathBuf,
        /// Its bad line, from 1.
        line: usize,
    },
    /// The key or the signature cannot be used.
    #[error("{}: {detail}", path.display())]
    Signature {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// HTTPS cannot be had with it.
    #[error("{}: {detail}", path.display())]
    Tls {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The PXE script does not say how the kernel is started.
    #[error("{}: no line `kernel vmlinuz … initrd=initramfs.cpio`", .0.display())]
    Script(PathBuf),
    /// Kernel arguments that machines cannot be told.
    #[error("kernel arguments: {0}")]
    Arguments(#[from] LoaderError),
    /// The UKI is told nothing, and names no config itself; the argument that would.
    #[error(
        "with --uki no machine gets its config: axion.efi goes by what it has in itself, and that names none"
    )]
    Untold(String),
    /// A node's config has a mistake.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A node's config has a name that no node asks for.
    #[error("{}: the name is no UUID, serial number or MAC address as in `02-00-00-00-00-01.toml`, in small letters, and not `default.toml`", .0.display())]
    ConfigName(PathBuf),
    /// The interface does not fit.
    #[error("{0}")]
    Interface(String),
    /// The range of addresses does not fit.
    #[error("{0}")]
    Range(String),
    /// A port is taken.
    #[error("port {port}/{protocol} ({purpose}) is in use on {at}")]
    PortInUse {
        /// Which.
        port: u16,
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// What it was to be used for.
        purpose: &'static str,
        /// Interface or address.
        at: String,
    },
    /// The user may not open a port.
    #[error("no permission to open port {port}/{protocol} ({purpose})")]
    Permission {
        /// Which.
        port: u16,
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// What it was to be used for.
        purpose: &'static str,
    },
    /// The operating system refused something.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// An [`Error::Io`] for `map_err`.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// An [`Error::Io`] about a file.
    pub(crate) fn file(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{action} {}", path.display()))
    }

    /// Whether other arguments or files would help, as opposed to another state of the machine.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Interface(_) | Self::Range(_) | Self::ConfigName(_) | Self::Arguments(_) | Self::Untold(_)
        )
    }

    /// What the operator may do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing { .. } => {
                "`cargo xtask media` makes them all; --ipxe names a directory with other iPXE programs"
            }
            Self::Tls { .. } => {
                "--tls-cert names a PEM file with the server's certificate and those up to its CA, --tls-key its key; the \
                 certificate is for this machine's address, or for the name that --tls-name gives"
            }
            Self::Sum(path) if path.ends_with(SCRIPT) => {
                "the script is part of the media and is not edited; --kernel-args gives machines more arguments, as in \
                 `--kernel-args axion.mode=install`"
            }
            Self::Sum(_) | Self::NoSum(_) => "copy the media once more, or build them again",
            Self::Untold(argument) => {
                return Some(format!(
                    "media that name one: `cargo xtask media --secure-boot DIR --arguments '{argument}'`, or with \
                     `?uuid=${{uuid}}` or `?serial=${{serial}}`"
                ));
            }
            Self::PortInUse { port, protocol, .. } => {
                return Some(format!(
                    "`ss -{}lnp 'sport = {port}'` shows by whom",
                    if *protocol == "udp" { 'u' } else { 't' }
                ));
            }
            Self::Permission { .. } => {
                "run it as root, or allow it once: `setcap cap_net_bind_service,cap_net_raw+ep axctl`"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
