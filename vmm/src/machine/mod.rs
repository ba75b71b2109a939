//! The machine: one thread that makes its lives, one after the other, and carries out what is asked of it.
//!
//! ```text
//! control thread --request--> machine thread --gate, kick--> vCPU threads
//!                <--status---                <----wishes----
//! ```
//!
//! The machine thread alone changes the machine; [`lifecycle`] says what is allowed when. Others see a [`Handle`], which does not
//! wait for it for long ([`requests`]).

mod error;
mod halt;
mod life;
pub mod lifecycle;
mod requests;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use axion_api::vmm::in_force::{DisabledExit, NodeMemory};
use axion_api::vmm::{
    ConsoleDevice, ConsoleStatus, GUEST_HALTED, InForce, MachineState, PauseReason, ResetCause, VmmMetrics,
    VmmStatus,
};
use nix::sys::eventfd::{EfdFlags, EventFd};
use vm_memory::{Bytes, GuestAddress};

use crate::config::Plan;
use crate::devices::power::PowerRequest;
use crate::devices::serial::Console;
use crate::devices::virtio::balloon::backing::{Balloon, PAGE};
use crate::devices::virtio::blk::backing::Disk;
use crate::devices::virtio::mem::backing::Resize;
pub use crate::devices::virtio::mem::backing::ResizeError;
use crate::devices::virtio::net::backing::Interface;
use crate::devices::virtio::pair_times::PairTimes;
use crate::devices::virtio::vsock::Vsock;
use crate::devices::virtio::vsock::backing::Host as VsockHost;
use crate::devices::virtio::worker::Restrict;
use crate::kvm;
use crate::kvm::stats::Counters;
use crate::log;
use crate::memory::{Ram, page_size};
use crate::sandbox::{Role, Sandbox};
use crate::vcpu::{Exits, Stop};
pub use error::{BalloonError, MachineError};
use halt::{Verdict, Watch};
use life::{Life, Outside, Wish, WishSink};
use lifecycle::{Action, Refusal, Request};
pub use requests::RequestError;
use requests::Requests;

/// How a machine ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The guest switched it off.
    PoweredOff,
    /// It halted for good; see [`halt`].
    Halted,
    /// [`Request::Stop`].
    Stopped,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PoweredOff => "guest powered off",
            Self::Halted => GUEST_HALTED,
            Self::Stopped => "stopped on request",
        })
    }
}

/// What the machine thread hears.
enum Event {
    Request(Request, SyncSender<Result<(), Refusal>>),
    /// From the life of this number.
    Wish(u64, Wish),
}

/// How a life ended.
enum End {
    Reset(Cause),
    Exit(Exit),
}

/// Why a machine was reset, and by which vCPU where one did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cause(ResetCause, Option<u32>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(cause, vcpu) = self;
        f.write_str(match cause {
            ResetCause::Request => "reset on request",
            ResetCause::Acpi => "guest reset itself by ACPI",
            ResetCause::Keyboard => "guest reset itself by the keyboard controller",
            ResetCause::Panic => "guest reset itself after a panic",
            ResetCause::TripleFault => "guest reset by a triple fault",
            ResetCause::Kvm => "guest reset itself through KVM",
        })?;
        vcpu.map_or(Ok(()), |id| write!(f, " of vCPU {id}"))
    }
}

/// Where a PC's operating system says before a reset whether it wants a warm boot, in the BIOS data area, and what it then says.
/// Linux does that always; with `reboot=panic_warm` after a panic, and cold boots otherwise.
const BOOT_FLAG: GuestAddress = GuestAddress(0x472);
const WARM_BOOT: u16 = 0x1234;

/// The cause of a reset that the guest asked for, of whose memory `flag` was at [`BOOT_FLAG`].
const fn told(cause: ResetCause, flag: Option<u16>) -> ResetCause {
    match (cause, flag) {
        (ResetCause::Acpi | ResetCause::Keyboard, Some(WARM_BOOT)) => ResetCause::Panic,
        _ => cause,
    }
}

