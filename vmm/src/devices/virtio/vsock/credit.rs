//! Flow control of a connection (virtio 1.3 §5.10.6.3): how much each side may still send. Pure.
//!
//! All counts run modulo 2^32. What the guest says of itself is believed as far as it hurts nobody but itself: too much
//! room, and data is offered that it has no place for; too little, and it gets none.

use super::packet::Header;

/// Bytes of a connection that this process keeps at most for a client that does not read.
pub const ROOM: u32 = 128 << 10;

/// The counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credit {
    /// Bytes that came from the guest.
    received: u32,
    /// Of them, bytes that have left this process.
    forwarded: u32,
    /// As the guest was last told.
    told: u32,
    /// Bytes that went to the guest.
    sent: u32,
    /// Bytes that the guest has room for in all.
    guest_room: u32,
    /// Of what was sent, bytes that the guest's programs have taken.
    guest_forwarded: u32,
    /// The guest was asked for its room, and has said nothing new since.
    asked: bool,
}

impl Credit {
    /// Counts `len` bytes from the guest; says whether there is room for them.
    pub fn receive(&mut self, len: u32) -> bool {
        let kept = self.received.wrapping_sub(self.forwarded);
        if len > ROOM.saturating_sub(kept) {
            return false;
        }
        self.received = self.received.wrapping_add(len);
        true
    }

    /// Counts `len` bytes that have left this process.
    pub fn forward(&mut self, len: u32) {
        self.forwarded = self.forwarded.wrapping_add(len);
    }

    /// What to put in the header of a packet to the guest, which knows it from then on.
    pub fn tell(&mut self, header: &mut Header) {
        self.told = self.forwarded;
        (header.buf_alloc, header.fwd_cnt) = (ROOM, self.forwarded);
    }

    /// Whether the guest, by what it knows, has half of the room or less, and there is more.
    pub fn is_update_due(&self) -> bool {
        self.received.wrapping_sub(self.told) >= ROOM / 2 && self.forwarded != self.told
    }

    /// Takes note of what the header of a packet from the guest says. Where it says nothing new, it is not asked again: Linux
    /// answers at once, and without room it answers as before. It tells by itself once it has some.
    pub fn hear(&mut self, header: &Header) {
        let said = (header.buf_alloc, header.fwd_cnt);
        if said != (self.guest_room, self.guest_forwarded) {
            (self.guest_room, self.guest_forwarded) = said;
            self.asked = false;
        }
    }

    /// Bytes that may be sent to the guest.
    pub fn available(&self) -> u32 {
        let kept = self.sent.wrapping_sub(self.guest_forwarded);
        self.guest_room.saturating_sub(kept)
    }

    /// Counts `len` bytes that went to the guest.
    pub fn send(&mut self, len: u32) {
        self.sent = self.sent.wrapping_add(len);
    }

    /// Whether to ask the guest for its room, when there is none.
    pub fn is_question_due(&self) -> bool {
        !self.asked
    }

    /// It is asked.
    pub fn ask(&mut self) {
        self.asked = true;
    }
}
