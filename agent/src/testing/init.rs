//! An init that only pretends, at the end of a real D-Bus. A VM that it starts has a [`FakeVmm`], unless the test has made one.

use super::*;

/// Init's interface over units that have no processes.
#[derive(Clone, Default)]
pub struct FakeInit(pub(super) Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    units: BTreeMap<String, UnitStatus>,
    /// Run directories of VMs.
    vms_run: PathBuf,
    peers: Vec<zbus::Connection>,
    /// Transient units that were started, oldest first.
    started: Vec<TransientUnit>,
    killed: Vec<String>,
    bridges: BTreeMap<String, Bridge>,
    /// Storage calls, oldest first, and what the next is answered.
    storage_calls: Vec<Call>,
    pub(super) keys: keys::FakeKeys,
    pub(super) config: config::FakeConfig,
    pub(super) updates: update::FakeUpdates,
    storage_answer: Option<Told>,
    /// Whether what changes something is asked and not answered yet.
    storage_held: tokio::sync::watch::Sender<bool>,
    pools: Vec<axion_api::storage::Pool>,
    volumes: Vec<axion_api::storage::Dataset>,
    /// Streams that were begun, what the next that is sent has, and what was received last.
    streams: Vec<axion_api::storage::Stream>,
    sends: Vec<u8>,
    received: Arc<Mutex<Vec<u8>>>,
    carriers: BTreeMap<u64, std::thread::JoinHandle<()>>,
    refuse_starts: bool,
    clock: u64,
    /// What the kernel's log and the node's log have besides the usual.
    said: String,
    /// Calls about recovery, oldest first.
    recovery_calls: Vec<axion_api::recovery::Call>,
    /// Times that the boot profile was to be put in force again.
    applied: usize,
}

