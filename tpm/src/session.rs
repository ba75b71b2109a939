//! Sessions with a key of their own (Part 1, 19.6): what authorizes a command, proves its answer, and masks its first parameter.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypt::{Digest, hmac, kdfa, mask, nonce, sha256};
use crate::error::TpmError;
use crate::wire::{Reader, Writer};

/// The first parameter of the command is masked (TPMA_SESSION, Part 2, 8.4).
pub(crate) const DECRYPT: u8 = 0x20;
/// The first parameter of the answer is masked.
pub(crate) const ENCRYPT: u8 = 0x40;

/// A session that is good for one command: it is gone in the TPM once that has succeeded.
pub(crate) struct Session {
    pub(crate) handle: u32,
    key: Zeroizing<Vec<u8>>,
    nonce_tpm: Vec<u8>,
    nonce_caller: Digest,
    attributes: u8,
}

impl Session {
    /// The session `handle` that `salt` and these nonces made; what it masks is in `attributes`.
    pub(crate) fn new(
        handle: u32,
        salt: &Digest,
        nonce_tpm: &[u8],
        nonce_caller: Digest,
        attributes: u8,
    ) -> Self {
        Self {
            handle,
            key: kdfa(salt, "ATH", nonce_tpm, &nonce_caller, salt.len()),
            nonce_tpm: nonce_tpm.to_vec(),
            nonce_caller,
            attributes,
        }
    }

    /// Masks the first parameter where that is asked for, and writes the authorization of the command (Part 1, 18.7).
    pub(crate) fn authorize(
        &mut self,
        code: u32,
        names: &[&[u8]],
        parameters: &mut Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.nonce_caller = nonce()?;
        if self.attributes & DECRYPT != 0 {
            mask_first(parameters, &self.key, &self.nonce_caller, &self.nonce_tpm);
        }
        let names = names.concat();
        let parameters = sha256(&[&code.to_be_bytes(), &names, parameters]);
        let proof = hmac(
            &self.key,
            &[
                &parameters,
                &self.nonce_caller,
                &self.nonce_tpm,
                &[self.attributes],
            ],
        );
        Ok(Writer::new()
            .u32(self.handle)
            .sized(&self.nonce_caller)
            .u8(self.attributes)
            .sized(&proof)
            .done())
    }

    /// Checks that the answer is the TPM's (Part 1, 18.8), and unmasks its first parameter where that was asked for. `area` is
    /// what the answer has behind its parameters.
    pub(crate) fn accept(
        &mut self,
        command: &'static str,
        code: u32,
        parameters: &mut Zeroizing<Vec<u8>>,
        area: &[u8],
    ) -> Result<(), TpmError> {
        let mut area = Reader::new(area);
        let mut read = || Some((area.sized()?, area.u8()?, area.sized()?));
        let (nonce, attributes, proof) = read().ok_or(TpmError::Malformed { command })?;
        let success = 0_u32.to_be_bytes();
        let hashed = sha256(&[&success, &code.to_be_bytes(), parameters]);
        let expected = hmac(&self.key, &[&hashed, nonce, &self.nonce_caller, &[attributes]]);
        if !bool::from(expected[..].ct_eq(proof)) {
            return Err(TpmError::Forged { command });
        }
        self.nonce_tpm = nonce.to_vec();
        if self.attributes & ENCRYPT != 0 {
            mask_first(parameters, &self.key, &self.nonce_tpm, &self.nonce_caller);
        }
        Ok(())
    }
}

/// Masks the buffer that `parameters` begin with, and not its length.
fn mask_first(parameters: &mut [u8], key: &[u8], newer: &[u8], older: &[u8]) {
    let length = Reader::new(parameters).u16().map(usize::from);
    let first = length.and_then(|length| parameters.get_mut(2..2 + length));
    if let Some(first) = first {
        mask(key, newer, older, first);
    }
}

#[cfg(test)]
mod tests;
