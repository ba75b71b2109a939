//! The typed client of a node's REST API.
//!
//! [`Client::tls`] speaks HTTPS with a bearer token, [`Client::unix`] plain HTTP over the node's own socket, where the
//! kernel says who calls. Both are HTTP/1.1, one connection per request: a call has no state that could be stale, and a
//! node that went away is noticed by the very next call.
//!
//! ```text
//! a method of Client ── request ── connection ── TCP + TLS (trust) | Unix socket
//!        │                 └────── success, or the node's Problem, or an Error of the way there
//!        └─ JSON into a type of this crate | events (sse) | console (WebSocket)
//! ```
//!
//! Every call has a deadline ([`Client::with_timeout`]), except what lasts as long as it lasts: an upload's body, an
//! event stream and a console have one for being opened, and none afterwards.

mod config;
mod connection;
mod console;
mod error;
mod events;
mod image;
mod keys;
mod netboot;
mod recovery;
mod request;
mod sse;
mod storage;
mod stream;
#[cfg(test)]
mod tests;
mod trust;
mod update;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axion_core::quantity::ByteSize;
use http::{HeaderName, HeaderValue, Method, header};
use serde::de::DeserializeOwned;

use crate::capacity::Capacity;
use crate::host::{
    BootReport, Device, Host, HostConfig, LogEntry, PowerAction, PowerRequest, Process, UnitStatus,
};
use crate::network::{Network, NetworkSpec};
use crate::profile::{
    AppliedProfile, CONFIG_MEDIA_TYPE, HostProfile, HostProof, ProfilePreview, ProofRequest,
};
use crate::vm::{BalloonRequest, Image, MemoryRequest, StopRequest, Vm, VmSpec, VmStats};
use crate::volume::{Volume, VolumeSpec};

pub use connection::Address;
pub use console::ConsoleStream;
pub use error::Error;
pub use events::EventStream;
pub use image::ImageFile;
pub use recovery::SupportBundle;
pub use stream::DatasetStream;
pub use trust::{Fingerprint, FingerprintError, Trust, presented_ca};
pub use update::UpdateFile;

use connection::Target;
use request::{Call, segment};

/// Deadline of a call that is no stream.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A node over the network.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where its API listens.
    pub address: Address,
    /// Bearer token.
    pub token: String,
    /// What proves that it is that node.
    pub trust: Trust,
}

/// Which state of a thing a write may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Any: create or replace.
    None,
    /// There must be no such thing (`If-None-Match: *`).
    Absent,
    /// It must be at this revision (`If-Match`).
    Revision(u64),
}

impl Precondition {
    fn header(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::None => None,
            Self::Absent => Some((header::IF_NONE_MATCH, HeaderValue::from_static("*"))),
            Self::Revision(revision) => HeaderValue::from_str(&format!("\"{revision}\""))
                .ok()
                .map(|value| (header::IF_MATCH, value)),
        }
    }
}

/// A client of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    target: Arc<Target>,
    timeout: Duration,
}

impl Client {
    /// A client over HTTPS. Nothing is sent yet.
    ///
    /// # Errors
    /// The CA file cannot be used, or the token has bytes that a header may not carry.
    pub fn tls(endpoint: &Endpoint) -> Result<Self, Error> {
        Ok(Self {
            target: Arc::new(Target::tls(endpoint)?),
            timeout: TIMEOUT,
        })
    }