/// Status that others read.
struct Board {
    /// Without the devices.
    status: Mutex<VmmStatus>,
    disks: Vec<Arc<Disk>>,
    nets: Vec<Arc<Interface>>,
    console: (Arc<Console>, ConsoleDevice),
    console_times: Arc<PairTimes>,
    balloon: Option<Arc<Balloon>>,
    /// Bytes of guest memory.
    memory: u64,
    resize: Option<Arc<Resize>>,
    vsock: Option<Arc<VsockHost>>,
    /// Of each vCPU.
    exits: Vec<Arc<Exits>>,
    /// By KVM.
    counters: Counters,
    ended: EventFd,
}

impl Board {
    fn status(&self) -> MutexGuard<'_, VmmStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_state(&self, state: MachineState, pause_reason: Option<PauseReason>) {
        let mut status = self.status();
        status.state = state;
        status.pause_reason = pause_reason;
    }
}

/// Tells of the end however the machine thread ends.
struct Announce(Arc<Board>);

impl Drop for Announce {
    fn drop(&mut self) {
        self.0.set_state(MachineState::Stopped, None);
        let _ = self.0.ended.write(1);
    }
}

/// A machine as others see it.
pub struct Handle {
    board: Arc<Board>,
    requests: Requests,
    abandoned: AtomicBool,
    thread: thread::JoinHandle<Result<Exit, MachineError>>,
}

impl Handle {
    /// Starts the machine of `plan` in its thread, which restricts itself by `sandbox`. `started` is when the process began.
    ///
    /// # Errors
    /// Where the kernel has no thread or no event descriptor left.
    pub fn spawn(plan: Plan, sockets: Sockets, sandbox: Sandbox, started: Instant) -> io::Result<Self> {
        let status = VmmStatus {
            name: plan.name.clone(),
            version: crate::VERSION.to_owned(),
            state: MachineState::Starting,
            resets: 0,
            reset_causes: Default::default(),
            start_us: None,
            exit: None,
            pause_reason: None,
            disks: Vec::new(),
            nets: Vec::new(),
            console: ConsoleStatus::default(),
            balloon: None,
            vsock: None,
            memory: None,
            in_force: None,
        };
        let exits = (0..plan.topology.cpus()).map(|_| Arc::default()).collect();
        let ended = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let board = Arc::new(Board {
            status: Mutex::new(status),
            disks: plan.disks.clone(),
            nets: plan.nets.clone(),
            console: (sockets.console.clone(), plan.console),
            console_times: Arc::default(),
            balloon: plan.balloon.map(Balloon::new).transpose()?.map(Arc::new),
            memory: plan.memory.size,
            resize: plan.layout.hot.clone().map(|hot| {
                let page = page_size(plan.memory.hugepages);
                Arc::new(Resize::new(plan.memory.size, hot, page))
            }),
            vsock: sockets.vsock.clone(),
            exits,
            counters: Counters::default(),
            ended,
        });
        let (events, receiver) = mpsc::channel();
        let machine = Machine {
            plan,
            sockets,
            sandbox,
            started,
            board: board.clone(),
            events: events.clone(),
            receiver,
        };
        let thread = thread::Builder::new()
            .name("machine".to_owned())
            .spawn(move || machine.run())?;
        Ok(Self {
            board,
            requests: Requests::new(events),
            abandoned: AtomicBool::new(false),
            thread,
        })
    }

    /// What the machine is doing.
    pub fn status(&self) -> VmmStatus {
        let mut status = self.board.status().clone();
        status.disks = self.board.disks.iter().map(|disk| disk.status()).collect();
        status.nets = self.board.nets.iter().map(|net| net.status()).collect();
        let (console, device) = &self.board.console;
        status.console = console.status(*device);
        status.balloon = self.board.balloon.as_ref().map(|balloon| balloon.status());
        status.vsock = self.board.vsock.as_ref().map(|vsock| vsock.status());
        status.memory = self.board.resize.as_ref().map(|resize| resize.status());
        status
    }

