//! A disk whose writes QEMU logs while a machine uses it, and what power cuts would have left of it.
//!
//! `AXION_CUTS` says how many cuts are looked at (`all`: every one), `AXION_CUTS_SEED` which: it is told where one has done harm.

#![expect(clippy::print_stdout, reason = "figures of a test are part of its output")]

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axion_install::recording::{self, Operation, log_writes};
use axion_install::replay::{self, Cuts};
use axion_install::torture::Chance;
use axion_lab::spec::DiskContent;

use crate::installed::open;

/// What a test run has time for.
const SAMPLE: usize = 30;

/// A disk that is recorded.
pub struct Recorded {
    disk: PathBuf,
    log: PathBuf,
    before: recording::Disk,
    seed: u64,
}

impl From<&Recorded> for DiskContent {
    fn from(recorded: &Recorded) -> Self {
        Self::Recorded {
            disk: recorded.disk.clone(),
            log: recorded.log.clone(),
        }
    }
}

impl Recorded {
    /// Remembers what the raw file `disk` holds; one machine may use the recorded disk from then on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn begin(disk: &Path) -> Result<Self> {
        let before = recording::Disk::of(&File::open(disk)?)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let seed = match env::var("AXION_CUTS_SEED") {
            Ok(seed) => seed.parse().context("AXION_CUTS_SEED is no number")?,
            Err(_) => now,
        };
        Ok(Self {
            disk: disk.to_owned(),
            log: disk.with_extension("writes"),
            before,
            seed,
        })
    }

    fn operations(&self) -> Result<Vec<Operation>> {
        let log = std::io::BufReader::new(File::open(&self.log)?);
        Ok(log_writes::read(log)?)
    }

    /// Looks at disks that cuts would have left; `what` the machine did is told with the figures.
    ///
    /// # Errors
    /// A cut has done harm.
    pub fn check(&self, what: &str) -> Result<()> {
        let cuts = match env::var("AXION_CUTS") {
            Ok(all) if all == "all" => Cuts::All,
            Ok(count) => Cuts::Sample(
                count
                    .parse()
                    .context("AXION_CUTS is neither a number nor `all`")?,
            ),
            Err(_) => Cuts::Sample(SAMPLE),
        };
        let mut chance = Chance::new(self.seed);
        let report = replay::check(&self.before, &self.operations()?, cuts, &mut chance)
            .with_context(|| format!("{what}, AXION_CUTS_SEED={}", self.seed))?;
        println!("{what}: {report}");
        Ok(())
    }

    /// Makes of the file what a cut behind one of the writes would have left, taken at random.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn cut(&self) -> Result<()> {
        let operations = self.operations()?;
        let mut chance = Chance::new(self.seed);
        let behind = 1 + chance.below(operations.len());
        let left = self
            .before
            .cut_behind(&operations, behind, |versions| chance.below(versions))?;
        println!("cut behind operation {behind} of {}", operations.len());
        let file = File::create(&self.disk)?;
        file.set_len(axion_install::storage::Storage::size(&self.before))?;
        drop(file);
        Ok(left.copy_to(&open(&self.disk)?)?)
    }
}
