//! What the end-to-end tests share: a booted node, a guest that runs on it, a bare HTTPS request.
//!
//! Each file below `tests/` is one machine (or a few), named after what a user notices. A boot costs some ten seconds, so
//! checks that do not disturb each other share one; each check is a function whose name says what is promised.

pub mod contents;
pub mod enrolment;
pub mod installation;
pub mod installed;
pub mod netboot;
pub mod recorded;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axion_api::vm::{Vm, VmState};
use axion_api::vmm::InForce;
use axion_lab::command::Program;
use axion_lab::deadline::Poll;
use axion_lab::{Image, Machine, Node, Spec};
use serde_json::Value;

/// A guest in emulated hardware virtualization, from its VMM's start to its shell.
pub const GUEST_BOOT: Duration = Duration::from_secs(180);
/// What the built-in guest prints once its shell is there.
pub const GUEST_READY: &str = "Axion guest ready";
/// Something that a node does within a moment.
pub const SOON: Duration = Duration::from_secs(60);

/// What each kernel says first.
pub const KERNEL_START: &str = "Linux version";
/// What stage 1 says before it starts the kernel again with other arguments.
pub const SECOND_KERNEL: &str = "boot profile: starting the kernel again with";

/// How many lines of a machine's log say `text`.
pub fn times(machine: &Machine, text: &str) -> usize {
    let lines = machine.log().lines();
    lines.iter().filter(|line| line.text.contains(text)).count()
}

/// The image's initramfs with what a kexec needs behind it, as a file in `dir`.
///
/// # Errors
/// There is no image, or no room.
pub fn with_kexec(dir: &Path) -> Result<PathBuf> {
    let image = Image::find()?;
    let archives = dir.join("initramfs.cpio");
    let content = [fs::read(image.initramfs())?, fs::read(image.kexec()?)?].concat();
    fs::write(&archives, content)?;
    Ok(archives)
}

/// Boots the image on `spec` to ready.
///
/// # Errors
/// There is no image, or the node does not come up.
pub fn boot(spec: Spec) -> Result<(Machine, Node)> {
    let machine = spec.start(&Image::find()?)?;
    let node = machine.wait_ready()?;
    Ok((machine, node))
}

/// The console of a VM by `axctl`, which a person would type into; what it prints is kept as `NAME.console`.
///
/// # Errors
/// `axctl` is missing.
pub fn console(node: &Node, vm: &str) -> Result<Program> {
    Ok(node.start_axctl(&["vm", "console", vm], &format!("{vm}.console"))?)
}

/// Waits until a VM is in `state`.
///
/// # Errors
/// It is not in time; the error says in which state it is instead.
pub fn wait_vm(node: &Node, name: &str, state: VmState, within: Duration) -> Result<Vm> {
    let what = format!("VM {name} {state}");
    Ok(node.poll(&what, within, |node| {
        let vm = node.call(node.client().vm(name))?;
        Ok(if vm.status.state == state {
            Poll::Ready(vm)
        } else {
            Poll::Pending(format!("{:?}", vm.status))
        })
    })?)
}

/// What is in force for a VM that runs, once its VMM and the kernel were asked.
///
/// # Errors
/// It is not known in time.
pub fn in_force(node: &Node, name: &str) -> Result<(Vm, InForce)> {
    let what = format!("what is in force of VM {name}");
    Ok(node.poll(&what, SOON, |node| {
        let vm = node.call(node.client().vm(name))?;
        Ok(match vm.status.in_force.clone() {
            Some(state) => Poll::Ready((vm, state)),
            None => Poll::Pending(format!("{:?}", vm.status)),
        })
    })?)
}

/// Runs a command in the guest, which must succeed. The number that is waited for is not in what is typed.
///
/// # Errors
/// It does not, or not in time.
pub fn inside(guest: &mut Program, command: &str) -> Result<()> {
    let seen = guest.log().last().context("the console is empty")?;
    guest.input(&format!("{command} && echo done=$((6*7))\n"))?;
    guest
        .log()
        .wait_for_after(&seen, "done=42", SOON)
        .with_context(|| command.to_owned())?;
    Ok(())
}

/// The value of a sample of `/metrics`, which is named with its labels.
///
/// # Errors
/// There is none.
pub fn metric(node: &Node, sample: &str) -> Result<f64> {
    let metrics = node.axctl(&["api", "get", "/metrics"])?;
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let value = value.with_context(|| format!("no sample {sample}"))?;
    Ok(value.trim().parse()?)
}

/// Waits until the API answers again with another process of the unit `name` than `old_pid`; gives the new process.
///
/// # Errors
/// It does not come back.
pub fn wait_restarted(node: &Node, name: &str, old_pid: u32) -> Result<u32> {
    let what = format!("a new process of {name}");
    Ok(node.poll(&what, SOON, |node| {
        let pid = unit_pid(node, name)?;
        Ok(match pid {
            Some(pid) if pid != old_pid => Poll::Ready(pid),
            other => Poll::Pending(format!("process {other:?}")),
        })
    })?)
}

/// Process of a unit.
///
/// # Errors
/// The API does not answer.
pub fn unit_pid(node: &Node, name: &str) -> axion_lab::Result<Option<u32>> {
    let units = node.call(node.client().units())?;
    Ok(units
        .into_iter()
        .find(|unit| unit.name == name)
        .and_then(|unit| unit.pid))
}

/// What a bare request was answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type.
    pub content_type: String,
    /// Body; `null` when it is no JSON.
    pub body: Value,
}

/// `GET` without the typed client: whatever token, no questions about the certificate.
///
/// # Errors
/// Nothing answers.
pub fn bare_get(node: &Node, path: &str, authorization: Option<&str>) -> Result<Answer> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ureq::tls::TlsConfig::builder()
        .disable_verification(true)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .timeout_global(Some(SOON));
    let agent = ureq::Agent::new_with_config(config.build());
    let mut request = agent.get(format!("{}{path}", node.endpoint().address));
    if let Some(value) = authorization {
        request = request.header("Authorization", value);
    }
    let mut response = request.call().with_context(|| format!("GET {path}"))?;
    let content_type = response
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let text = response
        .body_mut()
        .read_to_string()
        .with_context(|| format!("body of {path}"))?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Answer {
        status: response.status().as_u16(),
        content_type,
        body,
    })
}