impl FakeInit {
    pub(super) fn listen(&self, places: &Places) {
        let listener = UnixListener::bind(&places.init_socket).unwrap();
        self.0.lock().unwrap().vms_run.clone_from(&places.vms_run);
        let init = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let stream = stream.into_std().unwrap();
                let peer = zbus::connection::Builder::unix_stream(stream)
                    .server(zbus::Guid::generate())
                    .p2p()
                    .serve_at(PATH, init.clone())
                    .build()
                    .await
                    .unwrap();
                init.0.lock().unwrap().peers.push(peer);
            }
        });
    }

    pub fn started(&self) -> Vec<TransientUnit> {
        self.0.lock().unwrap().started.clone()
    }

    pub fn killed(&self) -> Vec<String> {
        self.0.lock().unwrap().killed.clone()
    }

    pub fn bridges(&self) -> BTreeMap<String, Bridge> {
        self.0.lock().unwrap().bridges.clone()
    }

    pub fn forget_bridges(&self) {
        self.0.lock().unwrap().bridges.clear();
    }

    pub fn answer_storage(&self, answer: Told) {
        self.0.lock().unwrap().storage_answer = Some(answer);
    }

    /// Has storage calls that change something wait for their answers, or wait no more.
    pub fn hold_storage(&self, held: bool) {
        self.0.lock().unwrap().storage_held.send_replace(held);
    }

    pub fn set_pools(&self, pools: Vec<axion_api::storage::Pool>) {
        self.0.lock().unwrap().pools = pools;
    }

    pub fn set_volumes(&self, volumes: Vec<axion_api::storage::Dataset>) {
        self.0.lock().unwrap().volumes = volumes;
    }

    pub fn sends(&self, bytes: &[u8]) {
        self.0.lock().unwrap().sends = bytes.to_vec();
    }

    pub fn received(&self) -> Vec<u8> {
        let received = self.0.lock().unwrap().received.clone();
        received.lock().unwrap().clone()
    }

    pub fn streams(&self) -> Vec<axion_api::storage::Stream> {
        self.0.lock().unwrap().streams.clone()
    }

    pub fn storage_calls(&self) -> Vec<Call> {
        self.0.lock().unwrap().storage_calls.clone()
    }

    /// A line in both logs.
    pub fn says(&self, line: &str) {
        let said = &mut self.0.lock().unwrap().said;
        said.push_str(line);
        said.push('\n');
    }

    pub fn recovery_calls(&self) -> Vec<axion_api::recovery::Call> {
        self.0.lock().unwrap().recovery_calls.clone()
    }

    pub fn refuse_starts(&self, refuse: bool) {
        self.0.lock().unwrap().refuse_starts = refuse;
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap().units.contains_key(name)
    }

    /// Adds a unit that runs, of nobody's VMM.
    pub async fn add(&self, name: &str, transient: bool) -> UnitStatus {
        self.set(name, UnitState::Running, transient, None).await
    }

    /// Ends a unit by itself, with an exit status.
    pub async fn end(&self, name: &str, status: i32) {
        let state = if status == 0 {
            UnitState::Inactive
        } else {
            UnitState::Failed
        };
        self.set(name, state, true, Some(status)).await;
    }

    /// Ends a unit as a node that goes down does.
    pub async fn stop(&self, name: &str) {
        self.set(name, UnitState::Stopping, true, None).await;
        self.set(name, UnitState::Inactive, true, Some(0)).await;
    }

    async fn set(&self, name: &str, state: UnitState, transient: bool, status: Option<i32>) -> UnitStatus {
        let (unit, peers) = {
            let mut init = self.0.lock().unwrap();
            init.clock += 1;
            let unit = UnitStatus {
                name: name.to_owned(),
                description: String::new(),
                transient,
                state,
                pid: match state {
                    UnitState::Running => Some(4242 + u32::try_from(init.clock).unwrap()),
                    UnitState::Stopping => init.units.get(name).and_then(|unit| unit.pid),
                    _ => None,
                },
                restarts: 0,
                since_unix_us: init.clock,
                exit: status.map(|status| format!("exited with status {status}")),
                exit_status: status,
                last_line: status
                    .filter(|status| *status != 0)
                    .map(|_| "kernel: no PVH note".to_owned()),
            };
            init.units.insert(name.to_owned(), unit.clone());
            (unit, init.peers.clone())
        };
        for peer in peers {
            // A peer that is gone hears nothing.
            let _ = peer
                .emit_signal(None::<&str>, PATH, INTERFACE, "UnitChanged", &unit)
                .await;
        }
        unit
    }
}

fn unknown(name: &str) -> fdo::Error {
    fdo::Error::UnknownObject(format!("no unit `{name}`"))
}

#[zbus::interface(name = "org.axion.Init1")]
impl FakeInit {
    fn list_units(&self) -> Vec<UnitStatus> {
        self.0.lock().unwrap().units.values().cloned().collect()
    }

    fn get_unit(&self, name: &str) -> fdo::Result<UnitStatus> {
        self.0
            .lock()
            .unwrap()
            .units
            .get(name)
            .cloned()
            .ok_or_else(|| unknown(name))
    }

    async fn stop_unit(&self, name: &str) -> fdo::Result<()> {
        if self.get_unit(name)?.pid.is_some() {
            self.set(name, UnitState::Stopping, true, None).await;
        }
        Ok(())
    }

    async fn kill_unit(&self, name: &str) -> fdo::Result<()> {
        let unit = self.get_unit(name)?;
        self.0.lock().unwrap().killed.push(name.to_owned());
        let stopped = unit.state == UnitState::Stopping;
        let state = if stopped {
            UnitState::Inactive
        } else {
            UnitState::Failed
        };
        self.set(name, state, true, None).await;
        Ok(())
    }

    async fn restart_unit(&self, name: &str) -> fdo::Result<()> {
        self.get_unit(name)?;
        self.set(name, UnitState::Running, false, None).await;
        Ok(())
    }

