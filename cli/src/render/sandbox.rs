//! What a VMM's process cannot do: rows of the VM's own.

use axion_api::vmm::in_force::Coverage;
use axion_api::vmm::{InForce, SandboxMode};

type Row = (&'static str, String);

/// Namespaces that a VMM is to have of its own; a `user` one is a means where it has to make them itself.
const NAMESPACES: [&str; 5] = ["ipc", "mnt", "net", "pid", "uts"];
/// Those of which the kernel tells others.
const SEEN: [&str; 4] = ["mnt", "net", "pid", "user"];

/// What is so: what the kernel shows of the process, then what the process says of itself.
pub fn rows(state: &InForce) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(process) = &state.process {
        let capabilities = match process.capabilities {
            0 => "no capabilities".to_owned(),
            bits => format!("capabilities {bits:#x}"),
        };
        let text = format!(
            "user {}, {} of {} threads filtered, {capabilities}",
            process.uid, process.filtered, process.threads
        );
        rows.push(("Sandbox", text));
    }
    let sandbox = &state.sandbox;
    let landlock = match sandbox.landlock {
        Coverage::None => "no Landlock",
        Coverage::Part => "Landlock in part",
        Coverage::Full => "Landlock",
    };
    let root = if sandbox.empty_root {
        "empty root"
    } else {
        "the node's root"
    };
    let mut own: Vec<&str> = sandbox.namespaces.iter().map(String::as_str).collect();
    own.sort_unstable();
    let own = if own.is_empty() {
        "nothing".to_owned()
    } else {
        own.join(", ")
    };
    let log = match sandbox.mode {
        SandboxMode::Enforce => "",
        SandboxMode::Log => "logged only, ",
    };
    rows.push(("Sandbox", format!("{log}{landlock}, {root}, its own {own}")));
    let says = |name: &str| sandbox.namespaces.iter().any(|there| there == name);
    let mut missing: Vec<String> = NAMESPACES
        .iter()
        .filter(|name| !says(name))
        .map(|name| format!("{name} is the node's"))
        .collect();
    if let Some(process) = &state.process {
        let sees = |name: &str| process.namespaces.iter().any(|there| there == name);
        let denied = SEEN.iter().filter(|name| says(name) && !sees(name));
        missing.extend(denied.map(|name| format!("the kernel says that {name} is the node's")));
    }
    if !missing.is_empty() {
        rows.push(("Sandbox", format!("missing: {}", missing.join("; "))));
    }
    rows
}
