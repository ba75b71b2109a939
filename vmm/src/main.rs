//! `axion-vmm`: runs one virtual machine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

/// Runs one virtual machine under KVM, until its guest powers off.
///
/// SIGTERM presses the guest's power button; a second SIGTERM cuts the power. The last line on stderr says how the
/// machine ended. Exit status: 0 when the guest powered off, halted or was stopped, 1 on an error.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Directory with config.json, in which api.sock and console.sock are made.
    #[arg(long, value_name = "DIR")]
    run_dir: PathBuf,
}

fn main() -> ExitCode {
    let started = Instant::now();
    let arguments = Arguments::parse();
    let (last_words, status) = match axion_vmm::run(&arguments.run_dir, started) {
        Ok(exit) => (exit.to_string(), ExitCode::SUCCESS),
        Err(error) => (axion_vmm::chain(&error), ExitCode::FAILURE),
    };
    axion_vmm::log::line(last_words);
    status
}
