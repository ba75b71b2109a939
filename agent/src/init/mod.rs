//! The agent's line to PID 1.
//!
//! One task ([`Init::run`]) keeps the connection, with back-off when it is lost, and a picture of init's units. Signals
//! are forwarded as events and otherwise only say that the picture is old; it is always replaced whole by what
//! `ListUnits` answers, so neither a lost nor a late signal can bend it. While there is no connection there is no
//! picture: who needs one is told so ([`InitError::Disconnected`]) instead of being shown an old one.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axion_api::event::What;
use axion_api::init::{INTERFACE, InitProxy, Phase, UnitState, UnitStatus, connect};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Notify, watch};
use zbus::{MatchRule, Message, MessageStream, message};

use crate::events::Events;

/// How long init may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Pauses between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Signals that may wait to be read.
const QUEUE: NonZeroUsize = match NonZeroUsize::new(256) {
    Some(queue) => queue,
    None => NonZeroUsize::MIN,
};

/// Why init did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is no connection.
    #[error("init cannot be reached at the moment")]
    Disconnected,
    /// It took too long.
    #[error("init did not answer within {} s", ANSWER.as_secs())]
    Timeout,
    /// No such unit.
    #[error("there is no unit `{0}`")]
    NoSuchUnit(String),
    /// A unit of that name exists.
    #[error("init: {0}")]
    Exists(String),
    /// It refused the arguments.
    #[error("init refused: {0}")]
    Refused(String),
    /// It failed.
    #[error("init failed: {0}")]
    Failed(String),
}

impl From<zbus::Error> for InitError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::FDO(error) => match *error {
                zbus::fdo::Error::UnknownObject(text) => Self::NoSuchUnit(text),
                zbus::fdo::Error::FileExists(text) => Self::Exists(text),
                zbus::fdo::Error::InvalidArgs(text) => Self::Refused(text),
                zbus::fdo::Error::Failed(text) => Self::Failed(text),
                other => Self::Failed(other.to_string()),
            },
            zbus::Error::InputOutput(_) => Self::Disconnected,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Waits for init's answer to a call.
pub async fn answer<T>(call: impl Future<Output = zbus::Result<T>>) -> Result<T, InitError> {
    tokio::time::timeout(ANSWER, call)
        .await
        .map_err(|_| InitError::Timeout)?
        .map_err(InitError::from)
}

/// A unit of init as the agent last saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What init says.
    pub status: UnitStatus,
    /// It ended because it was asked to, rather than by itself.
    pub was_stopped: bool,
}

/// Init's units by name.
pub type Units = BTreeMap<String, Unit>;

/// The agent's line to PID 1.
pub struct Init {
    socket: PathBuf,
    events: Arc<Events>,
    link: Mutex<Link>,
    outdated: Notify,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Link {
    proxy: Option<InitProxy<'static>>,
    units: Option<Arc<Units>>,
    /// Refreshes that were asked for, and those of them that the picture answers.
    asked: u64,
    answered: u64,
    /// Units that were seen on their way down and have not run since.
    stopping: BTreeSet<String>,
}

impl Init {
    /// A line to the init that listens at `socket`; [`Self::run`] brings it up.
    pub fn new(socket: PathBuf, events: Arc<Events>) -> Self {
        Self {
            socket,
            events,
            link: Mutex::default(),
            outdated: Notify::new(),
            changed: watch::Sender::new(()),
        }
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Init's units.
    pub fn units(&self) -> Result<Arc<Units>, InitError> {
        self.link().units.clone().ok_or(InitError::Disconnected)
    }

    /// Wakes when the picture of the units was replaced, or lost.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until the units are known.
    pub async fn known(&self) {
        let mut changed = self.watch();
        while self.units().is_err() && changed.changed().await.is_ok() {}
    }

    /// Init's methods; to be called through [`answer`].
    pub fn proxy(&self) -> Result<InitProxy<'static>, InitError> {
        self.link().proxy.clone().ok_or(InitError::Disconnected)
    }

    /// Waits until the picture of the units is newer than this call.
    pub async fn refresh(&self) -> Result<(), InitError> {
        let mut changed = self.changed.subscribe();
        let number = {
            let mut link = self.link();
            link.asked += 1;
            link.asked
        };
        self.outdated.notify_one();
        let wait = async {
            loop {
                changed.borrow_and_update();
                {
                    let link = self.link();
                    if link.proxy.is_none() {
                        return Err(InitError::Disconnected);
                    }
                    if link.answered >= number {
                        return Ok(());
                    }
                }
                changed.changed().await.map_err(|_| InitError::Disconnected)?;
            }
        };
        tokio::time::timeout(ANSWER, wait)
            .await
            .map_err(|_| InitError::Timeout)?
    }

