//! A node boots to ready, runs nothing but its own programs, lets nobody in without a token, and says what is going on.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::client::{Client, Endpoint, Error, Trust};
use axion_api::host::PowerAction;
use axion_api::init::Outcome;
use axion_e2e::{SOON, bare_get, boot};
use axion_lab::deadline::{Poll, scaled};
use axion_lab::machine::READY;
use axion_lab::{Machine, Node, Spec, WatchdogDevice};
use serde_json::Value;

/// The least that the config allows, so that a watchdog nobody feeds fires within this test.
const WATCHDOG: Duration = Duration::from_secs(10);

#[test]
fn a_node_boots_to_ready() -> Result<()> {
    let collector = UdpSocket::bind("127.0.0.1:0")?;
    collector.set_read_timeout(Some(scaled(SOON)))?;
    let config = format!(
        "logging.forward = [\"udp://10.0.2.2:{}\"]\ntime.ntp = [\"10.0.2.200\"]\nwatchdog.timeout = \"{}s\"\n",
        collector.local_addr()?.port(),
        WATCHDOG.as_secs(),
    );
    let spec = Spec::new("boots-to-ready")
        .watchdog(WatchdogDevice::I6300esb)
        .config_with_token(&config);
    let (machine, node) = boot(spec)?;

    every_phase_went_well(&node)?;
    nothing_runs_but_the_nodes_own_programs(&node)?;
    the_api_needs_its_token(&node)?;
    another_ca_is_refused(&node)?;
    a_clock_without_ntp_is_said_to_be_unset(&node)?;
    the_config_says_where_its_values_come_from(&node)?;
    log_lines_reach_the_collector(&collector)?;
    axctl_shows_the_node(&node)?;
    the_watchdog_is_fed(&machine, &node)?;
    let node = a_dead_kernel_is_reset_by_the_watchdog(&machine)?;
    power_off_ends_the_machine(&machine, &node)
}

fn every_phase_went_well(node: &Node) -> Result<()> {
    node.call(node.client().health())?;
    let report = node.call(node.client().boot())?;
    ensure!(
        report.phases.len() > 3,
        "only {} phases are reported",
        report.phases.len()
    );
    for (phase, next) in report.phases.iter().zip(report.phases.iter().skip(1)) {
        let order = (phase.stage, phase.start_us) <= (next.stage, next.start_us);
        ensure!(order, "{} does not come before {}", phase.name, next.name);
    }
    for phase in &report.phases {
        ensure!(
            phase.outcome == Outcome::Ok,
            "phase {} was not ok: {:?}",
            phase.name,
            phase.tasks
        );
    }
    ensure!(
        report.phases.iter().any(|phase| phase.stage == 1),
        "stage 1 has no phases"
    );
    let ready = report.ready_ms.context("the report has no time of ready")?;
    ensure!(
        report.kernel_ms < ready,
        "kernel {} ms, ready {ready} ms",
        report.kernel_ms
    );
    Ok(())
}