    /// What its vCPUs and devices have counted.
    pub fn metrics(&self) -> VmmMetrics {
        let vcpus = self.board.exits.iter().map(|exits| exits.read()).collect();
        let disks = self.board.disks.iter().map(|disk| disk.latencies()).collect();
        VmmMetrics {
            vcpus,
            kvm: self.board.counters.vcpus(),
            mapped: self.board.counters.mapped(),
            disks,
            nets: self.board.nets.iter().map(|net| net.latencies()).collect(),
            vsock: self.board.vsock.as_ref().map(|vsock| vsock.latencies()),
            console: (self.board.console.1 == ConsoleDevice::Virtio).then(|| self.board.console_times.read()),
        }
    }

    /// Asks the guest for `size` bytes of its memory in all.
    ///
    /// # Errors
    /// [`BalloonError`].
    pub fn set_balloon(&self, size: u64) -> Result<(), BalloonError> {
        let balloon = self.board.balloon.as_ref().ok_or(BalloonError::None)?;
        let memory = self.board.memory;
        if size > memory || !size.is_multiple_of(PAGE) {
            return Err(BalloonError::Size { size, memory });
        }
        balloon.set_target(size);
        Ok(())
    }

    /// Asks the guest to have `size` bytes of memory in all.
    ///
    /// # Errors
    /// [`ResizeError`].
    pub fn set_memory(&self, size: u64) -> Result<(), ResizeError> {
        self.board.resize.as_ref().ok_or(ResizeError::Fixed)?.ask(size)
    }

    /// Becomes readable when the machine has ended.
    pub fn ended(&self) -> &EventFd {
        &self.board.ended
    }

    /// Asks something of the machine; returns when it is done, or when it is about to be with reset and stop, or when that takes
    /// too long.
    ///
    /// # Errors
    /// [`RequestError`] where its state does not allow it, or a device keeps it from answering.
    pub fn request(&self, request: Request) -> Result<(), RequestError> {
        let state = self.board.status().state;
        match (state, lifecycle::decide(state, request)?) {
            (MachineState::Stopped, _) => Ok(()),
            (MachineState::Starting, Action::End) => {
                self.requests.send(request)?;
                self.abandoned.store(true, Ordering::Relaxed);
                Ok(())
            }
            _ => self.requests.ask(request),
        }
    }

    /// Whether it was stopped while it started. It listens to nobody then; the process may end without it.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// How the machine ended. Waits until it has.
    ///
    /// # Errors
    /// [`MachineError`] where it failed.
    pub fn join(self) -> Result<Exit, MachineError> {
        let panicked = || MachineError::Lost("panicked".to_owned());
        self.thread.join().unwrap_or_else(|_| Err(panicked()))
    }
}

/// What the control thread has made for a machine in its run directory.
pub struct Sockets {
    /// Its console.
    pub console: Arc<Console>,
    /// Where clients ask for the guest's ports.
    pub vsock: Option<Arc<VsockHost>>,
}

/// What the machine thread owns.
struct Machine {
    plan: Plan,
    sockets: Sockets,
    sandbox: Sandbox,
    started: Instant,
    board: Arc<Board>,
    events: Sender<Event>,
    receiver: Receiver<Event>,
}

impl Machine {
    fn run(mut self) -> Result<Exit, MachineError> {
        let _announce = Announce(self.board.clone());
        let result = self.lives();
        self.board.status().exit = Some(match &result {
            Ok(exit) => exit.to_string(),
            Err(error) => crate::chain(error),
        });
        result
    }

