//! A conversation with the TPM.

use std::path::Path;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::command::{Answer, Auth, Call};
use crate::crypt::{Digest, Point, nonce, salt, sha256};
use crate::error::TpmError;
use crate::pcr::{Pcrs, SHA256};
use crate::session::Session;
use crate::transport::{DEVICE, Device, Transport};
use crate::wire::{Reader, Writer};

/// TPM_RH_OWNER and TPM_RH_NULL.
pub(crate) const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;
/// TPM_CAP_TPM_PROPERTIES, and the properties of Part 2, 6.13.
const TPM_PROPERTIES: u32 = 6;
const MANUFACTURER: u32 = 0x105;
const FIRMWARE: u32 = 0x10b;
/// Registers that one command reads at most (Part 3, 22.4).
const AT_ONCE: usize = 8;

/// Who made a TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Letters of the TCG's Vendor ID Registry: `IFX`, `INTC`, `AMD`, `IBM`.
    pub manufacturer: String,
    /// Version of its firmware, as the manufacturer counts: `7.85`.
    pub firmware: String,
}

/// The storage key, while it is loaded.
pub(crate) struct Primary {
    pub(crate) handle: u32,
    pub(crate) name: Vec<u8>,
    point: Point,
}

/// What a session is for.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Authorizes by its key.
    Hmac = 0,
    /// Authorizes by what it has seen to be so.
    Policy = 1,
}

/// A conversation with the TPM, which ends at a deadline.
pub struct Tpm {
    transport: Box<dyn Transport>,
    deadline: Instant,
}

impl std::fmt::Debug for Tpm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tpm")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Tpm {
    /// Begins a conversation that ends `within` so long.
    pub fn new(transport: Box<dyn Transport>, within: Duration) -> Self {
        let deadline = Instant::now() + within;
        Self { transport, deadline }
    }

    /// Begins one with the TPM of the machine below `root`.
    ///
    /// # Errors
    /// It has none.
    pub fn open(root: &Path, within: Duration) -> Result<Self, TpmError> {
        let device = Device::open(&root.join(DEVICE.trim_start_matches('/')))?;
        Ok(Self::new(Box::new(device), within))
    }

    pub(crate) fn call(&mut self, call: Call<'_>, auth: Auth<'_>) -> Result<Answer, TpmError> {
        call.perform(self.transport.as_mut(), self.deadline, auth)
    }

    /// Who made it (GetCapability, 30.2).
    ///
    /// # Errors
    /// It does not answer.
    pub fn identity(&mut self) -> Result<Identity, TpmError> {
        let manufacturer = self.property(MANUFACTURER)?.to_be_bytes();
        let letters = manufacturer.iter().filter(|b| b.is_ascii_graphic());
        let firmware = self.property(FIRMWARE)?;
        Ok(Identity {
            manufacturer: letters.map(|letter| char::from(*letter)).collect(),
            firmware: format!("{}.{}", firmware >> 16, firmware & 0xffff),
        })
    }

    fn property(&mut self, property: u32) -> Result<u32, TpmError> {
        let command = "GetCapability";
        let call = Call {
            name: command,
            code: 0x17a,
            handles: &[],
            parameters: Writer::new().u32(TPM_PROPERTIES).u32(property).u32(1).done(),
            answers_handle: false,
        };
        let answer = self.call(call, Auth::None)?;
        let mut reader = Reader::new(&answer.parameters);
        let mut value = || {
            // moreData, capability, and how many properties there are.
            reader.take(1 + 4 + 4)?;
            (reader.u32()? == property).then(|| reader.u32()).flatten()
        };
        value().ok_or(TpmError::Malformed { command })
    }

    /// Values of registers in the SHA-256 bank, in their order (PCR_Read, 22.4).
    ///
    /// # Errors
    /// It does not answer, or has no such bank.
    pub fn read(&mut self, pcrs: Pcrs) -> Result<Vec<[u8; 32]>, TpmError> {
        let wanted: Vec<u8> = pcrs.iter().collect();
        let mut values = Vec::with_capacity(wanted.len());
        for some in wanted.chunks(AT_ONCE) {
            let read = self.read_some(some.iter().copied().collect())?;
            if let Some(pcr) = some.get(read.len()) {
                return Err(TpmError::NoBank { pcr: *pcr });
            }
            values.extend(read);
        }
        Ok(values)
    }

    fn read_some(&mut self, pcrs: Pcrs) -> Result<Vec<Digest>, TpmError> {
        let command = "PCR_Read";
        let selection = pcrs.selection();
        let call = Call {
            name: command,
            code: 0x17e,
            handles: &[],
            parameters: Writer::new().bytes(&selection).done(),
            answers_handle: false,
        };
        let answer = self.call(call, Auth::None)?;
        let mut reader = Reader::new(&answer.parameters);
        let mut values = || -> Option<Vec<Digest>> {
            // pcrUpdateCounter.
            reader.u32()?;
            for _ in 0..reader.u32()? {
                reader.u16()?;
                let bytes = usize::from(reader.u8()?);
                reader.take(bytes)?;
            }
            let count = reader.u32()?;
            (0..count).map(|_| reader.sized()?.try_into().ok()).collect()
        };
        values().ok_or(TpmError::Malformed { command })
    }

    /// Adds the hash of `event` to a register, in every bank that the TPM has (PCR_Event, 22.3).
    ///
    /// # Errors
    /// It does not answer, or the register is not the operating system's.
    pub fn measure(&mut self, pcr: u8, event: &[u8]) -> Result<(), TpmError> {
        let call = Call {
            name: "PCR_Event",
            code: 0x13c,
            handles: &[u32::from(pcr)],
            parameters: Writer::new().sized(event).done(),
            answers_handle: false,
        };
        self.call(call, Auth::Password).map(drop)
    }

    /// Makes the storage key of the owner's hierarchy (CreatePrimary, 24.1): the same one each time.
    pub(crate) fn primary(&mut self) -> Result<Primary, TpmError> {
        let command = "CreatePrimary";
        let parameters = Writer::new()
            // Neither password nor data of ours.
            .sized(&[0, 0, 0, 0])
            .sized(&storage_key())
            // No outside information, no PCRs of its creation.
            .sized(&[])
            .u32(0)
            .done();
        let call = Call {
            name: command,
            code: 0x131,
            handles: &[OWNER],
            parameters,
            answers_handle: true,
        };
        let answer = self.call(call, Auth::Password)?;
        let primary = Reader::new(&answer.parameters).sized().and_then(|public| {
            Some(Primary {
                handle: answer.handle,
                name: name(public),
                point: point(public)?,
            })
        });
        primary.ok_or(TpmError::Malformed { command })
    }

    /// Begins a session that is salted to the storage key (StartAuthSession, 11.1).
    pub(crate) fn session(&mut self, key: &Primary, kind: Kind, masks: u8) -> Result<Session, TpmError> {
        let command = "StartAuthSession";
        let (salt, sent) = salt(&key.point)?;
        let nonce_caller = nonce()?;
        let point = Writer::new().sized(&sent.x).sized(&sent.y).done();
        let parameters = Writer::new()
            .sized(&nonce_caller)
            .sized(&point)
            .u8(kind as u8)
            // TPMT_SYM_DEF: TPM_ALG_XOR with SHA-256.
            .u16(0x000a)
            .u16(SHA256)
            .u16(SHA256)
            .done();
        let call = Call {
            name: command,
            code: 0x176,
            handles: &[key.handle, NULL],
            parameters,
            answers_handle: true,
        };
        let answer = self.call(call, Auth::None)?;
        let nonce_tpm = Reader::new(&answer.parameters).sized();
        let nonce_tpm = nonce_tpm.ok_or(TpmError::Malformed { command })?;
        Ok(Session::new(answer.handle, &salt, nonce_tpm, nonce_caller, masks))
    }

    /// Gives room in the TPM back (FlushContext, 28.4). What was gone already is so.
    pub(crate) fn flush(&mut self, handle: u32) {
        let call = Call {
            name: "FlushContext",
            code: 0x165,
            handles: &[],
            parameters: Writer::new().u32(handle).done(),
            answers_handle: false,
        };
        let _ = self.call(call, Auth::None);
    }
}

