//! Runs the commands of a build step: a line of progress on the terminal, everything in a log file, and the end of
//! that file when the command fails.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::layout;

const TAIL: usize = 25;

/// A step in progress.
pub struct Step {
    name: String,
    started: Instant,
    log: PathBuf,
    bar: ProgressBar,
}

impl Step {
    /// Starts a step; `name` appears on the terminal, its log is `NAME.log`.
    pub fn start(name: &str) -> Result<Self> {
        fs::create_dir_all(layout::logs())?;
        let log = layout::logs().join(format!("{}.log", name.replace([' ', '/'], "-")));
        File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let bar = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}")?;
            let bar = ProgressBar::new_spinner()
                .with_style(style)
                .with_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            eprintln!("    {name} ...");
            ProgressBar::hidden()
        };
        Ok(Self {
            name: name.to_owned(),
            started: Instant::now(),
            log,
            bar,
        })
    }

    /// Runs a command of the step. Its output goes to the log; its last line is shown while it runs.
    pub fn run(&self, command: &mut Command) -> Result<()> {
        let mut log = File::options().append(true).open(&self.log)?;
        writeln!(log, "+ {command:?}")?;
        let (reader, writer) = std::io::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().to_string_lossy()))?;
        // The command keeps copies of the pipe's writing end; the pipe ends only when they are closed.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        for line in BufReader::new(reader).split(b'\n') {
            let line = line?;
            log.write_all(&line)?;
            log.write_all(b"\n")?;
            self.bar
                .set_message(String::from_utf8_lossy(&line).trim().to_owned());
        }
        let status = child.wait()?;
        if !status.success() {
            self.bar.finish_and_clear();
            let text = fs::read(&self.log)?;
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                eprintln!("    | {line}");
            }
            bail!(
                "{}: {:?} ended with {status}; the whole log is {}",
                self.name,
                command.get_program(),
                self.log.display()
            );
        }
        Ok(())
    }

    /// Ends the step with a line that says how long it took.
    pub fn done(self) {
        self.bar.finish_and_clear();
        eprintln!(
            "  ✓ {:<28} {:>8.1} s",
            self.name,
            self.started.elapsed().as_secs_f64()
        );
    }
}

/// The standard output of a command that must succeed.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {name}"))?;
    if !out.status.success() {
        bail!(
            "{command:?} ended with {}: {}",
            out.status,
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
