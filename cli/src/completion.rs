//! `axctl completion`: scripts for shells.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::Error;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  axctl completion bash > ~/.local/share/bash-completion/completions/axctl
  axctl completion zsh > ~/.zfunc/_axctl
  axctl completion fish > ~/.config/fish/completions/axctl.fish";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Completion {
    /// Which shell
    shell: Shell,
}

pub fn run(arguments: &Completion, output: &Output) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "axctl", &mut script);
    output.bytes(&script)
}
