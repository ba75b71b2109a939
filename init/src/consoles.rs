//! Which terminals the machine has, and what each is for.
//!
//! A serial port is used when a UART answers (`/proc/tty/driver/serial`); writing to one that is not there costs
//! minutes on some machines.

use std::path::Path;

use axion_core::cmdline::CommandLine;
use axion_core::config::Console;

/// The screen's first virtual terminal.
const SCREEN: &str = "tty1";

/// The terminals of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terminals {
    /// `tty1`, where the machine has a screen.
    pub screen: Option<String>,
    /// Serial ports and hypervisor consoles behind which there is hardware.
    pub serial: Vec<String>,
    /// Those that carry kernel messages, the last one being `/dev/console`.
    pub kernel: Vec<String>,
}

impl Terminals {
    /// Reads `/proc` and `/sys` below `root`.
    pub fn read(root: &Path) -> Self {
        let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
        let kernel: Vec<String> = text("sys/class/tty/console/active")
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let mut serial = parse_uarts(&text("proc/tty/driver/serial"));
        serial.extend(kernel.iter().filter(|name| name.starts_with("hvc")).cloned());
        let screen = has_display(root).then(|| SCREEN.to_owned());
        Self {
            screen,
            serial,
            kernel,
        }
    }

    /// Every terminal that a person may be looking at.
    pub fn all(&self) -> Vec<String> {
        let mut all: Vec<String> = self.screen.iter().chain(&self.serial).cloned().collect();
        if let Some(last) = self.kernel.last()
            && !all.contains(last)
            && last != "tty0"
        {
            all.push(last.clone());
        }
        all
    }

    /// The terminals that show the TUI: the configured ones, else the screen and every serial line that is not `log`.
    pub fn for_tui(&self, config: &Console, log: Option<&str>) -> Vec<String> {
        if !config.lines.is_empty() {
            return config.lines.clone();
        }
        self.screen
            .iter()
            .chain(&self.serial)
            .filter(|name| Some(name.as_str()) != log)
            .cloned()
            .collect()
    }

    /// Whether kernel messages appear on one of `lines`.
    pub fn tear(&self, lines: &[String]) -> bool {
        // tty0 is whatever virtual terminal is in front.
        self.kernel
            .iter()
            .any(|k| lines.contains(k) || (k == "tty0" && lines.iter().any(|l| l == SCREEN)))
    }
}

/// The line that carries the log and no TUI; the kernel command line wins.
pub fn log_line<'a>(cmdline: &'a CommandLine, config: &'a Console) -> Option<&'a str> {
    cmdline
        .get("axion.log")
        .filter(|line| !line.is_empty())
        .or(config.log.as_deref())
}

/// Whether something shows the virtual terminals: a bound console driver other than the dummy one
/// (Documentation/driver-api/tty/console.rst). The kernel has `tty1` on a machine without a screen, too.
fn has_display(root: &Path) -> bool {
    let Ok(drivers) = std::fs::read_dir(root.join("sys/class/vtconsole")) else {
        return false;
    };
    let text = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    drivers.flatten().any(|driver| {
        let bound = text(driver.path().join("bind")).trim() == "1";
        bound && !text(driver.path().join("name")).contains("dummy")
    })
}

/// Ports in `/proc/tty/driver/serial` (Documentation/driver-api/serial/driver.rst) that have a UART.
fn parse_uarts(text: &str) -> Vec<String> {
    let port = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        let number: u32 = number.trim().parse().ok()?;
        let kind = rest
            .split_whitespace()
            .find_map(|word| word.strip_prefix("uart:"))?;
        (kind != "unknown").then(|| format!("ttyS{number}"))
    };
    text.lines().filter_map(port).collect()
}

#[cfg(test)]
mod tests;
