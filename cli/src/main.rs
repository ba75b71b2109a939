//! `axctl`: the operator's command line of Axion.
//!
//! ```text
//! args ── node (which node, by which proof) ── api::client ── host | profile | capacity | vm | volume | pool | dataset | …
//!   └──── token, config, media, netboot, completion: need no node
//! ```
//!
//! One file per command group: its arguments, and what each command asks of the node. What is printed is decided in
//! [`render`], which is pure. Results go to standard output, everything said to a person (progress, questions, next
//! steps, errors) to standard error. An error travels up unprinted and is printed once, here.

mod api;
mod args;
mod capacity;
mod completion;
mod config;
mod context;
mod dataset;
mod devices;
mod error;
mod events;
mod host;
mod image;
mod login;
mod media;
mod netboot;
mod network;
mod node;
mod output;
mod pool;
mod profile;
mod render;
mod snapshot;
mod support;
mod terminal;
mod token;
mod tpm;
mod update;
mod vm;
mod volume;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use error::Error;
use output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.output);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return fail(&output, &Error::io("cannot start", source)),
    };
    let result = runtime.block_on(run(cli, &output));
    // A read of standard input that nobody waits for any more must not hold the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&output, &error),
    }
}

async fn run(cli: Cli, output: &Output) -> Result<(), Error> {
    let node = &cli.node;
    match cli.command {
        Command::Host(command) => host::run(command, node, output).await,
        Command::Profile(command) => profile::run(command, node, output).await,
        Command::Capacity => capacity::run(node, output).await,
        Command::Devices(arguments) => devices::run(arguments, node, output).await,
        Command::Vm(command) => vm::run(command, node, output).await,
        Command::Volume(command) => volume::run(command, node, output).await,
        Command::Update(command) => update::run(command, node, output).await,
        Command::Tpm(command) => tpm::run(command, node, output).await,
        Command::Pool(command) => pool::run(command, node, output).await,
        Command::Dataset(command) => dataset::run(command, node, output).await,
        Command::Snapshot(command) => snapshot::run(command, node, output).await,
        Command::Network(command) => network::run(command, node, output).await,
        Command::Image(command) => image::run(command, node, output).await,
        Command::Support(command) => support::run(command, node, output).await,
        Command::Events => events::run(node, output).await,
        Command::Login(arguments) => login::run(arguments, node, output).await,
        Command::Context(command) => context::run(&command, output),
        Command::Token(command) => token::run(&command, output),
        Command::Config(command) => config::run(&command, node, output).await,
        Command::Media(command) => media::run(command, output),
        Command::Netboot(command) => netboot::run(command, node, output).await,
        Command::Api(command) => api::run(command, node, output).await,
        Command::Completion(arguments) => completion::run(&arguments, output),
    }
}

/// Prints an error with its causes and what to do about it.
fn fail(output: &Output, error: &Error) -> ExitCode {
    if error.is_closed_output() {
        return ExitCode::SUCCESS;
    }
    output.error(error, error.hint().as_deref());
    ExitCode::from(error.exit_code())
}
