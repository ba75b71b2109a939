//! The node agent: the REST API of an Axion node, and the hand that brings its VMs where they are wanted.
//!
//! | module      | what it does                                                                     |
//! |-------------|----------------------------------------------------------------------------------|
//! | [`server`]  | connections: HTTPS and the local socket, limits                                  |
//! | [`tls`]     | the node's CA and certificate                                                    |
//! | [`auth`]    | tokens, peers, how fast one may guess                                            |
//! | [`routes`]  | the REST API: requests to the parts below, errors as problems, audit             |
//! | [`vm`]      | VMs: records, validation, the plan, reconciliation                               |
//! | [`images`]  | uploaded kernels, initial RAM disks and disk images                              |
//! | [`volumes`] | disks that the node keeps for VMs                                                |
//! | [`networks`] | what connects VMs                                                               |
//! | [`seed`]    | the disk that cloud-init in a guest reads                                        |
//! | [`metrics`] | counters for Prometheus                                                          |
//! | [`host`]    | what the node is                                                                 |
//! | [`drift`]   | whether the node is as its boot profile says                                     |
//! | [`init`]    | the line to PID 1: units, logs, power                                            |
//! | [`keys`]    | the TPM and the keys that it keeps                                               |
//! | [`netboot`] | booting other machines; the boot server is this program with `--netboot`          |
//! | [`update`]  | updates of an installed node, on their way to PID 1                              |
//! | [`processes`] | what runs in user space                                                        |
//! | [`recovery`] | what only PID 1 can tell of a node in trouble                                 |
//! | [`support`] | all that helps to understand a node, in one file                                 |
//! | [`events`]  | what changed, for any number of readers                                          |
//! | [`store`]   | desired state, with revisions and watch                                          |
//!
//! One thread runs everything; files and the store block on threads of their own. Killing the agent touches no VM: what is
//! wanted is in the store, what runs is at init.

mod app;
mod audit;
mod auth;
mod drift;
mod events;
mod files;
mod host;
mod images;
mod init;
mod keys;
mod log;
mod metrics;
mod netboot;
mod networks;
mod notify;
mod processes;
mod recovery;
mod routes;
mod seed;
mod server;
mod storage;
mod store;
mod streams;
mod support;
#[cfg(test)]
mod testing;
mod tls;
mod update;
mod vm;
mod volumes;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axion_core::paths;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Places, SetupError, read_config};
use crate::files::replace;
use crate::log::chain;
use crate::server::{Server, bind_https, bind_local};
use crate::tls::{Ca, Identity, Subjects, TlsError};

/// Between two looks at the host's names and addresses, for the certificate.
const SUBJECTS_INTERVAL: Duration = Duration::from_secs(10);
/// How long init may take to answer before the API is opened without it.
const INIT_ANSWERS: Duration = Duration::from_secs(5);
/// How long connections may take to end.
const SHUTDOWN: Duration = Duration::from_secs(6);
/// How long the audit log may take to be written then.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Threads for files and the store.
const BLOCKING_THREADS: usize = 8;

/// Why the agent ends.
#[derive(Debug, thiserror::Error)]
enum AgentError {
    #[error("cannot set up the agent")]
    Setup(#[from] SetupError),
    #[error("cannot set up HTTPS")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    File(#[from] files::FileError),
    #[error("the runtime failed")]
    Runtime(#[from] std::io::Error),
    #[error("cannot boot other machines")]
    Netboot(#[from] netboot::server::ServerError),
    #[error("cannot generate the OpenAPI document")]
    OpenApi(#[from] serde_json::Error),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => {
            log::init();
            run()
        }
        ["--netboot"] => {
            log::init();
            netboot::server::run().map_err(Into::into)
        }
        ["--openapi"] => print_openapi(),
        ["--version"] => {
            writeln!(std::io::stdout(), "axion-agent {}", env!("CARGO_PKG_VERSION")).map_err(Into::into)
        }
        _ => {
            let _ = writeln!(
                std::io::stderr(),
                "usage: axion-agent [--netboot | --openapi | --version]"
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "<3>{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn print_openapi() -> Result<(), AgentError> {
    Ok(std::io::stdout().write_all(routes::openapi::generate()?.as_bytes())?)
}

fn run() -> Result<(), AgentError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?;
    let result = runtime.block_on(serve(&Places::default()));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default()
}

fn subjects() -> Subjects {
    Subjects::new(&hostname(), host::addresses().into_iter().map(|(ip, _)| ip))
}

async fn serve(places: &Places) -> Result<(), AgentError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let config = read_config(Path::new(paths::EFFECTIVE_CONFIG));
    let listen = config.config.api.listen;

    let ca = Ca::load_or_create(&places.state.join("tls"), &hostname())?;
    let identity = Arc::new(Identity::new(ca, &subjects())?);
    let app = Arc::new(App::open(places, config, identity.fingerprint())?);
    replace(
        Path::new(paths::FINGERPRINT),
        format!("{}\n", identity.fingerprint()).as_bytes(),
        0o640,
    )?;

    let server = Server::new(routes::router(&app), app.closing.clone(), app.tasks.clone());
    let local = bind_local(Path::new(paths::AGENT_SOCKET))?;
    tokio::spawn(server.clone().local(local));
    let init = app.init.clone();
    tokio::spawn(async move { init.run().await });
    tokio::spawn(networks::run(app.networks.clone()));
    tokio::spawn(vm::machines::run(app.vms.clone()));
    let (init, vms) = (app.init.clone(), app.vms.clone());
    tokio::spawn(async move {
        init.known().await;
        vms.looked().await;
        vm::reconcile::run(vms).await;
    });
    tokio::spawn(follow_subjects(identity.clone()));
    tokio::spawn(drift::watch(app.clone()));
    let noting = app.clone();
    tokio::spawn(async move { noting.tokens.follow().await });
    tokio::spawn(recovery::watch(app.clone()));
    tokio::spawn(app.netboot.clone().follow());
    let tls = identity.server_config()?;
    let (init, vms) = (app.init.clone(), app.vms.clone());
    tokio::spawn(async move {
        // An API that cannot say a word about units and VMs is not ready; one that never can is better than none.
        let known = async {
            init.known().await;
            vms.looked().await;
        };
        let _ = tokio::time::timeout(INIT_ANSWERS, known).await;
        let listener = bind_https(listen).await;
        tracing::info!("listening at https://{listen}, CA {}", identity.fingerprint());
        tokio::spawn(server.https(listener, tls));
        notify::notify("READY=1");
    });

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to end; VMs stay as they are");
    notify::notify("STOPPING=1");
    app.closing.cancel();
    app.tasks.close();
    // A connection that does not end in time is cut.
    let _ = tokio::time::timeout(SHUTDOWN, app.tasks.wait()).await;
    let _ = tokio::time::timeout(LAST_WORDS, app.audit.written()).await;
    Ok(())
}

/// Keeps the certificate in step with the host's names and addresses.
async fn follow_subjects(identity: Arc<Identity>) {
    let mut reported = false;
    loop {
        tokio::time::sleep(SUBJECTS_INTERVAL).await;
        match identity.update(&subjects()) {
            Ok(()) => reported = false,
            Err(error) if !reported => {
                reported = true;
                tracing::warn!("{}", chain(&error));
            }
            Err(_) => {}
        }
    }
}
