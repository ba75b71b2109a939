//! `axctl profile`: the boot profile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axion_api::client;
use axion_api::profile::{HostProfile, HostProof, ProfilePreview};
use axion_core::cmdline::CommandLine;
use axion_core::config::check;
use axion_core::profile::{self, Attestation, Declaration, ItemState, Refusal, Refusals, attest};
use axion_core::topology::Topology;
use clap::Subcommand;

use crate::error::Error;
use crate::node::NodeArgs;
use crate::output::Output;
use crate::{config, render};

/// Between two looks whether a proof has ended.
const POLL: Duration = Duration::from_millis(500);
/// Longer than the node takes to put its profile in force.
const APPLY: Duration = Duration::from_secs(150);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// What is planned for the node's CPUs, memory and devices, and whether it is so
    #[command(after_help = "Examples:\n  axctl profile show\n  axctl profile show --check")]
    Show {
        /// Fail unless everything is as planned
        #[arg(long)]
        check: bool,
    },
    /// Put in force again what is not as planned, as far as it disturbs no VM
    #[command(after_help = "Examples:\n  axctl profile apply")]
    Apply,
    /// Keep every isolated CPU busy for a while and say what disturbs it; VMs' CPUs are left alone
    #[command(after_help = "Examples:\n  axctl profile prove\n  axctl profile prove --seconds 60 --check")]
    Prove {
        /// How long
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
        seconds: u32,
        /// Fail unless every CPU is left alone
        #[arg(long)]
        check: bool,
    },
    /// The last proof of the isolation
    Proof {
        /// Fail unless every CPU was left alone
        #[arg(long)]
        check: bool,
    },
    /// What a machine config would bring; nothing is changed
    #[command(
        after_help = "Examples:\n  axctl profile plan --file axion.toml\n  axctl profile plan --file axion.toml --offline"
    )]
    Plan {
        /// TOML document; `-` for standard input
        #[arg(long, short)]
        file: PathBuf,
        /// On the machine that this runs on, without a node
        #[arg(long)]
        offline: bool,
    },
}

pub async fn run(command: Command, node: &NodeArgs, output: &Output) -> Result<(), Error> {
    match command {
        Command::Show { check } => {
            let profile = node.client()?.profile().await?;
            output.show(&profile, |style| render::profile::show(&profile, style))?;
            if check { verdict(&profile) } else { Ok(()) }
        }
        Command::Apply => {
            let applied = node.client()?.with_timeout(APPLY).apply_profile().await?;
            output.show(&applied, |style| render::profile::applied(&applied, style))?;
            match not_ok(&applied.attestation) {
                0 => Ok(()),
                count => Err(Error::NotInForce(count)),
            }
        }
        Command::Prove { seconds, check } => {
            let proofs = prove(node, seconds, output).await?;
            output.show(&proofs, |style| render::proof::show(&proofs, style))?;
            if check { quiet(&proofs) } else { Ok(()) }
        }
        Command::Proof { check } => {
            let proofs = node.client()?.proof().await?;
            output.show(&proofs, |style| render::proof::show(&proofs, style))?;
            if check { quiet(&proofs) } else { Ok(()) }
        }
        Command::Plan { file, offline } => {
            let (name, text) = config::read(&file)?;
            let planned = if offline {
                plan_here(&name, &text)?
            } else {
                plan_there(node, &text).await?
            };
            match planned {
                Ok(preview) => output.show(&preview, |style| render::profile::preview(&preview, style)),
                Err(refusals) => {
                    output.show(&refusals, |style| render::profile::refusals(&refusals, style))?;
                    Err(Error::Refused(refusals.len()))
                }
            }
        }
    }
}

/// Has a proof taken and waits for it.
async fn prove(node: &NodeArgs, seconds: u32, output: &Output) -> Result<HostProof, Error> {
    let client = node.client()?;
    client.start_proof(seconds).await?;
    let sign = output.wait(format!("proving for {seconds} s"));
    let proofs = loop {
        tokio::time::sleep(POLL).await;
        let proofs = client.proof().await?;
        if !proofs.running {
            break proofs;
        }
    };
    sign.finish_and_clear();
    match proofs.error {
        Some(error) => Err(Error::Proof(error)),
        None => Ok(proofs),
    }
}

/// Whether the last proof found every CPU left alone.
fn quiet(proofs: &HostProof) -> Result<(), Error> {
    match &proofs.last {
        None => Err(Error::Proof("there is no proof".to_owned())),
        Some(proof) if proof.is_met() => Ok(()),
        Some(proof) if proof.cpus.is_empty() => Err(Error::Proof("no CPU was measured".to_owned())),
        Some(proof) => Err(Error::Disturbed(proof.missed().to_string())),
    }
}

/// A preview, or what cannot be granted.
type Planned = Result<ProfilePreview, Vec<Refusal>>;

/// Plans for the machine that this runs on. What it boots from is not known here.
fn plan_here(name: &str, document: &str) -> Result<Planned, Error> {
    let config = check(document, name)?;
    let root = Path::new("/");
    Ok(
        match profile::plan(&Topology::read(root), &Declaration::new(&config)) {
            Ok(plan) => {
                let current = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
                let attestation = attest(root, &plan);
                Ok(ProfilePreview::new(
                    plan,
                    attestation,
                    &CommandLine::parse(&current),
                ))
            }
            Err(Refusals(refusals)) => Err(refusals),
        },
    )
}

async fn plan_there(node: &NodeArgs, document: &str) -> Result<Planned, Error> {
    match node.client()?.plan_profile(document).await {
        Ok(preview) => Ok(Ok(preview)),
        Err(client::Error::Problem(problem)) if !problem.refusals.is_empty() => {
            Ok(Err(problem.refusals.into_vec()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Items that are not as planned.
fn not_ok(attestation: &Attestation) -> usize {
    let items = attestation.items.iter();
    items.filter(|item| item.state != ItemState::Ok).count()
}

/// Whether everything is in force that was declared.
fn verdict(profile: &HostProfile) -> Result<(), Error> {
    if !profile.refusals.is_empty() {
        return Err(Error::Refused(profile.refusals.len()));
    }
    match not_ok(&profile.attestation) {
        0 => Ok(()),
        count => Err(Error::NotInForce(count)),
    }
}