    /// A client over the node's local socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self {
            target: Arc::new(Target::Unix(path.into())),
            timeout: TIMEOUT,
        }
    }

    /// The same with another deadline for calls that are no streams.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// `GET /healthz`: the agent answers. Needs no token.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn health(&self) -> Result<(), Error> {
        self.done(Call::new(Method::GET, "/healthz")).await
    }

    /// `GET /v1/host`: what the node is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn host(&self) -> Result<Host, Error> {
        self.get("/v1/host").await
    }

    /// `GET /v1/capacity`: what it has for VMs, and who has it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn capacity(&self) -> Result<Capacity, Error> {
        self.get("/v1/capacity").await
    }

    /// `GET /v1/host/boot`: how it booted.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn boot(&self) -> Result<BootReport, Error> {
        self.get("/v1/host/boot").await
    }

    /// `GET /v1/host/units`: what init runs.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn units(&self) -> Result<Vec<UnitStatus>, Error> {
        self.get("/v1/host/units").await
    }

    /// `GET /v1/host/processes`: what runs in user space.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn processes(&self) -> Result<Vec<Process>, Error> {
        self.get("/v1/host/processes").await
    }

    /// `GET /v1/host/processes?kernel=true`: what runs, threads of the kernel too.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn processes_and_kernel_threads(&self) -> Result<Vec<Process>, Error> {
        self.get("/v1/host/processes?kernel=true").await
    }

    /// `POST /v1/host/units/{name}/restart`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn restart_unit(&self, name: &str) -> Result<(), Error> {
        self.done(Call::new(
            Method::POST,
            format!("/v1/host/units/{}/restart", segment(name)),
        ))
        .await
    }

    /// `GET /v1/host/logs`: lines after sequence number `after`, oldest first, at most `limit`; with `after` 0 the last
    /// `limit` ones.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn logs(&self, after: u64, limit: u32) -> Result<Vec<LogEntry>, Error> {
        self.get(format!("/v1/host/logs?after={after}&limit={limit}"))
            .await
    }

    /// `GET /v1/host/config`: the machine config in force and where each value came from.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn config(&self) -> Result<HostConfig, Error> {
        self.get("/v1/host/config").await
    }

    /// `GET /v1/host/profile`: the boot profile, and whether it is in force.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn profile(&self) -> Result<HostProfile, Error> {
        self.get("/v1/host/profile").await
    }

    /// `POST /v1/host/profile/plan`: what a machine config document (TOML) would bring; nothing is changed.
    ///
    /// # Errors
    /// See [`Error`]; a document with a mistake, and wishes that the machine cannot grant, are a 422 [`Error::Problem`].
    pub async fn plan_profile(&self, document: &str) -> Result<ProfilePreview, Error> {
        let call = Call::new(Method::POST, "/v1/host/profile/plan");
        self.json(call.body(CONFIG_MEDIA_TYPE, document.to_owned())).await
    }

    /// `POST /v1/host/profile/apply`: puts what is not as planned in force again while the node runs. The kernel takes its time
    /// for some of it; see [`Client::with_timeout`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn apply_profile(&self) -> Result<AppliedProfile, Error> {
        self.json(Call::new(Method::POST, "/v1/host/profile/apply")).await
    }

    /// `GET /v1/host/profile/proof`: the last isolation proof, the one before it, and whether one is being taken.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn proof(&self) -> Result<HostProof, Error> {
        self.get("/v1/host/profile/proof").await
    }

    /// `POST /v1/host/profile/proof`: begins an isolation proof of so many seconds.
    ///
    /// # Errors
    /// See [`Error`]; a 409 where one is being taken, or no CPU is free for it.
    pub async fn start_proof(&self, seconds: u32) -> Result<(), Error> {
        let request = ProofRequest { seconds };
        self.done(Call::new(Method::POST, "/v1/host/profile/proof").json(&request))
            .await
    }

    /// `GET /v1/host/devices`: PCI functions.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn devices(&self) -> Result<Vec<Device>, Error> {
        self.get("/v1/host/devices").await
    }

    /// `POST /v1/host/power`: restarts the node or powers it off.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn power(&self, action: PowerAction) -> Result<(), Error> {
        self.done(Call::new(Method::POST, "/v1/host/power").json(&PowerRequest { action }))
            .await
    }

    /// `GET /v1/vms`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn vms(&self) -> Result<Vec<Vm>, Error> {
        self.get("/v1/vms").await
    }

    /// `GET /v1/vms/{name}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn vm(&self, name: &str) -> Result<Vm, Error> {
        self.get(vm_path(name, "")).await
    }

    /// `PUT /v1/vms/{name}`: creates or replaces a VM; it is not started.
    ///
    /// # Errors
    /// See [`Error`]; a failed precondition is a 412 [`Error::Problem`].
    pub async fn put_vm(&self, name: &str, spec: &VmSpec, only_if: Precondition) -> Result<Vm, Error> {
        let mut call = Call::new(Method::PUT, vm_path(name, "")).json(spec);
        call.headers.extend(only_if.header());
        self.json(call).await
    }

    /// `DELETE /v1/vms/{name}`; `force` deletes one that runs.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_vm(&self, name: &str, force: bool) -> Result<(), Error> {
        let query = if force { "?force=true" } else { "" };
        self.done(Call::new(Method::DELETE, vm_path(name, query))).await
    }

    /// `POST /v1/vms/{name}/start`. The VM that is returned need not run yet.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start_vm(&self, name: &str) -> Result<Vm, Error> {
        self.json(Call::new(Method::POST, vm_path(name, "/start"))).await
    }

    /// `POST /v1/vms/{name}/stop`: presses the power button, or with `force` cuts the power.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn stop_vm(&self, name: &str, force: bool) -> Result<Vm, Error> {
        self.json(Call::new(Method::POST, vm_path(name, "/stop")).json(&StopRequest { force }))
            .await
    }

    /// `POST /v1/vms/{name}/reset`: the reset button.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn reset_vm(&self, name: &str) -> Result<Vm, Error> {
        self.json(Call::new(Method::POST, vm_path(name, "/reset"))).await
    }

    /// `POST /v1/vms/{name}/pause`: the guest stands still.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pause_vm(&self, name: &str) -> Result<Vm, Error> {
        self.json(Call::new(Method::POST, vm_path(name, "/pause"))).await
    }

    /// `POST /v1/vms/{name}/resume`: the guest goes on.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn resume_vm(&self, name: &str) -> Result<Vm, Error> {
        self.json(Call::new(Method::POST, vm_path(name, "/resume"))).await
    }

    /// `GET /v1/vms/{name}/stats`: what it has used and done.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn vm_stats(&self, name: &str) -> Result<VmStats, Error> {
        self.get(vm_path(name, "/stats")).await
    }

    /// `PUT /v1/vms/{name}/balloon`: what the guest is to give of its memory, bytes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn set_balloon(&self, name: &str, size: ByteSize) -> Result<Vm, Error> {
        self.json(Call::new(Method::PUT, vm_path(name, "/balloon")).json(&BalloonRequest { size }))
            .await
    }

    /// `PUT /v1/vms/{name}/memory`: what the VM is to have in all, bytes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn set_memory(&self, name: &str, size: ByteSize) -> Result<Vm, Error> {
        self.json(Call::new(Method::PUT, vm_path(name, "/memory")).json(&MemoryRequest { size }))
            .await
    }

    /// `GET /v1/vms/{name}/vsock/{port}`: a port of the guest, both ways.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn vsock(&self, name: &str, port: u32) -> Result<ConsoleStream, Error> {
        console::open(self, vm_path(name, &format!("/vsock/{port}"))).await
    }

    /// `GET /v1/vms/{name}/console`: the VM's serial console, both ways.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn console(&self, name: &str) -> Result<ConsoleStream, Error> {
        console::open(self, vm_path(name, "/console")).await
    }

    /// `GET /v1/images`: uploaded guest kernels and initial RAM disks.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn images(&self) -> Result<Vec<Image>, Error> {
        self.get("/v1/images").await
    }

    /// `PUT /v1/images/{digest}`: uploads a file. `progress` is given the number of bytes of each part that was sent.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn put_image(
        &self,
        image: &ImageFile,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<Image, Error> {
        let call = Call::new(Method::PUT, format!("/v1/images/{}", segment(image.digest())));
        let name = call.name();
        let body = request::upload(self, image.attach(call, progress).await?).await?;
        request::parse(&name, &body)
    }

    /// `DELETE /v1/images/{digest}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_image(&self, digest: &str) -> Result<(), Error> {
        self.done(Call::new(
            Method::DELETE,
            format!("/v1/images/{}", segment(digest)),
        ))
        .await
    }

    /// `GET /v1/volumes`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn volumes(&self) -> Result<Vec<Volume>, Error> {
        self.get("/v1/volumes").await
    }

    /// `GET /v1/volumes/{name}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn volume(&self, name: &str) -> Result<Volume, Error> {
        self.get(format!("/v1/volumes/{}", segment(name))).await
    }

    /// `PUT /v1/volumes/{name}`: makes a volume. Copying an image into it takes its time; see [`Client::with_timeout`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn put_volume(
        &self,
        name: &str,
        spec: &VolumeSpec,
        only_if: Precondition,
    ) -> Result<Volume, Error> {
        let mut call = Call::new(Method::PUT, format!("/v1/volumes/{}", segment(name))).json(spec);
        call.headers.extend(only_if.header());
        self.json(call).await
    }

    /// `DELETE /v1/volumes/{name}`: deletes a volume and what is on it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_volume(&self, name: &str) -> Result<(), Error> {
        self.done(Call::new(
            Method::DELETE,
            format!("/v1/volumes/{}", segment(name)),
        ))
        .await
    }

    /// `DELETE /v1/volumes/{name}?forget=true`: forgets a volume whose pool is not imported.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn forget_volume(&self, name: &str) -> Result<(), Error> {
        let path = format!("/v1/volumes/{}?forget=true", segment(name));
        self.done(Call::new(Method::DELETE, path)).await
    }

    /// `GET /v1/networks`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn networks(&self) -> Result<Vec<Network>, Error> {
        self.get("/v1/networks").await
    }

    /// `GET /v1/networks/{name}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn network(&self, name: &str) -> Result<Network, Error> {
        self.get(format!("/v1/networks/{}", segment(name))).await
    }

    /// `PUT /v1/networks/{name}`: makes a network, or changes one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn put_network(
        &self,
        name: &str,
        spec: &NetworkSpec,
        only_if: Precondition,
    ) -> Result<Network, Error> {
        let mut call = Call::new(Method::PUT, format!("/v1/networks/{}", segment(name))).json(spec);
        call.headers.extend(only_if.header());
        self.json(call).await
    }

    /// `DELETE /v1/networks/{name}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_network(&self, name: &str) -> Result<(), Error> {
        self.done(Call::new(
            Method::DELETE,
            format!("/v1/networks/{}", segment(name)),
        ))
        .await
    }

    /// `GET /metrics`: counters in the text format of Prometheus.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn metrics(&self) -> Result<String, Error> {
        let body = request::bytes(self, Call::new(Method::GET, "/metrics")).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// `GET /v1/events`: what changes from now on, or after event `last_seen` as far as the node still knows.
    /// The stream ends with its connection; open it again with the last sequence number seen.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn events(&self, last_seen: Option<u64>) -> Result<EventStream, Error> {
        let mut call = Call::new(Method::GET, "/v1/events");
        call.headers
            .push((header::ACCEPT, HeaderValue::from_static("text/event-stream")));
        if let Some(sequence) = last_seen {
            call.headers.push((
                HeaderName::from_static("last-event-id"),
                HeaderValue::from(sequence),
            ));
        }
        Ok(EventStream::new(request::open(self, call).await?))
    }

    /// `GET /openapi.json`: the API's description.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn openapi(&self) -> Result<serde_json::Value, Error> {
        self.get("/openapi.json").await
    }

    /// `GET` of any path: its body as it came.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_raw(&self, path: &str) -> Result<bytes::Bytes, Error> {
        request::bytes(self, Call::new(Method::GET, path)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: impl Into<String>) -> Result<T, Error> {
        self.json(Call::new(Method::GET, path)).await
    }

    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let name = call.name();
        let body = request::bytes(self, call).await?;
        request::parse(&name, &body)
    }

    async fn done(&self, call: Call) -> Result<(), Error> {
        request::bytes(self, call).await.map(drop)
    }
}

fn vm_path(name: &str, rest: &str) -> String {
    format!("/v1/vms/{}{rest}", segment(name))
}
