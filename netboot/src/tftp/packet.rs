//! TFTP's packets (RFC 1350), the options that PXE uses (RFC 2347 to 2349) and windows (RFC 7440). Pure.

/// Bytes of a block that was not negotiated.
const BLOCK: u16 = 512;
/// Bytes of the largest block: what fits into an Ethernet frame with its headers, since many ROMs cannot put fragments together.
const LARGEST: u16 = 1468;
/// Blocks of the largest window: more overruns the receivers of small ROMs.
const WINDOW: u16 = 16;

/// What a client may want.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// A file.
    Read(Read),
    /// A block has come: its number, of which 16 bits are sent.
    Ack(u16),
    /// It gives up.
    Error,
}

/// A wish for a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    /// Its name.
    pub name: String,
    /// Bytes of a block.
    pub block: u16,
    /// Blocks that are sent before one is waited for.
    pub window: u16,
    /// What is to be confirmed: each option with its value; `None` for the file's size.
    options: Vec<(&'static str, Option<u16>)>,
}

/// Why a transfer cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such file.
    NotFound,
    /// The file must not be served.
    Denied,
    /// Not a transfer that is served: a write, or text mode.
    Illegal,
}

/// Reads a packet; an error is an answer to it, `Ok(None)` means that none is due.
pub fn parse(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    match bytes {
        [0, 1, rest @ ..] => read(rest).map(|read| Some(Request::Read(read))),
        [0, 2, ..] => Err(Refusal::Illegal),
        [0, 4, high, low, ..] => Ok(Some(Request::Ack(u16::from_be_bytes([*high, *low])))),
        [0, 5, ..] => Ok(Some(Request::Error)),
        _ => Ok(None),
    }
}

fn read(bytes: &[u8]) -> Result<Read, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::Illegal)?;
    let mut words = text.split('\0');
    let (name, mode) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // Some ROMs ask for an absolute path.
    let name = name.trim_start_matches('/');
    if name.is_empty() || !mode.eq_ignore_ascii_case("octet") {
        return Err(Refusal::Illegal);
    }
    let mut read = Read {
        name: name.to_owned(),
        block: BLOCK,
        window: 1,
        options: Vec::new(),
    };
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        // An option with a value that cannot be is left out of the answer (RFC 2347): it then does not hold.
        let number = value.parse::<u64>().ok();
        let up_to = |most: u16| number.map(|n| u16::try_from(n).unwrap_or(most).min(most));
        match option.to_ascii_lowercase().as_str() {
            "blksize" => {
                if let Some(block) = up_to(LARGEST).filter(|block| *block >= 8) {
                    read.block = block;
                    read.options.push(("blksize", Some(block)));
                }
            }
            "windowsize" => {
                if let Some(window) = up_to(WINDOW).filter(|window| *window >= 1) {
                    read.window = window;
                    read.options.push(("windowsize", Some(window)));
                }
            }
            "tsize" => read.options.push(("tsize", None)),
            _ => {}
        }
    }
    Ok(read)
}

impl Read {
    /// The confirmation of the options, for a file of `size` bytes; `None`: there is nothing to confirm.
    pub fn confirmation(&self, size: u64) -> Option<Vec<u8>> {
        if self.options.is_empty() {
            return None;
        }
        let mut packet = vec![0, 6];
        for (name, value) in &self.options {
            let value = value.map_or(size, u64::from);
            packet.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
        Some(packet)
    }

    /// Blocks of a file of `size` bytes: the last one is shorter than the others, and may be empty.
    pub const fn blocks(&self, size: u64) -> u64 {
        size / self.block as u64 + 1
    }
}

/// A block, numbered from 1; its number wraps around at 16 bits, as every client expects for large files.
pub fn data(number: u64, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = number.to_be_bytes();
    [&[0, 3, high, low], content].concat()
}

/// A refusal.
pub fn error(refusal: Refusal) -> Vec<u8> {
    let (code, text) = match refusal {
        Refusal::NotFound => (1, "no such file"),
        Refusal::Denied => (2, "not served"),
        Refusal::Illegal => (4, "only reading in mode octet is served"),
    };
    [&[0, 5, 0, code], text.as_bytes(), &[0]].concat()
}

/// How many of the blocks behind `base` (all confirmed up to it) the number `ack` confirms; 0 for one that is old or wrong.
pub fn confirmed(base: u64, ack: u16, window: u16) -> u64 {
    let [.., high, low] = base.to_be_bytes();
    let ahead = ack.wrapping_sub(u16::from_be_bytes([high, low]));
    if ahead <= window { u64::from(ahead) } else { 0 }
}

#[cfg(test)]
mod tests;
