//! An agent in a temporary directory, with an init and VMMs that only pretend, on this machine or one that is written down.

mod config;
mod init;
mod keys;
pub mod machine;
mod update;
mod vmm;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axion_api::init::{
    BootStatus, Bridge, INTERFACE, LogEntry, NodeStatus, PATH, TransientUnit, UnitState, UnitStatus,
};
use axion_api::problem::{Kind, Problem};
use axion_api::storage::{Answer as Told, Call};
use axion_api::vmm::API_SOCKET;
use axion_core::config::{Effective, resolve};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde::de::DeserializeOwned;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use zbus::fdo;

use crate::app::{App, Places};
use crate::auth::Peer;
use crate::routes::router;
use crate::store::RedbStore;
use crate::vm::{machines, reconcile};

pub use init::FakeInit;
pub use vmm::FakeVmm;

/// A token that the agent accepts.
pub const TOKEN: &str = "axion_test";

/// An agent in a temporary directory.
pub struct Agent {
    pub directory: tempfile::TempDir,
    pub app: Arc<App>,
    pub init: FakeInit,
    router: Router,
    tasks: Vec<JoinHandle<()>>,
}

/// An answer of the agent.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The problem that it must be.
    pub fn problem(&self) -> Problem {
        let kind = self
            .headers
            .get("content-type")
            .and_then(|value| value.to_str().ok());
        assert_eq!(
            kind,
            Some("application/problem+json"),
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        let problem: Problem = self.json();
        assert_eq!(problem.status, self.status.as_u16());
        problem
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Agent {
    /// An agent without an init.
    pub fn alone() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let init = FakeInit::default();
        Self::open(directory, init)
    }

    /// An agent with an init, reconciling.
    pub async fn new() -> Self {
        let mut agent = Self::alone();
        agent.init.listen(&places(&agent.directory));
        agent.run().await;
        agent
    }

    /// The same on a [`machine`] with these CPUs isolated.
    pub async fn on(isolated: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        machine::write(&directory.path().join("root"), isolated);
        let mut agent = Self::open(directory, FakeInit::default());
        agent.init.listen(&places(&agent.directory));
        agent.run().await;
        agent
    }

    /// The same node, when its agent was killed and another one was started.
    pub async fn restarted(self) -> Self {
        let Self {
            directory,
            app,
            init,
            router,
            tasks,
        } = self;
        drop((app, router));
        for task in tasks {
            task.abort();
            assert!(task.await.is_err());
        }
        // A read of the store that was under way ends by itself, and lets go of the file then.
        for _ in 0..1000 {
            if RedbStore::open(&places(&directory).state.join("store.redb")).is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut again = Self::open(directory, init);
        again.run().await;
        again
    }

    fn open(directory: tempfile::TempDir, init: FakeInit) -> Self {
        use sha2::Digest;
        let mut config: Effective = resolve(&[]);
        config.config.api.token_hashes = vec![format!("sha256:{}", hex::encode(sha2::Sha256::digest(TOKEN)))];
        let app = Arc::new(App::open(&places(&directory), config, "sha256:00".to_owned()).unwrap());
        Self {
            router: router(&app),
            directory,
            app,
            init,
            tasks: Vec::new(),
        }
    }

    async fn run(&mut self) {
        let init = self.app.init.clone();
        let mut seen = init.watch();
        self.tasks = vec![
            tokio::spawn(async move { init.run().await }),
            tokio::spawn(machines::run(self.app.vms.clone())),
            tokio::spawn(reconcile::run(self.app.vms.clone())),
        ];
        while self.app.init.units().is_err() {
            seen.changed().await.unwrap();
        }
        self.app.vms.looked().await;
    }

    pub fn vm_directory(&self, name: &str) -> PathBuf {
        places(&self.directory).vms_run.join(name)
    }

    /// Sends a request as it is.
    pub async fn send(&self, peer: Peer, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(peer);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Sends a request as root on the local socket.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        self.send(
            Peer::Local { uid: 0 },
            request.body(Body::from(body.to_owned())).unwrap(),
        )
        .await
    }

    pub async fn call_with(&self, method: &str, path: &str, header: (&str, &str), body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header.0, header.1);
        self.send(
            Peer::Local { uid: 0 },
            request.body(Body::from(body.to_owned())).unwrap(),
        )
        .await
    }

    /// Sends a request as root on the local socket, and hangs up as soon as `begun` says so.
    pub async fn hang_up(&self, method: &str, path: &str, body: &str, begun: impl Fn(&Self) -> bool) {
        let begun = async {
            while !begun(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            answer = self.call(method, path, body) => panic!("it was answered: {answer:?}"),
            () = begun => {}
        }
    }

    /// The audit log.
    pub async fn audit(&self) -> Vec<serde_json::Value> {
        self.app.audit.written().await;
        let text = std::fs::read_to_string(places(&self.directory).state.join("audit.log")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits until `holds` says so of VM `name`.
    pub async fn until(&self, name: &str, holds: impl Fn(&axion_api::vm::Vm) -> bool) -> axion_api::vm::Vm {
        let mut cursor = self.app.events.subscribe(None);
        let wait = async {
            loop {
                let vm = self.app.vms.get(name).await.unwrap();
                if holds(&vm) {
                    return vm;
                }
                self.app.events.next(&mut cursor).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(20), wait).await {
            Ok(vm) => vm,
            Err(_) => panic!("{:?}", self.app.vms.get(name).await),
        }
    }
}

/// A directory that init makes.
fn made(path: PathBuf) -> PathBuf {
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn places(directory: &tempfile::TempDir) -> Places {
    let at = |name: &str| directory.path().join(name);
    Places {
        state: at("state"),
        run: at("run"),
        images: at("images"),
        volumes: at("volumes"),
        netboot: at("netboot"),
        netboot_configs: made(at("netboot-configs")),
        interfaces: at("interfaces"),
        first_token: at("first-token"),
        vms_run: at("vms"),
        root: Some(at("root"))
            .filter(|root| root.exists())
            .unwrap_or_else(|| "/".into()),
        init_socket: at("init.sock"),
    }
}
