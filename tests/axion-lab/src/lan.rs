//! A network of the lab's own: a namespace (network_namespaces(7)) with a bridge, for machines that talk to each other or to servers
//! beside them.
//!
//! ```text
//!  this thread's namespace                       a namespace of its own
//!  axbr0 10.77.0.1/24 ─┬─ axtap0  the machine
//!                      └─ ax-site0 ─── veth ──── site0 10.77.0.2/24  the site's DHCP server
//! ```
//! The namespace is the calling **thread's**: what that thread starts (QEMU, `axctl`, a client's runtime) is in it, the rest of the
//! program is not. It is gone with the last of them. Needs root.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use crate::command::{self, Program};
use crate::{Error, Result};

/// Bridge, which is this side's interface.
pub const BRIDGE: &str = "axbr0";
/// Tap device of the machine.
pub const TAP: &str = "axtap0";
/// Tap device of a second machine, once [`port`] has made it.
pub const SECOND_TAP: &str = "axtap1";
/// This side's address.
pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The address that [`site_dhcp`] gives.
pub const LENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);

/// `ip` answers at once; a busy computer takes its time.
const SOON: Duration = Duration::from_secs(20);

/// Enters a network of one's own: the bridge with the address [`HERE`], and the tap device.
///
/// # Errors
/// This is not root, or `ip` (Debian package iproute2) refuses.
pub fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|errno| Error::io("enter", "a network namespace (which needs root)")(errno.into()))?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&[
        "link",
        "add",
        BRIDGE,
        "type",
        "bridge",
        "forward_delay",
        "0",
        "mcast_snooping",
        "0",
    ])?;
    ip(&["address", "add", &format!("{HERE}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    port(TAP)
}

/// One more tap device at the bridge, for another machine.
///
/// # Errors
/// `ip` refuses.
pub fn port(tap: &str) -> Result<()> {
    ip(&["tuntap", "add", "dev", tap, "mode", "tap"])?;
    ip(&["link", "set", tap, "master", BRIDGE, "up"])
}

/// Connects the bridge with the namespace of the process or thread `id`, where the other end is `far`.
fn cable(far: &str, id: u32) -> Result<()> {
    let (near, id) = (format!("ax-{far}"), id.to_string());
    ip(&[
        "link", "add", &near, "type", "veth", "peer", "name", far, "netns", &id,
    ])?;
    ip(&["link", "set", &near, "master", BRIDGE, "up"])
}

/// Starts a DHCP server (Debian package dnsmasq-base) beside the bridge that lends [`LENT`] to the machine `mac` and says nothing
/// of booting; its output is kept in `dir`.
///
/// # Errors
/// It does not start.
pub fn site_dhcp(dir: &Path, mac: &str) -> Result<Program> {
    // The shell waits until its end of the cable is there.
    let script = format!(
        "echo entered; read go; ip address add 10.77.0.2/24 dev site0 && ip link set site0 up && \
         exec dnsmasq --no-daemon --conf-file=/dev/null --port=0 --user=root --interface=site0 --bind-interfaces \
         --dhcp-range=10.77.0.60,10.77.0.90,1h --dhcp-host={mac},{LENT} --dhcp-ignore-clid --dhcp-authoritative \
         --dhcp-leasefile={} --log-dhcp --log-facility=-",
        dir.join("leases").display()
    );
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &script]);
    let mut server = Program::start(&mut command, &dir.join("dnsmasq"))?;
    server.log().wait_for("entered", SOON)?;
    cable("site0", server.id())?;
    server.input("go\n")?;
    Ok(server)
}

/// Runs `work` as a machine beside the bridge: in a thread with a namespace of its own, whose only interface is `far` with the
/// address `address`.
///
/// # Errors
/// The namespace or the cable cannot be made, or what `work` says.
pub fn beside<T: Send + 'static>(
    far: &'static str,
    address: Ipv4Addr,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let ended =
        || Error::io("talk to", "the thread beside the bridge")(std::io::ErrorKind::BrokenPipe.into());
    let (entered, id) = mpsc::channel();
    let (go, cabled) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Error::io("enter", "a namespace")(errno.into()))?;
        let _ = entered.send(gettid());
        cabled.recv().map_err(|_| ended())?;
        ip(&["address", "add", &format!("{address}/24"), "dev", far])?;
        ip(&["link", "set", far, "up"])?;
        // A broadcast to all networks wants a way to all networks.
        ip(&["route", "add", "default", "dev", far])?;
        work()
    });
    if let Ok(id) = id.recv() {
        cable(far, u32::try_from(id.as_raw()).unwrap_or(0))?;
        let _ = go.send(());
    }
    thread.join().map_err(|_| ended())?
}

fn ip(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    command::succeed(command.args(arguments), SOON).map(drop)
}
