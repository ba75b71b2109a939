//! How a boot comes to kernel arguments that the loader did not give: by kexec, or through the firmware.
//!
//! A kexec leaves the firmware out, and there are machines that do not come up without it. They are told by what the firmware
//! calls them; `profile.restart` decides for all others. An entry needs a report that names the platform: a machine that would
//! have come up pays with a slower restart, and one whose medium cannot keep arguments goes without them.

use serde::{Deserialize, Serialize};

use crate::config::RestartChoice;
use crate::topology::Platform;

/// How the kernel is started with other arguments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// By itself, at once.
    #[default]
    Kexec,
    /// By the firmware and the loader, which finds the arguments in the entry of the running slot.
    Reboot,
}

/// A platform that does not come up after a kexec. A part that is not given fits everything.
struct Quirk {
    vendor: &'static str,
    product: Option<&'static str>,
    board: Option<&'static str>,
    why: &'static str,
}

/// None is known: what is reported comes here.
const QUIRKS: &[Quirk] = &[];

impl Quirk {
    fn fits(&self, platform: &Platform) -> bool {
        let same = |wanted: Option<&str>, is: &str| wanted.is_none_or(|wanted| wanted == is);
        platform.vendor == self.vendor
            && same(self.product, &platform.product)
            && same(self.board, &platform.board)
    }
}

/// How `platform` is restarted where `choice` is declared, and why, where it is not by kexec.
pub(super) fn restart(choice: RestartChoice, platform: &Platform) -> (Restart, Option<String>) {
    with(QUIRKS, choice, platform)
}

fn with(quirks: &[Quirk], choice: RestartChoice, platform: &Platform) -> (Restart, Option<String>) {
    match choice {
        RestartChoice::Kexec => (Restart::Kexec, None),
        RestartChoice::Reboot => (
            Restart::Reboot,
            Some("kernel arguments come by a restart of the machine, as `profile.restart` says".to_owned()),
        ),
        RestartChoice::Auto => match quirks.iter().find(|quirk| quirk.fits(platform)) {
            None => (Restart::Kexec, None),
            Some(quirk) => (
                Restart::Reboot,
                Some(format!(
                    "kernel arguments come by a restart of the machine: {} {} does not come up after a kexec ({}); \
                     `profile.restart = \"kexec\"` tries all the same",
                    platform.vendor, platform.product, quirk.why
                )),
            ),
        },
    }
}

#[cfg(test)]
mod tests;