    /// Keeps the connection and the picture; never ends.
    pub async fn run(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.session().await {
                Ok(()) => {
                    tracing::warn!("the connection to init was lost");
                    pause = FIRST_PAUSE;
                }
                Err(error) if pause == FIRST_PAUSE => {
                    tracing::warn!("cannot connect to init at {}: {error}", self.socket.display());
                }
                Err(_) => {}
            }
            self.link().disconnect();
            self.changed.send_replace(());
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection, until it is lost.
    async fn session(&self) -> zbus::Result<()> {
        let proxy = connect(&self.socket.to_string_lossy()).await?;
        let signals = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .interface(INTERFACE)
            .build()?;
        let connection = proxy.inner().connection();
        let mut signals = MessageStream::for_match_rule(signals, connection, Some(QUEUE)).await?;
        self.link().proxy = Some(proxy.clone());
        self.outdated.notify_one();
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Some(signal) => self.heard(&signal?),
                    None => return Ok(()),
                },
                () = self.outdated.notified() => self.replace(&proxy, &mut signals).await?,
            }
        }
    }

    /// Replaces the picture of the units by the present one.
    async fn replace(&self, proxy: &InitProxy<'_>, signals: &mut MessageStream) -> zbus::Result<()> {
        let asked = self.link().asked;
        let list = answer(proxy.list_units());
        tokio::pin!(list);
        let listed = loop {
            tokio::select! {
                listed = &mut list => break listed,
                Some(signal) = signals.next() => self.heard(&signal?),
            }
        };
        let listed = listed.map_err(|error| zbus::Error::Failure(error.to_string()))?;
        // What init said before it answered is in the queue by now, and must be known first: a unit that is listed as
        // ended may have been announced as stopping.
        while let Some(Some(signal)) = signals.next().now_or_never() {
            self.heard(&signal?);
        }
        self.link().replace(listed, asked);
        self.changed.send_replace(());
        Ok(())
    }

    fn heard(&self, signal: &Message) {
        if let Err(error) = self.take(signal) {
            tracing::warn!("init sent a signal that cannot be read: {error}");
        }
    }

    fn take(&self, signal: &Message) -> zbus::Result<()> {
        let header = signal.header();
        match header.member().map(|member| member.as_str()) {
            Some("UnitChanged") => {
                let unit: UnitStatus = signal.body().deserialize()?;
                self.link().observe(&unit);
                self.events.publish(What::Unit(unit));
                self.outdated.notify_one();
            }
            Some("UnitRemoved") => self.outdated.notify_one(),
            Some("PoolChanged") => {
                let event: String = signal.body().deserialize()?;
                match serde_json::from_str(&event) {
                    Ok(event) => self.events.publish(What::Pool(event)),
                    Err(error) => tracing::warn!("init tells of a pool what cannot be read: {error}"),
                }
            }
            Some("PhaseFinished") => {
                let phase: Phase = signal.body().deserialize()?;
                self.events.publish(What::Phase(phase));
            }
            Some("Noticed") => {
                let (about, text) = signal.body().deserialize()?;
                self.events.publish(What::Notice { about, text });
            }
            _ => {}
        }
        Ok(())
    }
}

impl Link {
    fn replace(&mut self, listed: Vec<UnitStatus>, answered: u64) {
        // The list may be older than the last signals: it tells of no unit that it runs again.
        let stopping = listed.iter().filter(|unit| unit.state == UnitState::Stopping);
        self.stopping.extend(stopping.map(|unit| unit.name.clone()));
        let units = listed.into_iter().map(|status| {
            let was_stopped = self.stopping.contains(&status.name);
            (status.name.clone(), Unit { status, was_stopped })
        });
        let units: Units = units.collect();
        self.stopping.retain(|name| units.contains_key(name));
        self.units = Some(Arc::new(units));
        self.answered = answered;
    }

    fn disconnect(&mut self) {
        // Numbers of refreshes go on, so that nobody takes the next picture for an earlier one.
        *self = Self {
            asked: self.asked,
            ..Self::default()
        };
    }

    /// Takes note of a signal.
    fn observe(&mut self, unit: &UnitStatus) {
        match unit.state {
            UnitState::Stopping => {
                self.stopping.insert(unit.name.clone());
            }
            UnitState::Running | UnitState::BackOff => {
                self.stopping.remove(&unit.name);
            }
            UnitState::Inactive | UnitState::Failed => {}
        }
    }
}