/// Name of an object: its hash algorithm and the hash of its public area (Part 1, 16).
pub(crate) fn name(public: &[u8]) -> Vec<u8> {
    [&SHA256.to_be_bytes()[..], &sha256(&[public])].concat()
}

/// TPMT_PUBLIC of the storage key: ECC on P-256 as the TCG's EK Credential Profile has it for storage (template L-2, with the
/// attributes of a storage root key).
fn storage_key() -> Zeroizing<Vec<u8>> {
    const FIXED_TPM: u32 = 1 << 1;
    const FIXED_PARENT: u32 = 1 << 4;
    const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    const USER_WITH_AUTH: u32 = 1 << 6;
    const NO_DA: u32 = 1 << 10;
    const RESTRICTED: u32 = 1 << 16;
    const DECRYPT: u32 = 1 << 17;
    const ATTRIBUTES: u32 =
        FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | USER_WITH_AUTH | NO_DA | RESTRICTED | DECRYPT;
    Writer::new()
        // TPM_ALG_ECC.
        .u16(0x0023)
        .u16(SHA256)
        .u32(ATTRIBUTES)
        // No policy.
        .sized(&[])
        // What it protects its children with: AES-128, CFB.
        .u16(0x0006)
        .u16(128)
        .u16(0x0043)
        // No scheme; P-256; no KDF.
        .u16(0x0010)
        .u16(0x0003)
        .u16(0x0010)
        // The point is the TPM's to choose.
        .sized(&[0; 32])
        .sized(&[0; 32])
        .done()
}

/// The point of a key like [`storage_key`].
fn point(public: &[u8]) -> Option<Point> {
    let mut reader = Reader::new(public);
    reader.take(2 + 2 + 4)?;
    reader.sized()?;
    reader.take(6 + 2 + 2 + 2)?;
    Point::new(reader.sized()?, reader.sized()?)
}

#[cfg(test)]
mod tests;