fn nothing_runs_but_the_nodes_own_programs(node: &Node) -> Result<()> {
    let processes = node.call(node.client().processes())?;
    let mut names: Vec<&str> = processes.iter().map(|process| process.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    ensure!(
        names == ["axion-agent", "axion-console", "axion-init"],
        "{processes:?}"
    );
    let count = |name: &str| processes.iter().filter(|process| process.name == name).count();
    ensure!(
        count("axion-init") == 1 && count("axion-agent") == 1,
        "{processes:?}"
    );
    let units = node.call(node.client().units())?;
    let consoles = units
        .iter()
        .filter(|unit| unit.name.starts_with("console@"))
        .count();
    ensure!(
        consoles > 0 && count("axion-console") == consoles,
        "{units:?} {processes:?}"
    );
    ensure!(
        units.iter().all(|unit| unit.name != "console@ttyS1"),
        "ttyS1 is the log's: {units:?}"
    );
    let first = processes.first().context("no process at all")?;
    ensure!(first.pid == 1 && first.name == "axion-init", "{first:?}");
    ensure!(
        processes.iter().all(|process| process.state != 'Z'),
        "{processes:?}"
    );
    Ok(())
}

fn the_api_needs_its_token(node: &Node) -> Result<()> {
    let health = bare_get(node, "/healthz", None)?;
    ensure!(health.status == 200, "{health:?}");
    for authorization in [None, Some("Bearer wrong"), Some("Basic YTpi"), Some("Bearer ")] {
        let answer = bare_get(node, "/v1/host", authorization)?;
        ensure!(answer.status == 401, "{authorization:?}: {answer:?}");
        ensure!(
            answer.content_type.starts_with("application/problem+json"),
            "{answer:?}"
        );
        ensure!(
            answer
                .body
                .get("type")
                .is_some_and(|kind| kind == "urn:axion:problem:unauthorized"),
            "{answer:?}"
        );
    }
    let right = format!("Bearer {}", node.endpoint().token);
    let answer = bare_get(node, "/v1/host", Some(&right))?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

fn another_ca_is_refused(node: &Node) -> Result<()> {
    let host = node.call(node.client().host())?;
    ensure!(
        host.ca_fingerprint == node.fingerprint().to_string(),
        "{}",
        host.ca_fingerprint
    );
    let other = format!("sha256:{}", "0".repeat(64)).parse()?;
    let client = Client::tls(&Endpoint {
        trust: Trust::Pin(other),
        ..node.endpoint().clone()
    })?;
    let error = node
        .attempt(client.host())
        .err()
        .context("a client with another pin was served")?;
    ensure!(matches!(error, Error::PinMismatch { .. }), "{error}");
    Ok(())
}

fn a_clock_without_ntp_is_said_to_be_unset(node: &Node) -> Result<()> {
    let host = node.call(node.client().host())?;
    ensure!(
        !host.time_synchronized,
        "nobody answers NTP here, and yet the clock is called synchronized"
    );
    ensure!(
        host.addresses.iter().any(|address| address == "10.0.2.15/24"),
        "{:?}",
        host.addresses
    );
    ensure!(!host.persistent_state, "there is no disk");
    Ok(())
}

fn the_config_says_where_its_values_come_from(node: &Node) -> Result<()> {
    let config = node.call(node.client().config())?;
    ensure!(config.rejected.is_empty(), "{:?}", config.rejected);
    let source = |key: &str| {
        let value = config.values.iter().find(|value| value.key == key);
        value
            .map(|value| value.source.clone())
            .with_context(|| format!("no value {key}"))
    };
    ensure!(
        source("watchdog.timeout")?.contains("kernel command line"),
        "{}",
        source("watchdog.timeout")?
    );
    ensure!(
        source("boot.countdown")? == "default",
        "{}",
        source("boot.countdown")?
    );
    let secrets = config
        .values
        .iter()
        .any(|value| value.value.contains(&node.endpoint().token));
    ensure!(!secrets, "the token itself is in the config");
    Ok(())
}

fn log_lines_reach_the_collector(collector: &UdpSocket) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let length = collector.recv(&mut buffer).context("no log line was forwarded")?;
    let message = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
    // RFC 5424 §6: <PRI>VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID SD MSG
    let (priority, rest) = message
        .strip_prefix('<')
        .and_then(|m| m.split_once('>'))
        .context(message.clone())?;
    ensure!(priority.parse::<u8>().is_ok_and(|p| p < 192), "{message}");
    let fields: Vec<&str> = rest.splitn(8, ' ').collect();
    ensure!(fields.len() == 8 && fields.first() == Some(&"1"), "{message}");
    ensure!(
        fields.get(2).is_some_and(|host| host.starts_with("axion-")),
        "{message}"
    );
    Ok(())
}

fn axctl_shows_the_node(node: &Node) -> Result<()> {
    let shown = [
        (&["host", "show"][..], "10.0.2.15"),
        (&["host", "boot"], "services"),
        (&["host", "units"], "console@ttyS0"),
        (&["host", "processes"], "axion-agent"),
        (&["host", "config"], "watchdog.timeout"),
        (&["host", "logs", "-n", "50"], "ready in"),
        (&["image", "list"], ""),
        (&["vm", "list"], ""),
    ];
    for (args, part) in shown {
        let text = node.axctl(args)?;
        ensure!(
            text.contains(part),
            "`{part}` is not in what {args:?} shows:\n{text}"
        );
        let wide = text.lines().find(|line| line.chars().count() > 80);
        ensure!(
            wide.is_none() || args.contains(&"logs"),
            "{args:?} shows more than 80 columns: {wide:?}"
        );
    }
    let vms: Value = serde_json::from_str(&node.axctl(&["vm", "list", "-o", "json"])?)?;
    ensure!(vms.as_array().is_some_and(Vec::is_empty), "{vms}");
    let described: Value = serde_json::from_str(&node.axctl(&["api", "get", "/openapi.json"])?)?;
    ensure!(described.get("openapi").is_some(), "{described}");
    Ok(())
}

fn the_watchdog_is_fed(machine: &Machine, node: &Node) -> Result<()> {
    let past = WATCHDOG * 2;
    node.poll("an uptime of twice the watchdog's time", past + SOON, |node| {
        let uptime = node.call(node.client().host())?.uptime_seconds;
        Ok(if uptime > past.as_secs() {
            Poll::Ready(())
        } else {
            Poll::Pending(format!("up for {uptime} s"))
        })
    })?;
    let boots = machine
        .log()
        .lines()
        .iter()
        .filter(|line| line.text.contains(READY))
        .count();
    ensure!(boots == 1, "the machine was reset");
    Ok(())
}

/// SysRq-C crashes the kernel (Documentation/admin-guide/sysrq.rst), which is then told to stand still: only the watchdog
/// can bring the machine back.
fn a_dead_kernel_is_reset_by_the_watchdog(machine: &Machine) -> Result<Node> {
    let seen = machine.log().last().context("the log is empty")?;
    machine.press_keys(&["alt", "sysrq", "c"])?;
    let crash = machine.log().wait_for_after(&seen, "Kernel panic", SOON)?;
    Ok(machine.wait_ready_after(&crash)?)
}

fn power_off_ends_the_machine(machine: &Machine, node: &Node) -> Result<()> {
    node.call(node.client().power(PowerAction::PowerOff))?;
    machine.log().wait_for("axion: init: powering off", SOON)?;
    ensure!(machine.wait_exit()?.success());
    Ok(())
}
