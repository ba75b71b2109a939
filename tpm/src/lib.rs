//! The few things that a node wants of its TPM 2.0, without a daemon and without a library in C.
//!
//! ```text
//!   measure   PCR_Event                                        the boot profile, once a boot
//!   read      GetCapability, PCR_Read                          what it is, what was measured
//!   seal      CreatePrimary ─ StartAuthSession ─ Create        a secret that the TPM gives back while PCRs are as now
//!   unseal    CreatePrimary ─ Load ─ StartAuthSession ─ PolicyPCR ─ Unseal
//!             with a signed policy: LoadExternal ─ VerifySignature before, PolicyPCR ─ PolicyAuthorize within
//! ```
//! Chapter numbers are those of the TCG's TPM 2.0 Library, Part 3 (commands) and Part 1 (architecture).
//!
//! Nothing is kept in the TPM: the storage key is made anew from the owner's seed each time, and is the same one until somebody
//! clears the TPM. What is sealed lies with whoever needs it ([`Sealed`]), and is of no use without this TPM.
//!
//! The secret never passes between processor and TPM in clear: the session that carries it is salted by an ECDH with the storage
//! key, and its parameter is masked (Part 1, 21.2: XOR). Who only listens on the bus hears nothing; who is able to answer in the
//! TPM's place is not kept out, as nothing here knows the TPM from another one.
//!
//! A conversation has a deadline ([`Tpm::new`]): a TPM that does not answer is an error and no reason to wait.

mod command;
mod crypt;
mod error;
mod pcr;
pub mod policy;
mod seal;
mod session;
#[cfg(test)]
mod swtpm;
mod tpm;
mod transport;
mod wire;

pub use error::TpmError;
pub use pcr::{Pcrs, PcrsError, extended};
pub use policy::{SignedPolicy, Signer};
pub use seal::{LONGEST_SECRET, Sealed, Values};
pub use tpm::{Identity, Tpm};
pub use transport::{DEVICE, Device, Transport};
