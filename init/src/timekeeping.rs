//! The clock: the kernel takes it from the RTC, then NTP corrects it. Nothing waits for it.
//!
//! A clock that is far off is stepped, a near one is slewed, so that time never jumps on a running node.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use rsntp::AsyncSntpClient;
use tokio::sync::watch;

use crate::clock;
use crate::failure::chain;
use crate::names::Names;
use crate::network::State;
use crate::node::Node;
use crate::sync::lock;
use crate::sys;

const NTP_PORT: u16 = 123;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Offsets above this are stepped (seconds): slewing at 500 ppm would take a quarter of an hour.
const STEP_ABOVE: f64 = 0.5;

/// What to do about an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Correction {
    /// Set the clock, which is this many microseconds behind.
    Step(i64),
    /// Let the clock run faster or slower until it has caught up.
    Slew(i64),
}

fn correction(offset_seconds: f64) -> Option<Correction> {
    // A century is beyond any clock; f64 keeps microseconds exactly up to there.
    if !offset_seconds.is_finite() || offset_seconds.abs() > 4e9 {
        return None;
    }
    #[allow(clippy::cast_possible_truncation)]
    let micros = (offset_seconds * 1e6) as i64;
    Some(if offset_seconds.abs() > STEP_ABOVE {
        Correction::Step(micros)
    } else {
        Correction::Slew(micros)
    })
}

/// The clock cannot be set.
#[derive(Debug, thiserror::Error)]
enum ClockError {
    #[error(transparent)]
    Name(#[from] crate::names::NameError),
    #[error("{server} ({address}) did not give the time")]
    Ntp {
        server: String,
        address: IpAddr,
        source: rsntp::SynchronizationError,
    },
    #[error("{0} gave a time that cannot be")]
    Absurd(String),
    #[error("cannot set the clock")]
    Set(#[source] std::io::Error),
}

/// Puts a clock that a dead battery left in the past to the time of the image: certificates that are made now must not
/// be older than the program that makes them. Returns whether it did.
pub fn not_before(image: &Path) -> bool {
    let Ok(made) = std::fs::metadata(image).and_then(|m| m.modified()) else {
        return false;
    };
    SystemTime::now() < made && set(made).is_ok()
}

fn set(time: SystemTime) -> std::io::Result<()> {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(clock_settime(
        ClockId::CLOCK_REALTIME,
        TimeSpec::from(since_1970),
    )?)
}

/// Keeps the clock in step with `servers`, or with those that DHCP names, for ever.
pub async fn run(
    node: Arc<Node>,
    servers: Vec<String>,
    prefer_learnt: bool,
    interval: Duration,
    mut network: watch::Receiver<State>,
    names: Arc<Names>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        if network.wait_for(State::is_up).await.is_err() {
            return;
        }
        let learnt = if prefer_learnt {
            network.borrow().ntp()
        } else {
            Vec::new()
        };
        let mut failure = None;
        for server in learnt.iter().chain(&servers) {
            match synchronize(server, &names).await {
                Ok(offset) => {
                    note(
                        &node,
                        true,
                        &format!("in step with {server}, was {offset:+.6} s off"),
                    );
                    failure = None;
                    break;
                }
                Err(e) => failure = Some(chain(&e)),
            }
        }
        pause = match failure {
            None => interval,
            Some(why) => {
                note(&node, false, &why);
                if pause == interval {
                    FIRST_PAUSE
                } else {
                    (pause * 2).min(LONGEST_PAUSE)
                }
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// What D-Bus says of the clock; once in step it stays so, an outage of the servers does not make it wrong.
fn note(node: &Node, in_step: bool, detail: &str) {
    let first = {
        let mut status = lock(&node.status);
        let first = in_step && !status.time_synchronized;
        status.time_synchronized |= in_step;
        status.time_detail = detail.to_owned();
        first
    };
    if first {
        node.log.info(&format!("clock: {detail}"));
    }
}

async fn synchronize(server: &str, names: &Names) -> Result<f64, ClockError> {
    let address = names.first(server).await?;
    let client = AsyncSntpClient::new();
    let result = client
        .synchronize(SocketAddr::new(address, NTP_PORT).to_string())
        .await
        .map_err(|source| ClockError::Ntp {
            server: server.to_owned(),
            address,
            source,
        })?;
    let offset = result.clock_offset().as_secs_f64();
    match correction(offset).ok_or_else(|| ClockError::Absurd(server.to_owned()))? {
        Correction::Step(micros) => {
            let now = i128::from(clock::unix_us()) + i128::from(micros);
            let now = u64::try_from(now).map_err(|_| ClockError::Absurd(server.to_owned()))?;
            set(SystemTime::UNIX_EPOCH + Duration::from_micros(now)).map_err(ClockError::Set)?;
            sys::mark_clock_synchronized().map_err(ClockError::Set)?;
        }
        Correction::Slew(micros) => sys::slew_clock(micros).map_err(ClockError::Set)?,
    }
    Ok(offset)
}

#[cfg(test)]
mod tests;
