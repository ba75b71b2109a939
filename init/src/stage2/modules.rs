//! Kernel modules: which files a module takes, in which order, with which parameters.
//!
//! `modules.dep` (modules.dep(5)) names each module's file and, behind the colon, every file that it needs, the one to
//! be loaded first at the end. Parameters come from whoever loads the module, from the boot profile and, winning, from the
//! kernel command line (`kvm_amd.nested=0`), as modprobe(8) has it.

use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};

use axion_core::cmdline::CommandLine;
use axion_core::profile::{Action, Plan};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::secure_boot::{Guard, SecureBootError};

/// A module that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// No list.
    #[error("cannot read {path}")]
    List {
        /// File.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not in it.
    #[error("there is no kernel module `{0}` in this image")]
    Unknown(String),
    /// The file.
    #[error("cannot open the kernel module {path}")]
    Open {
        /// File.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel refuses.
    #[error("the kernel refuses the module `{name}`; the kernel log says why")]
    Load {
        /// Module.
        name: String,
        /// Error.
        source: std::io::Error,
    },
    /// Its signature.
    #[error("cannot load the kernel module `{0}` with its signature")]
    Signature(String, #[source] SecureBootError),
    /// A parameter.
    #[error("the parameters of `{0}` hold a NUL byte")]
    Parameters(String),
}

/// The modules of the running kernel.
pub struct Modules {
    directory: PathBuf,
    /// Where Secure Boot is on.
    guard: Option<Guard>,
    dependencies: String,
    built_in: String,
}

/// A module's name: `-` and `_` are the same in it.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn name_of(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    normal(base.strip_suffix(".ko").unwrap_or(base))
}

impl Modules {
    /// Reads the lists below `root` for the kernel `release`.
    ///
    /// # Errors
    /// There is no `modules.dep`.
    pub fn read(root: &Path, release: &str) -> Result<Self, ModuleError> {
        let directory = root.join("usr/lib/modules").join(release);
        let path = directory.join("modules.dep");
        let dependencies = std::fs::read_to_string(&path).map_err(|source| ModuleError::List {
            path: path.display().to_string(),
            source,
        })?;
        let built_in = std::fs::read_to_string(directory.join("modules.builtin")).unwrap_or_default();
        Ok(Self {
            directory,
            guard: Guard::kept(),
            dependencies,
            built_in,
        })
    }

    /// Files to load for `name`, in order; empty for a part of the kernel itself.
    ///
    /// # Errors
    /// There is no such module.
    fn files(&self, name: &str) -> Result<Vec<&str>, ModuleError> {
        let wanted = normal(name);
        let line = self.dependencies.lines().find_map(|line| {
            let (file, needed) = line.split_once(':')?;
            (name_of(file) == wanted).then_some((file, needed))
        });
        match line {
            Some((file, needed)) => {
                let mut files: Vec<&str> = needed.split_whitespace().rev().collect();
                files.push(file);
                Ok(files)
            }
            None if self.built_in.lines().any(|file| name_of(file) == wanted) => Ok(Vec::new()),
            None => Err(ModuleError::Unknown(name.to_owned())),
        }
    }

    /// Loads `name` and what it needs.
    ///
    /// # Errors
    /// There is no such module, or the kernel refuses one of its files.
    pub fn load(&self, name: &str, given: &Given<'_>) -> Result<(), ModuleError> {
        for file in self.files(name)? {
            let module = name_of(file);
            if Path::new("/sys/module").join(&module).join("initstate").exists() {
                continue;
            }
            let path = self.directory.join(file);
            let mut open = File::open(&path).map_err(|source| ModuleError::Open {
                path: path.display().to_string(),
                source,
            })?;
            if let Some(guard) = &self.guard {
                let signed = guard.module(&module, &open);
                let signed = signed.map_err(|e| ModuleError::Signature(module.clone(), e))?;
                open = signed.unwrap_or(open);
            }
            let parameters = CString::new(given.parameters(&module))
                .map_err(|_| ModuleError::Parameters(module.clone()))?;
            match finit_module(&open, &parameters, ModuleInitFlags::empty()) {
                // Someone else was faster.
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(e) => {
                    return Err(ModuleError::Load {
                        name: module,
                        source: e.into(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Parameters of modules, by whoever gives them. Of one that is given twice, the last counts.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Of whoever loads the module: module and `name=value`.
    pub own: &'a [(&'static str, String)],
    /// The boot profile.
    pub plan: Option<&'a Plan>,
    /// The kernel command line: `kvm_amd.nested=0`.
    pub cmdline: &'a CommandLine,
}

impl Given<'_> {
    /// As `finit_module` takes them: `kvm_amd.nested=0` becomes `nested=0`.
    fn parameters(&self, module: &str) -> String {
        let own = self.own.iter().filter(|(owner, _)| *owner == module);
        let own = own.map(|(_, assignment)| assignment.clone());
        let actions = self.plan.into_iter().flat_map(|plan| &plan.actions);
        let planned = actions.filter_map(|planned| match &planned.action {
            Action::ModuleParameter {
                module: owner,
                name,
                value,
                ..
            } if normal(owner) == module => Some(format!("{name}={value}")),
            _ => None,
        });
        let typed = self.cmdline.iter().filter_map(|param| {
            let (owner, key) = param.key().split_once('.')?;
            let value = param.value().map_or(String::new(), |v| format!("={v}"));
            (normal(owner) == module).then(|| format!("{key}{value}"))
        });
        own.chain(planned).chain(typed).collect::<Vec<_>>().join(" ")
    }
}

/// The module that drives this CPU's virtualization, given `/proc/cpuinfo`.
pub fn kvm_module(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags"))?;
    let has = |flag| flags.split_whitespace().any(|f| f == flag);
    if has("vmx") {
        Some("kvm_intel")
    } else if has("svm") {
        Some("kvm_amd")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