    fn lives(&mut self) -> Result<Exit, MachineError> {
        let ram = Ram::map(
            &self.plan.numa,
            &self.plan.layout,
            &self.plan.memory,
            &self.plan.placement.for_setup(),
        )?;
        let backing = ram.populate()?;
        let outside = self.outside()?;
        self.sandbox.restrict(Role::Machine)?;
        for number in 0.. {
            let end = self.live(&ram, &backing, &outside, number)?;
            self.board.counters.end();
            match end {
                End::Exit(exit) => return Ok(exit),
                End::Reset(Cause(cause, vcpu)) => {
                    let cause = told(cause, ram.guest().read_obj(BOOT_FLAG).ok());
                    log::line(Cause(cause, vcpu));
                    {
                        let mut status = self.board.status();
                        status.resets += 1;
                        status.reset_causes.add(cause);
                    }
                    self.board.set_state(MachineState::Starting, None);
                }
            }
            ram.clear()?;
            if let (Some(resize), Some(hot)) = (&self.board.resize, ram.hot()) {
                resize.is_now(hot.size());
            }
        }
        Ok(Exit::Stopped)
    }

    /// What lives of the machine share. Its threads may do what the machine thread may not once it is restricted, whose
    /// filter would also be theirs.
    fn outside(&self) -> Result<Outside, MachineError> {
        let sandbox = self.sandbox.clone();
        let restrict: Restrict = Arc::new(move || sandbox.restrict(Role::Sockets));
        let vsock = self.sockets.vsock.clone();
        Ok(Outside {
            console: self.sockets.console.clone(),
            console_times: self.board.console_times.clone(),
            balloon: self.board.balloon.clone(),
            memory: self.board.resize.clone(),
            vsock: vsock.map(|host| Vsock::new(host, &restrict)).transpose()?,
        })
    }

    /// One life, from its making to its end. Its vCPUs have ended on return.
    fn live(
        &mut self,
        ram: &Ram,
        backing: &[NodeMemory],
        outside: &Outside,
        number: u64,
    ) -> Result<End, MachineError> {
        let events = Mutex::new(self.events.clone());
        let wishes: WishSink = Arc::new(move |wish| {
            let events = events.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody listens only when the machine has ended.
            let _ = events.send(Event::Wish(number, wish));
        });
        let mut life = Life::new(
            &mut self.plan,
            ram,
            outside,
            &wishes,
            &self.sandbox,
            &self.board.exits,
        )?;
        self.board.counters.begin(life.take_sources());
        let in_force = self.in_force(&life, backing);
        {
            let mut status = self.board.status();
            status.in_force = Some(in_force);
            status.state = MachineState::Running;
            let elapsed = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
            status.start_us.get_or_insert(elapsed);
        }
        life.run();
        let ended = self.serve(&life, number);
        // Before the life ends, which may take long: devices bring to an end what is in flight.
        match &ended {
            Ok(End::Reset(_)) => self.board.set_state(MachineState::Starting, None),
            Ok(End::Exit(_)) | Err(_) => self.board.set_state(MachineState::Stopped, None),
        }
        ended
    }

