//! A node that boots other machines.

use axion_api::netboot::{Netboot, NetbootConfig, NetbootState, NetbootStep, NetbootStepKind};

use super::table::{Cell, Table, left, right, shrinking};
use super::{Style, Tone, bytes, fields, moment, or_dash, plain};

/// Whether it serves, what, and what machines did last.
pub fn status(netboot: &Netboot, style: &Style) -> String {
    let server = &netboot.server;
    let tone = match server.state {
        NetbootState::Serving => Tone::Good,
        NetbootState::Off | NetbootState::Starting => Tone::Plain,
        NetbootState::Waiting => Tone::Warning,
        NetbootState::Failed => Tone::Bad,
    };
    let state = style.paint(&server.state.to_string(), tone);
    let detail = server
        .detail
        .as_ref()
        .map(|detail| format!(": {}", plain(detail)));
    let role = match (&server.interface, &server.dhcp_range) {
        (None, _) => "-".to_owned(),
        (Some(_), Some(range)) => format!("the only DHCP server, lending {range}"),
        (Some(_), None) => "beside the site's DHCP server".to_owned(),
    };
    let configs = match netboot.configs.as_slice() {
        [] => "none; `axctl netboot config put` gives it some".to_owned(),
        configs => configs.join(", "),
    };
    let rows = [
        ("State", format!("{state}{}", detail.unwrap_or_default())),
        ("Interface", or_dash(server.interface.as_ref())),
        ("Address", or_dash(server.address.as_ref())),
        ("DHCP", role),
        ("Script", or_dash(server.url.as_ref())),
        ("Image", or_dash(server.image.as_ref())),
        ("Configs", configs),
    ];
    let mut text = fields(&rows, style);
    if !server.files.is_empty() {
        let mut table = Table::new([left("FILE"), right("SIZE"), shrinking("SHA-256")]);
        for file in &server.files {
            table.row([
                file.name.as_str().into(),
                bytes(file.size).into(),
                file.sha256.as_str().into(),
            ]);
        }
        text.push_str(&format!("\n{}", table.render(style)));
    }
    if !netboot.steps.is_empty() {
        let mut table = Table::new([
            left("TIME"),
            left("MACHINE"),
            left("ADDRESS"),
            left("FIRMWARE"),
            shrinking("STEP"),
        ]);
        for step in &netboot.steps {
            let tone = if step.step == NetbootStepKind::Refused {
                Tone::Bad
            } else {
                Tone::Plain
            };
            table.row([
                moment(step.unix_us).into(),
                or_dash(step.mac.as_ref()).into(),
                or_dash(step.address.as_ref()).into(),
                or_dash(step.firmware.as_ref()).into(),
                Cell::new(plain(&step.text), tone),
            ]);
        }
        text.push_str(&format!("\n{}", table.render(style)));
    }
    text
}

/// Configs for machines, one a line.
pub fn configs(configs: &[NetbootConfig], style: &Style) -> String {
    if configs.is_empty() {
        return "No configs for machines. `axctl netboot config put NAME FILE` keeps one.\n".to_owned();
    }
    let mut table = Table::new([left("NAME"), right("SIZE"), shrinking("SHA-256")]);
    for config in configs {
        table.row([
            config.name.as_str().into(),
            bytes(config.size).into(),
            config.sha256.as_str().into(),
        ]);
    }
    table.render(style)
}

/// What a machine did, as an event.
pub fn step(step: &NetbootStep, style: &Style) -> String {
    let tone = if step.step == NetbootStepKind::Refused {
        Tone::Warning
    } else {
        Tone::Plain
    };
    format!(
        "netboot {} {} {} {}",
        or_dash(step.mac.as_ref()),
        or_dash(step.address.as_ref()),
        or_dash(step.firmware.as_ref()),
        style.paint(&plain(&step.text), tone)
    )
}