    async fn start_transient_unit(&self, unit: TransientUnit) -> fdo::Result<UnitStatus> {
        let name = unit.name.clone();
        if self.0.lock().unwrap().refuse_starts {
            return Err(fdo::Error::Failed("the node goes down".to_owned()));
        }
        if self.has(&name) {
            return Err(fdo::Error::FileExists(format!("unit `{name}` exists")));
        }
        self.0.lock().unwrap().started.push(unit);
        let vms_run = self.0.lock().unwrap().vms_run.clone();
        let directory = vms_run.join(name.trim_start_matches("vm-"));
        if !directory.join(API_SOCKET).exists() {
            FakeVmm::new(&directory);
        }
        Ok(self.set(&name, UnitState::Running, true, None).await)
    }

    fn remove_unit(&self, name: &str) -> fdo::Result<()> {
        let unit = self.get_unit(name)?;
        if unit.pid.is_some() {
            return Err(fdo::Error::Failed(format!("unit `{name}` is not down")));
        }
        self.0.lock().unwrap().units.remove(name);
        Ok(())
    }

    /// The node is reached by `mgmt0`.
    fn ensure_bridge(&self, bridge: Bridge) -> fdo::Result<()> {
        if bridge.uplink == "mgmt0" && !bridge.force {
            return Err(fdo::Error::InvalidArgs(
                "`mgmt0` carries 10.0.0.5/24: as an uplink it would lose them".to_owned(),
            ));
        }
        let mut init = self.0.lock().unwrap();
        init.bridges.insert(bridge.name.clone(), bridge);
        Ok(())
    }

    fn remove_bridge(&self, name: &str) {
        self.0.lock().unwrap().bridges.remove(name);
    }

    fn machine_config(&self, call: &str) -> String {
        self.0.lock().unwrap().config.answer(call)
    }

    fn update(&self, call: &str) -> String {
        self.0.lock().unwrap().updates.answer(call)
    }

    fn stage_update(&self, image: zbus::OwnedFd, staging: &str) -> String {
        self.0.lock().unwrap().updates.stage(image.into(), staging)
    }

    async fn storage(&self, call: &str) -> String {
        let call: Call = serde_json::from_str(call).unwrap();
        let is_change = !matches!(call, Call::Pools | Call::Volumes);
        let (answer, mut held) = {
            let mut init = self.0.lock().unwrap();
            let usual = match call {
                Call::Pools => Told::Pools(init.pools.clone()),
                Call::Volumes => Told::Datasets(init.volumes.clone()),
                _ => Told::Done,
            };
            let looks = !is_change && !init.pools.is_empty();
            init.storage_calls.push(call);
            let preset = if looks { None } else { init.storage_answer.take() };
            (preset.unwrap_or(usual), init.storage_held.subscribe())
        };
        if is_change {
            held.wait_for(|held| !held).await.unwrap();
        }
        serde_json::to_string(&answer).unwrap()
    }

    fn begin_stream(&self, stream: &str) -> (u64, zbus::OwnedFd) {
        use std::io::{Read, Write};
        let mut init = self.0.lock().unwrap();
        let stream = serde_json::from_str(stream).unwrap();
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let (carrier, end): (_, std::os::fd::OwnedFd) = match stream {
            axion_api::storage::Stream::Send { .. } => {
                let bytes = std::mem::take(&mut init.sends);
                // Whoever reads may go away.
                let carry = move || drop(writer.write_all(&bytes));
                (std::thread::spawn(carry), reader.into())
            }
            axion_api::storage::Stream::Receive { .. } => {
                let received = init.received.clone();
                let carry = move || {
                    let mut bytes = Vec::new();
                    reader.read_to_end(&mut bytes).unwrap();
                    *received.lock().unwrap() = bytes;
                };
                (std::thread::spawn(carry), writer.into())
            }
        };
        init.streams.push(stream);
        let number = u64::try_from(init.streams.len()).unwrap();
        init.carriers.insert(number, carrier);
        (number, end.into())
    }