    /// Carries out what `life`, which has this number, and others ask for, until that ends it.
    fn serve(&self, life: &Life, number: u64) -> Result<End, MachineError> {
        // A halt that does not leave the guest uses CPU time, as work does.
        let mut watch = (!life.exits_disabled().contains(&DisabledExit::Hlt)).then(Watch::default);
        loop {
            let event = match watch {
                Some(_) => self.receiver.recv_timeout(halt::INTERVAL),
                None => self.receiver.recv().map_err(RecvTimeoutError::from),
            };
            match event {
                Ok(Event::Wish(from, wish)) if from == number => {
                    if let Some(end) = self.fulfil(life, wish)? {
                        return Ok(end);
                    }
                }
                // The last words of an earlier life.
                Ok(Event::Wish(..)) => {}
                Ok(Event::Request(request, reply)) => {
                    let decision = self.obey(life, request);
                    let end = match decision {
                        Ok(Action::Reset) => Some(End::Reset(Cause(ResetCause::Request, None))),
                        Ok(Action::End) => Some(End::Exit(Exit::Stopped)),
                        _ => None,
                    };
                    match end {
                        Some(End::Reset(_)) => self.board.set_state(MachineState::Starting, None),
                        Some(End::Exit(_)) => self.board.set_state(MachineState::Stopped, None),
                        None => {}
                    }
                    // Whoever asked may have gone.
                    let _ = reply.send(decision.map(drop));
                    if let Some(end) = end {
                        return Ok(end);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(watch) = &mut watch
                        && self.has_halted(life, watch)
                    {
                        return Ok(End::Exit(Exit::Halted));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(End::Exit(Exit::Stopped)),
            }
        }
    }

    /// Whether the guest has halted for good, as far as is known by now.
    fn has_halted(&self, life: &Life, watch: &mut Watch) -> bool {
        if self.board.status().state != MachineState::Running {
            *watch = Watch::default();
            return false;
        }
        match watch.step(life.cpu_time(), life.all_asleep()) {
            Verdict::Rest => false,
            Verdict::Look => {
                life.look();
                false
            }
            Verdict::Halted => true,
        }
    }

    fn in_force(&self, life: &Life, backing: &[NodeMemory]) -> InForce {
        InForce {
            cpu_model: self.plan.cpu_model,
            exits_wanted: if self.plan.dedicated {
                kvm::exits::wanted()
            } else {
                Vec::new()
            },
            exits_disabled: life.exits_disabled().to_vec(),
            fifo_wanted: self.plan.placement.fifo_priority(),
            vcpus: life.threads().to_vec(),
            memory: backing.to_vec(),
            unit: None,
            process: None,
            sandbox: self.sandbox.state(),
        }
    }

    /// Does what does not end the life.
    fn obey(&self, life: &Life, request: Request) -> Result<Action, Refusal> {
        let state = self.board.status().state;
        let action = lifecycle::decide(state, request)?;
        match action {
            Action::PressButton => life.press_power_button(),
            Action::Pause => {
                life.pause();
                self.board
                    .set_state(MachineState::Paused, Some(PauseReason::Request));
            }
            Action::Resume => {
                self.board.set_state(MachineState::Running, None);
                life.run();
            }
            Action::Nothing | Action::Reset | Action::End => {}
        }
        Ok(action)
    }

    /// Does what the life wishes; says whether it ends.
    fn fulfil(&self, life: &Life, wish: Wish) -> Result<Option<End>, MachineError> {
        let end = match wish {
            Wish::Power(PowerRequest::Off) | Wish::Vcpu(_, Stop::Off) => End::Exit(Exit::PoweredOff),
            Wish::Power(PowerRequest::Reset(cause)) => End::Reset(Cause(cause, None)),
            Wish::Vcpu(_, Stop::Reset) => End::Reset(Cause(ResetCause::Kvm, None)),
            Wish::Vcpu(id, Stop::TripleFault) => End::Reset(Cause(ResetCause::TripleFault, Some(id))),
            Wish::Vcpu(id, Stop::Failed(source)) => return Err(MachineError::Vcpu { id, source }),
            Wish::MemoryLost => return Err(MachineError::MemoryLost),
            Wish::DiskFull(disk) => {
                self.pause_for_room(life, disk);
                return Ok(None);
            }
        };
        Ok(Some(end))
    }

    /// There is no room for what the guest wrote to `disk`. A machine that is paused already stays so, and now says why it
    /// should.
    fn pause_for_room(&self, life: &Life, disk: usize) {
        let path = self
            .plan
            .disks
            .get(disk)
            .map(|disk| disk.path.display().to_string());
        let path = path.unwrap_or_default();
        if self.board.status().state == MachineState::Running {
            log::line(format_args!("paused: no room for disks[{disk}], {path}"));
            life.pause();
        }
        self.board
            .set_state(MachineState::Paused, Some(PauseReason::DiskFull { disk, path }));
    }
}
