//! The hardware watchdog (Documentation/watchdog/watchdog-api.rst): the machine resets when PID 1 stands still.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use crate::failure::chain;
use crate::log::Log;
use crate::sync::lock;
use crate::sys;

const DEVICE: &str = "/dev/watchdog";

/// A watchdog that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {DEVICE}")]
pub struct WatchdogError(#[source] std::io::Error);

/// The watchdog, when it is armed.
#[derive(Debug, Default)]
pub struct Watchdog(Mutex<Option<File>>);

impl Watchdog {
    /// Arms the machine's watchdog; returns the seconds after which it fires, 0 where there is none.
    ///
    /// # Errors
    /// There is one, but it cannot be opened.
    pub fn arm(&self, timeout: Duration, log: &Log) -> Result<u32, WatchdogError> {
        let device = match OpenOptions::new().write(true).open(DEVICE) {
            Ok(device) => device,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(e) => return Err(WatchdogError(e)),
        };
        let wanted = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
        let seconds = sys::set_watchdog_timeout(&device, wanted).unwrap_or_else(|e| {
            log.warning(&format!("the watchdog keeps its own timeout: {e}"));
            wanted
        });
        *lock(&self.0) = Some(device);
        Ok(u32::try_from(seconds).unwrap_or_default())
    }

    /// Starts the timer again.
    pub fn feed(&self) -> std::io::Result<()> {
        match lock(&self.0).as_mut() {
            Some(device) => device.write_all(b"."),
            None => Ok(()),
        }
    }

    /// Stops the timer (the magic close). Only for a machine that stays off or halted: a reboot that hangs is what the
    /// watchdog is for.
    pub fn disarm(&self) {
        if let Some(mut device) = lock(&self.0).take() {
            let _ = device.write_all(b"V");
        }
    }
}

/// Feeds the watchdog three times in each of its periods, for ever.
pub async fn keep_fed(watchdog: &Watchdog, seconds: u32, log: &Log) {
    let mut ticks = tokio::time::interval(Duration::from_secs(seconds.into()) / 3);
    let mut complained = false;
    loop {
        ticks.tick().await;
        if let Err(e) = watchdog.feed()
            && !complained
        {
            complained = true;
            log.error(&format!("cannot feed the watchdog: {}", chain(&e)));
        }
    }
}
