//! Vectors and doorbells that are recorded, for the tests of functions.

use super::*;
use crate::kvm::KvmError;
use crate::pci::Wiring;

/// What a machine without KVM saw.
#[derive(Clone, Default)]
pub struct Recorder {
    /// MSIs delivered.
    pub delivered: Arc<Mutex<Vec<Msi>>>,
    /// Times a vector was routed.
    pub routed: Arc<Mutex<usize>>,
    /// Vectors that were connected and disconnected.
    pub connected: Arc<Mutex<Vec<bool>>>,
    /// Addresses of doorbells.
    pub doorbells: Arc<Mutex<Vec<u64>>>,
}

impl Recorder {
    /// Data of the MSIs since the last call.
    pub fn take(&self) -> Vec<u32> {
        self.delivered
            .lock()
            .unwrap()
            .drain(..)
            .map(|msi| msi.data)
            .collect()
    }
}

struct Fake {
    recorder: Recorder,
    msi: Mutex<Option<Msi>>,
    event: Arc<EventFd>,
}

impl MsiVector for Fake {
    fn route(&self, msi: Msi) {
        *self.recorder.routed.lock().unwrap() += 1;
        *self.msi.lock().unwrap() = Some(msi);
    }

    fn raise(&self) {
        let msi = self.msi.lock().unwrap().expect("routed before it is raised");
        self.recorder.delivered.lock().unwrap().push(msi);
    }

    fn event(&self) -> Arc<EventFd> {
        self.event.clone()
    }

    fn connect(&self, connected: bool) {
        self.recorder.connected.lock().unwrap().push(connected);
    }
}

impl Wiring for Recorder {
    fn vector(&self) -> Result<Box<dyn MsiVector>, KvmError> {
        Ok(Box::new(Fake {
            recorder: self.clone(),
            msi: Mutex::new(None),
            event: Arc::new(EventFd::new(0).unwrap()),
        }))
    }

    fn doorbell(&self, address: u64, _event: &EventFd) -> Result<(), KvmError> {
        self.doorbells.lock().unwrap().push(address);
        Ok(())
    }
}
