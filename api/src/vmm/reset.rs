//! Why a machine was reset.

use serde::{Deserialize, Serialize};

/// What reset a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ResetCause {
    /// Somebody asked for it from outside.
    Request,
    /// The guest, by the ACPI reset register.
    Acpi,
    /// The guest, by the keyboard controller: what Axion's kernel arguments make of an ordinary reboot.
    Keyboard,
    /// The guest's kernel after a panic: by one of the two above, having asked for a warm boot, as Axion's kernel arguments have
    /// it do (`reboot=panic_warm`).
    Panic,
    /// A triple fault: the guest crashed below its kernel, or its arguments say `reboot=t`.
    TripleFault,
    /// KVM, on behalf of the guest.
    Kvm,
}

impl ResetCause {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Request,
        Self::Acpi,
        Self::Keyboard,
        Self::Panic,
        Self::TripleFault,
        Self::Kvm,
    ];

    /// Its name in answers and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Acpi => "acpi",
            Self::Keyboard => "keyboard",
            Self::Panic => "panic",
            Self::TripleFault => "triple-fault",
            Self::Kvm => "kvm",
        }
    }
}

/// Resets since the machine's process started, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Resets {
    /// Cause of the last one, where there was one.
    pub last: Option<ResetCause>,
    /// Asked for from outside.
    pub request: u64,
    /// By the ACPI reset register.
    pub acpi: u64,
    /// By the keyboard controller.
    pub keyboard: u64,
    /// After a panic.
    pub panic: u64,
    /// By triple faults.
    pub triple_fault: u64,
    /// By KVM.
    pub kvm: u64,
}

impl Resets {
    /// Counts one.
    pub const fn add(&mut self, cause: ResetCause) {
        self.last = Some(cause);
        let count = match cause {
            ResetCause::Request => &mut self.request,
            ResetCause::Acpi => &mut self.acpi,
            ResetCause::Keyboard => &mut self.keyboard,
            ResetCause::Panic => &mut self.panic,
            ResetCause::TripleFault => &mut self.triple_fault,
            ResetCause::Kvm => &mut self.kvm,
        };
        *count = count.saturating_add(1);
    }

    /// How many there were of a cause.
    pub const fn of(&self, cause: ResetCause) -> u64 {
        match cause {
            ResetCause::Request => self.request,
            ResetCause::Acpi => self.acpi,
            ResetCause::Keyboard => self.keyboard,
            ResetCause::Panic => self.panic,
            ResetCause::TripleFault => self.triple_fault,
            ResetCause::Kvm => self.kvm,
        }
    }
}
