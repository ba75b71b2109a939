//! Packets of the socket device (virtio 1.3 §5.10.6): read and written, not judged.

/// Bytes of a header.
pub const HEADER: usize = 44;
/// The same, as lengths in the rings are.
pub const HEADER_LEN: u32 = 44;
/// Most bytes of data in a packet, either way.
pub const MOST_DATA: u32 = 64 << 10;
/// Context id of the host (§5.10.4).
pub const HOST_CID: u64 = 2;
/// `type` of a packet of a byte stream.
pub const STREAM: u16 = 1;

/// Flags of [`Op::Shutdown`] (§5.10.6.4.1).
pub mod shutdown {
    /// The sender receives no more.
    pub const RECEIVE: u32 = 1;
    /// The sender sends no more.
    pub const SEND: u32 = 2;
    /// It is done.
    pub const BOTH: u32 = RECEIVE | SEND;
}

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Op {
    /// Asks for a connection.
    Request = 1,
    /// Grants it.
    Response = 2,
    /// There is none, or none any more.
    Reset = 3,
    /// One side sends or receives no more.
    Shutdown = 4,
    /// Data.
    Data = 5,
    /// How much room there is.
    CreditUpdate = 6,
    /// Asks how much room there is.
    CreditRequest = 7,
}

impl Op {
    const ALL: [Self; 7] = [
        Self::Request,
        Self::Response,
        Self::Reset,
        Self::Shutdown,
        Self::Data,
        Self::CreditUpdate,
        Self::CreditRequest,
    ];

    /// The one of this number.
    pub fn of(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|op| *op as u16 == number)
    }
}

/// `virtio_vsock_hdr`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// Context id of the sender.
    pub src_cid: u64,
    /// Context id of the receiver.
    pub dst_cid: u64,
    /// Port of the sender.
    pub src_port: u32,
    /// Port of the receiver.
    pub dst_port: u32,
    /// Bytes of data.
    pub len: u32,
    /// Kind of the socket.
    pub kind: u16,
    /// [`Op`].
    pub op: u16,
    /// Of the operation.
    pub flags: u32,
    /// Bytes that the sender has room for in all.
    pub buf_alloc: u32,
    /// Bytes that the sender has passed on, modulo 2^32.
    pub fwd_cnt: u32,
}

impl Header {
    /// The header in `bytes`.
    pub fn read(bytes: [u8; HEADER]) -> Self {
        let mut rest = bytes.as_slice();
        Self {
            src_cid: u64::from_le_bytes(take(&mut rest)),
            dst_cid: u64::from_le_bytes(take(&mut rest)),
            src_port: u32::from_le_bytes(take(&mut rest)),
            dst_port: u32::from_le_bytes(take(&mut rest)),
            len: u32::from_le_bytes(take(&mut rest)),
            kind: u16::from_le_bytes(take(&mut rest)),
            op: u16::from_le_bytes(take(&mut rest)),
            flags: u32::from_le_bytes(take(&mut rest)),
            buf_alloc: u32::from_le_bytes(take(&mut rest)),
            fwd_cnt: u32::from_le_bytes(take(&mut rest)),
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(self.src_cid.to_le_bytes());
        bytes.extend(self.dst_cid.to_le_bytes());
        bytes.extend(self.src_port.to_le_bytes());
        bytes.extend(self.dst_port.to_le_bytes());
        bytes.extend(self.len.to_le_bytes());
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.op.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.buf_alloc.to_le_bytes());
        bytes.extend(self.fwd_cnt.to_le_bytes());
        bytes
    }
}

/// Takes the first `N` bytes; zeros where there are none.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    match bytes.split_first_chunk() {
        Some((first, rest)) => {
            *bytes = rest;
            *first
        }
        None => [0; N],
    }
}
