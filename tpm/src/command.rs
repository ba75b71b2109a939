//! One command and its answer (Part 1, 18): header, handles, authorization, parameters.

use std::time::Instant;

use nix::poll::poll;
use zeroize::Zeroizing;

use crate::error::{TpmError, base};
use crate::session::Session;
use crate::transport::Transport;
use crate::wire::{Reader, Writer};

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// TPM_RS_PW: the authorization is a password, here always the empty one.
const PASSWORD: u32 = 0x4000_0009;
/// Bytes before a command's handles and an answer's.
const HEADER: usize = 10;
/// Codes that ask for the same command again: TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_RETRY.
const AGAIN: [u32; 3] = [0x908, 0x90a, 0x922];
/// Pause before that, milliseconds.
const PAUSE: u8 = 20;

/// A command.
pub(crate) struct Call<'c> {
    pub(crate) name: &'static str,
    /// TPM_CC (Part 2, 6.5.2).
    pub(crate) code: u32,
    pub(crate) handles: &'c [u32],
    pub(crate) parameters: Zeroizing<Vec<u8>>,
    /// Whether its answer begins with a handle.
    pub(crate) answers_handle: bool,
}

/// What says that a command may be given, for its first handle.
pub(crate) enum Auth<'s> {
    /// It needs nothing.
    None,
    /// The empty password.
    Password,
    /// A session with a key; the names of the handles go into its HMAC.
    Session(&'s mut Session, &'s [&'s [u8]]),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) handle: u32,
    pub(crate) parameters: Zeroizing<Vec<u8>>,
}

impl Call<'_> {
    /// Gives the command, and takes its answer.
    pub(crate) fn perform(
        mut self,
        transport: &mut dyn Transport,
        deadline: Instant,
        mut auth: Auth<'_>,
    ) -> Result<Answer, TpmError> {
        let area = match &mut auth {
            Auth::None => None,
            Auth::Password => Some(password()),
            Auth::Session(session, names) => {
                Some(session.authorize(self.code, names, &mut self.parameters)?)
            }
        };
        let bytes = self.marshal(area.as_ref().map(|area| area.as_slice()));
        let answer = self.send(transport, deadline, &bytes)?;
        self.read(&answer, auth)
    }

    fn marshal(&self, area: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut body = Writer::new();
        for handle in self.handles {
            body = body.u32(*handle);
        }
        if let Some(area) = area {
            body = body.u32(length(area)).bytes(area);
        }
        let body = body.bytes(&self.parameters).done();
        let tag = if area.is_some() { SESSIONS } else { NO_SESSIONS };
        let whole = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        Writer::new()
            .u16(tag)
            .u32(whole)
            .u32(self.code)
            .bytes(&body)
            .done()
    }

    fn send(
        &self,
        transport: &mut dyn Transport,
        deadline: Instant,
        bytes: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let device = |source| TpmError::Device {
            action: "talk to",
            source,
        };
        loop {
            let answer = transport.transmit(bytes, deadline).map_err(device)?;
            let code = answer.get(6..HEADER).and_then(|code| Reader::new(code).u32());
            if !code.is_some_and(|code| AGAIN.contains(&code)) || Instant::now() >= deadline {
                return Ok(answer);
            }
            // Nothing announces that it has time.
            let _ = poll(&mut [], PAUSE);
        }
    }

    fn read(&self, bytes: &[u8], auth: Auth<'_>) -> Result<Answer, TpmError> {
        let malformed = || TpmError::Malformed { command: self.name };
        let mut reader = Reader::new(bytes);
        let (tag, size, code) = header(&mut reader).ok_or_else(malformed)?;
        if usize::try_from(size).ok() != Some(bytes.len()) {
            return Err(malformed());
        }
        if code != 0 {
            return Err(TpmError::Refused {
                command: self.name,
                code: base(code),
            });
        }
        let handle = if self.answers_handle {
            reader.u32().ok_or_else(malformed)?
        } else {
            0
        };
        let mut parameters = if tag == SESSIONS {
            let length = reader.u32().and_then(|length| usize::try_from(length).ok());
            let length = length.ok_or_else(malformed)?;
            Zeroizing::new(reader.take(length).ok_or_else(malformed)?.to_vec())
        } else {
            Zeroizing::new(reader.rest().to_vec())
        };
        if let Auth::Session(session, _) = auth {
            session.accept(self.name, self.code, &mut parameters, reader.rest())?;
        }
        Ok(Answer { handle, parameters })
    }
}

/// Tag, size in bytes, code.
fn header(reader: &mut Reader<'_>) -> Option<(u16, u32, u32)> {
    Some((reader.u16()?, reader.u32()?, reader.u32()?))
}

/// The authorization by the empty password: no nonce, no attributes, nothing.
fn password() -> Zeroizing<Vec<u8>> {
    Writer::new().u32(PASSWORD).sized(&[]).u8(0).sized(&[]).done()
}

#[cfg(test)]
pub(crate) mod tests;
