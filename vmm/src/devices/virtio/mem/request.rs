//! What the driver asks, and how it is answered (§5.15.6). Decides, does nothing.

/// Bytes of a request.
pub const REQUEST: usize = 24;
/// Bytes of an answer.
pub const ANSWER: usize = 10;

/// Blocks from an address on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Guest address.
    pub start: u64,
    /// How many.
    pub count: u16,
}

/// What the driver asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Memory behind these.
    Plug(Blocks),
    /// None any more behind these.
    Unplug(Blocks),
    /// None any more behind any.
    UnplugAll,
    /// What is behind these.
    State(Blocks),
}

/// How it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Ack,
    /// It is done: that is behind the blocks.
    Plugged,
    /// It is done: nothing is behind the blocks.
    Unplugged,
    /// It is done: some of them have something behind them.
    Mixed,
    /// Not now, by what the guest is to have.
    Nack,
    /// Not now, for want of pages.
    Busy,
    /// Never.
    Error,
}

impl Request {
    /// The request in `bytes`; `None` is one that there is not.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; REQUEST] = bytes.first_chunk()?;
        let [a, b, _, _, _, _, _, _, address @ .., c, d, _, _, _, _, _, _] = *bytes;
        let blocks = Blocks {
            start: u64::from_le_bytes(address),
            count: u16::from_le_bytes([c, d]),
        };
        match u16::from_le_bytes([a, b]) {
            0 => Some(Self::Plug(blocks)),
            1 => Some(Self::Unplug(blocks)),
            2 => Some(Self::UnplugAll),
            3 => Some(Self::State(blocks)),
            _ => None,
        }
    }
}

impl Answer {
    /// As the driver reads it.
    pub fn bytes(self) -> [u8; ANSWER] {
        let (kind, state) = match self {
            Self::Ack | Self::Plugged => (0, 0),
            Self::Unplugged => (0, 1),
            Self::Mixed => (0, 2),
            Self::Nack => (1, 0),
            Self::Busy => (2, 0),
            Self::Error => (3, 0),
        };
        [kind, 0, 0, 0, 0, 0, 0, 0, state, 0]
    }
}
