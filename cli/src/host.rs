//! `axctl host`: the node itself.

use std::time::Duration;

use axion_api::client::Client;
use axion_api::host::PowerAction;
use clap::Subcommand;

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::{Output, now_us};
use crate::{render, terminal};

mod reset;

/// How often a followed log is asked for more; it is no stream.
const FOLLOW: Duration = Duration::from_millis(500);
/// Lines asked for at once while following.
const BATCH: u32 = 1000;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// What the node is: identity, memory, processors, disks, network
    Show,
    /// How it booted: phases with their times and failures
    Boot,
    /// What init runs
    Units,
    /// What runs in user space
    Processes,
    /// The machine config in force and where each value came from
    Config,
    /// The node's log: kernel, init, services
    #[command(after_help = "Examples:\n  axctl host logs -n 50\n  axctl host logs -f | grep agent")]
    Logs {
        /// Go on as lines come
        #[arg(long, short)]
        follow: bool,
        /// Lines to begin with
        #[arg(long, short = 'n', default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
        lines: u32,
    },
    /// Restart a unit; the VMs go on running whatever it is
    Restart {
        /// Name, as `axctl host units` shows it
        unit: String,
    },
    Reset(reset::Reset),
    /// Stop everything in order and restart the machine
    Reboot {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Stop everything in order and power the machine off
    PowerOff {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?;
    match command {
        Command::Reset(reset) => reset::run(reset, node, output).await,
        Command::Show => {
            let host = client.host().await?;
            output.show(&host, |style| render::host::show(&host, style))
        }
        Command::Boot => {
            let boot = client.boot().await?;
            output.show(&boot, |style| render::host::boot(&boot, style))
        }
        Command::Units => {
            let units = client.units().await?;
            output.show(&units, |style| render::host::units(&units, now_us(), style))
        }
        Command::Processes => {
            let processes = client.processes().await?;
            output.show(&processes, |style| render::host::processes(&processes, style))
        }
        Command::Config => {
            let config = client.config().await?;
            output.show(&config, |style| render::host::config(&config, style))
        }
        Command::Logs { follow, lines } => logs(&client, lines, follow, output).await,
        Command::Restart { unit } => {
            client.restart_unit(&unit).await?;
            output.note(format_args!("{unit} is being restarted."));
            Ok(())
        }
        Command::Reboot { yes } => power(&client, PowerAction::Reboot, yes, output).await,
        Command::PowerOff { yes } => power(&client, PowerAction::PowerOff, yes, output).await,
    }
}

async fn logs(client: &Client, lines: u32, follow: bool, output: &Output) -> Result<(), Error> {
    let mut after = 0;
    let mut limit = lines;
    loop {
        for entry in client.logs(after, limit).await? {
            after = entry.sequence;
            output.line(&entry, |style| render::log::line(&entry, style))?;
        }
        if !follow {
            return Ok(());
        }
        if after > 0 {
            limit = BATCH;
        }
        tokio::time::sleep(FOLLOW).await;
    }
}

async fn power(client: &Client, action: PowerAction, yes: bool, output: &Output) -> Result<(), Error> {
    let (ask, done) = match action {
        PowerAction::Reboot => ("Restart", "restarting"),
        PowerAction::PowerOff => ("Power off", "powering off"),
    };
    if !yes {
        let (host, vms) = (client.host().await?, client.vms().await?);
        let running = vms.iter().filter(|vm| vm.status.pid.is_some()).count();
        terminal::confirm(
            &format!("{ask} {} (VMs running: {running})?", host.hostname),
            "--yes",
        )?;
    }
    client.power(action).await?;
    output.note(format_args!("The node is {done}."));
    Ok(())
}
