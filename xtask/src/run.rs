//! Boots the image in QEMU: first its log scrolls by, then, once it is ready, this terminal becomes its console.

use std::io::{IsTerminal, stdin, stdout};
use std::time::Duration;

use anyhow::{Context, Result};
use axion_lab::log::Line;
use axion_lab::machine::READY;
use axion_lab::{Display, Image, Machine, Network, Spec, Token, WatchdogDevice};
use clap::Args;

use crate::terminal::{self, End};
use crate::{image, programs, setup};

/// Options of `run`.
#[derive(Args)]
pub struct Options {
    /// Install missing host packages without asking
    #[arg(long, short)]
    yes: bool,
    /// CPUs of the machine
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Memory of the machine, MiB
    #[arg(long, default_value_t = 4096)]
    memory: u64,
    /// Port of this computer that leads to the node's API
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Machine config (TOML) besides the token that `run` makes
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Boot, say how to reach the node, and end when it is ready
    #[arg(long)]
    once: bool,
}

/// The longest that a booting node is silent.
/// As long as a person cares to watch.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

const PATIENCE: Duration = Duration::from_secs(120);

/// Builds what is missing and boots the image.
pub fn run(options: &Options) -> Result<()> {
    setup::install(&setup::Options { yes: options.yes })?;
    let image = Image::at(&image::build()?.dir)?;
    let config = match &options.config {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?,
        None => String::new(),
    };
    let token = Token::random();
    let machine = Spec::new("run")
        .cpus(options.cpus, 1)
        .memory_mib(options.memory)
        .network(Network::User {
            port: Some(options.port),
        })
        .watchdog(WatchdogDevice::I6300esb)
        .display(Display::Framebuffer)
        .token(token.clone())
        .config_with_token(&config)
        .beside_others()
        .start(&image)?;
    let ready = show_boot(&machine)?;
    let node = machine.node(&token)?;
    println!();
    println!("The node is ready.");
    println!("  API          https://127.0.0.1:{}", options.port);
    println!("  certificate  {}", node.fingerprint());
    println!("  token        {}", token.as_str());
    println!("  log          {}", machine.dir().join("log").display());
    println!();
    println!("In another terminal:");
    println!(
        "  export AXION_SERVER=https://127.0.0.1:{} AXION_TOKEN={}",
        options.port,
        token.as_str()
    );
    println!("  export AXION_FINGERPRINT={}", node.fingerprint());
    println!("  alias axctl={}", programs::path("axctl").display());
    println!("  axctl vm run hello && axctl vm console hello");
    println!();
    if options.once {
        return Ok(());
    }
    if !stdin().is_terminal() || !stdout().is_terminal() {
        follow(&machine, ready);
        return Ok(());
    }
    println!("Enter opens the node's console; there, Ctrl-A X ends the machine.");
    std::io::stdin().read_line(&mut String::new())?;
    match terminal::relay(machine)? {
        End::Left => println!("The machine was switched off."),
        End::Machine => println!("The machine has ended."),
    }
    Ok(())
}

/// Prints the log until a line says that the node is ready, and gives that line.
fn show_boot(machine: &Machine) -> Result<Line> {
    let log = machine.log();
    let mut line = log.wait_for("", PATIENCE)?;
    loop {
        println!("{}", line.text);
        if line.text.contains(READY) {
            return Ok(line);
        }
        line = log.wait_for_after(&line, "", PATIENCE)?;
    }
}

/// Prints the log until it ends with the machine: there is no terminal to be a console.
fn follow(machine: &Machine, mut line: Line) {
    while let Ok(next) = machine.log().wait_for_after(&line, "", FOREVER) {
        println!("{}", next.text);
        line = next;
    }
}
