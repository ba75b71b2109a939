//! `axctl vm`: virtual machines.

mod console;
mod create;
mod devices;
mod place;
#[cfg(test)]
mod tests;
mod wait;

use std::time::Duration;

use axion_core::quantity::{ByteSize, Span};
use clap::{Args, Subcommand};

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::{Output, now_us};
use crate::render;

use wait::Goal;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a VM, start it and wait until it runs
    Run(Box<create::Run>),
    /// List the VMs
    List,
    /// What a VM is and what it is doing: its place, its devices, its addresses, why it ended
    #[command(visible_alias = "describe")]
    Show {
        /// Name of the VM
        name: String,
    },
    /// Start a VM
    Start {
        /// Name of the VM
        name: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Press a VM's power button
    Stop {
        /// Name of the VM
        name: String,
        /// Cut the power instead: the guest cannot write back what it has in memory
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Press a VM's reset button
    Reset {
        /// Name of the VM
        name: String,
    },
    /// Have a guest stand still: its memory stays, its clock stops
    Pause {
        /// Name of the VM
        name: String,
    },
    /// Have a guest go on that stands still
    ///
    /// A guest also stands still when the node has no room for what it writes; make room first.
    Resume {
        /// Name of the VM
        name: String,
    },
    /// What a VM has used and done since its start: CPU time, memory, disks, networks
    Stats {
        /// Name of the VM
        name: String,
    },
    /// Delete a VM; its volumes and networks stay
    Delete {
        /// Name of the VM
        name: String,
        /// Even if it runs
        #[arg(long)]
        force: bool,
    },
    /// Attach to a VM's console; Ctrl-] then q leaves
    Console(console::Console),
    /// Connect to a port of a VM's guest (AF_VSOCK): standard input goes there, and what comes back to standard output
    #[command(after_help = "Example:\n  ssh -o ProxyCommand='axctl vm vsock hello 22' root@hello")]
    Vsock {
        /// Name of the VM
        name: String,
        /// Port at which the guest listens
        port: u32,
    },
    /// Have a VM have more or less memory while it runs, between its `--memory` and `--memory-max`
    ///
    /// More is the VM's own before its guest is asked, and refused where its node has no room. Less is free for others once
    /// the guest has given it back; `axctl vm show` tells what it has.
    #[command(after_help = "Example:\n  axctl vm resize build --memory 6GiB --wait")]
    Resize {
        /// Name of the VM
        name: String,
        /// What it is to have in all
        #[arg(long, value_name = "SIZE")]
        memory: place::Size,
        #[command(flatten)]
        wait: Wait,
    },
    /// Ask a guest for a part of its memory, until its next start
    ///
    /// `axctl vm stats` tells what it has given.
    Balloon {
        /// Name of the VM
        name: String,
        /// What it is to give in all; 0B gives all back
        size: ByteSize,
    },
}

/// How long to wait for a VM.
#[derive(Debug, Args)]
pub struct Wait {
    /// Return only when it has happened
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this long
    #[arg(long, default_value = "2min", value_name = "TIME")]
    timeout: Span,
}

impl Wait {
    fn limit(&self) -> Option<Duration> {
        self.wait.then_some(self.timeout.0)
    }
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?;
    match command {
        Command::Run(run) => create::run(*run, &client, output).await,
        Command::List => {
            let vms = client.vms().await?;
            output.show(&vms, |style| render::vm::list(&vms, now_us(), style))
        }
        Command::Show { name } => {
            let vm = client.vm(&name).await?;
            output.show(&vm, |style| render::vm::show(&vm, style))
        }
        Command::Start { name, wait } => {
            let before = client.vm(&name).await?;
            let vm = client.start_vm(&name).await?;
            wait::finish(&client, Goal::Running, &before, vm, wait.limit(), output).await
        }
        Command::Stop { name, force, wait } => {
            let before = client.vm(&name).await?;
            let vm = client.stop_vm(&name, force).await?;
            wait::finish(&client, Goal::Stopped, &before, vm, wait.limit(), output).await
        }
        Command::Reset { name } => {
            let vm = client.reset_vm(&name).await?;
            output.show(&vm, |_| format!("{name} is being reset.\n"))
        }
        Command::Pause { name } => {
            let vm = client.pause_vm(&name).await?;
            output.show(&vm, |_| format!("{name} is {}.\n", vm.status.state))
        }
        Command::Resume { name } => {
            let vm = client.resume_vm(&name).await?;
            output.show(&vm, |_| format!("{name} is {}.\n", vm.status.state))
        }
        Command::Stats { name } => {
            let stats = client.vm_stats(&name).await?;
            output.show(&stats, |style| render::stats::show(&stats, style))
        }
        Command::Delete { name, force } => {
            client.delete_vm(&name, force).await?;
            output.note(format_args!("{name} is deleted."));
            Ok(())
        }
        Command::Console(arguments) => console::run(&arguments, &client, output).await,
        Command::Vsock { name, port } => console::connect(&client, &name, port, output).await,
        Command::Resize { name, memory, wait } => {
            let vm = client.set_memory(&name, memory.0).await?;
            let vm = match wait.limit() {
                Some(limit) => wait::for_memory(&client, vm, limit, output).await?,
                None => vm,
            };
            output.show(&vm, |_| render::vm::resized(&vm))
        }
        Command::Balloon { name, size } => {
            let vm = client.set_balloon(&name, size).await?;
            output.show(&vm, |_| format!("{name} is asked for {size}.\n"))
        }
    }
}