    async fn end_stream(&self, number: u64) -> String {
        let carrier = self.0.lock().unwrap().carriers.remove(&number).unwrap();
        tokio::task::spawn_blocking(move || carrier.join().unwrap())
            .await
            .unwrap();
        let answer = self.0.lock().unwrap().storage_answer.take().unwrap_or(Told::Done);
        serde_json::to_string(&answer).unwrap()
    }

    fn keys(&self, call: &str) -> String {
        self.0.lock().unwrap().keys.answer(call)
    }

    fn boot_status(&self) -> BootStatus {
        BootStatus {
            kernel_us: 1_500_000,
            ready_us: Some(2_000_999),
            phases: Vec::new(),
        }
    }

    fn node_status(&self) -> NodeStatus {
        NodeStatus {
            hostname: "node1".to_owned(),
            ..NodeStatus::default()
        }
    }

    fn logs(&self, after: u64, limit: u32) -> Vec<LogEntry> {
        let line = |source: &str, message: &str| LogEntry {
            sequence: after + 1,
            unix_us: 0,
            severity: 6,
            source: source.to_owned(),
            message: message.to_owned(),
        };
        let lines = [line("init", "unrelated")];
        let said = self.0.lock().unwrap().said.clone();
        let said: Vec<LogEntry> = said.lines().map(|message| line("agent", message)).collect();
        let lines = lines.into_iter().chain(said);
        lines.take(usize::try_from(limit).unwrap()).collect()
    }

    fn recovery(&self, call: &str) -> String {
        use axion_api::recovery::{Answer, Call, ResetPlan};
        let mut init = self.0.lock().unwrap();
        let call: Call = serde_json::from_str(call).unwrap();
        init.recovery_calls.push(call.clone());
        let answer = match call {
            Call::KernelLog => Answer::Text(init.said.clone()),
            Call::Slots => Answer::Problem(Problem::new(Kind::NotFound, "not installed")),
            Call::Sticks => Answer::Sticks(Vec::new()),
            Call::PlanReset { scope, pools } => Answer::ResetPlan(Box::new(ResetPlan {
                scope,
                pools,
                hostname: "node1".to_owned(),
                lost: vec!["the state".to_owned()],
                kept: Vec::new(),
            })),
            Call::CancelReset => Answer::Done,
            Call::Reset { request } if request.confirm == "node1" => Answer::Done,
            Call::Reset { .. } => {
                Answer::Problem(Problem::new(Kind::Invalid, "not confirmed").at("/confirm"))
            }
        };
        serde_json::to_string(&answer).unwrap()
    }

    /// The second call meets one that is under way.
    fn apply_profile(&self) -> zbus::fdo::Result<String> {
        let mut init = self.0.lock().unwrap();
        init.applied += 1;
        if init.applied == 2 {
            return Err(zbus::fdo::Error::FileExists(
                "the boot profile is being put in force already".to_owned(),
            ));
        }
        let applied = axion_api::profile::Applied {
            done: vec!["sysctl.vm.swappiness".to_owned()],
            left: vec![axion_api::profile::LeftItem {
                key: "vfio.0000:01:00.0".to_owned(),
                reason: "a VM has it".to_owned(),
            }],
        };
        Ok(serde_json::to_string(&applied).unwrap())
    }

    fn start_proof(&self, seconds: u32) -> zbus::fdo::Result<()> {
        match seconds {
            1 => Err(zbus::fdo::Error::Failed("no CPU is set apart".to_owned())),
            601.. => Err(zbus::fdo::Error::InvalidArgs("allowed are 1 to 600".to_owned())),
            _ => Ok(()),
        }
    }

    fn proof_status(&self) -> axion_api::init::ProofStatus {
        axion_api::init::ProofStatus::default()
    }

    fn virtual_functions(&self) -> String {
        "{}".to_owned()
    }

    fn host_uses(&self) -> String {
        r#"{"disks":[{"disk":"nvme0n1","holding":{"pool":"tank"}}],"interfaces":[]}"#.to_owned()
    }

    fn reboot(&self) {}

    fn power_off(&self) {}
}
