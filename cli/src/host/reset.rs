//! `axctl host reset`: factory reset.

use axion_api::recovery::{ResetRequest, ResetScope};
use clap::{Args, ValueEnum};

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::{pool, render, terminal};

const EXAMPLES: &str = "\
Examples:
  axctl host reset --scope state --plan
      what is lost and what stays; nothing is changed
  axctl host reset --scope state
      asks for the host name, then restarts the node, which comes back fresh
  axctl host reset --scope all --confirm rack7
      for scripts

  axctl host reset --cancel
      withdraws one that is not done because a pool is missing

Pools and what is in them besides the node's own datasets stay, unless --pools
says otherwise. A power cut does not stop a reset: the next boot goes on.";

/// Forget what the node knows: its machine config, its state, or both
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Reset {
    /// What is forgotten
    #[arg(long, value_enum, required_unless_present = "cancel")]
    scope: Option<Scope>,
    /// Destroy every pool that is imported too, with all that is in them
    #[arg(long)]
    pools: bool,
    /// Show what is lost and what stays, and do nothing
    #[arg(long, conflicts_with = "confirm")]
    plan: bool,
    /// The node's host name: do not ask
    #[arg(long, value_name = "HOSTNAME")]
    confirm: Option<String>,
    /// Withdraw a reset that is not done because a pool is missing
    #[arg(long, conflicts_with_all = ["scope", "pools", "plan", "confirm"])]
    cancel: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scope {
    /// The machine config on the installed disk: the next boot has the defaults
    Config,
    /// VMs, their disks, networks, images, certificate, first token, audit log
    State,
    /// Both
    All,
}

impl From<Scope> for ResetScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Config => Self::Config,
            Scope::State => Self::State,
            Scope::All => Self::All,
        }
    }
}

pub async fn run(reset: Reset, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    let client = node.client()?.with_timeout(pool::PATIENCE);
    // There is none where it is withdrawn.
    let Some(scope) = reset.scope.map(ResetScope::from) else {
        client.cancel_reset().await?;
        output.note(format_args!("No factory reset waits any more."));
        return Ok(());
    };
    let plan = client.plan_reset(scope, reset.pools).await?;
    if reset.plan {
        return output.show(&plan, |style| render::host::reset(&plan, style));
    }
    let confirm = match reset.confirm {
        Some(confirm) => confirm,
        None => {
            output.note(render::host::reset(&plan, &output.plain_style()));
            let question = format!("Type the host name, {}, to go on:", plan.hostname);
            terminal::confirm_by(&question, &plan.hostname, "--confirm HOSTNAME")?;
            plan.hostname
        }
    };
    let request = ResetRequest {
        scope,
        pools: reset.pools,
        confirm,
    };
    client.reset(&request).await?;
    output.note(format_args!("The node restarts, and forgets on its way up."));
    Ok(())
}
