//! Which host a pool belongs to.
//!
//! ZFS writes the id of the host that has a pool into its labels, and refuses to import a pool that another host has and did
//! not export. The id must be the same at every boot and different on every node: it is derived from the machine id.

use sha2::{Digest, Sha256};

/// The id of the host with this machine id (32 hex digits).
///
/// It depends on every digit: machines of one vendor have UUIDs that begin alike (`4c4c4544` is every Dell), and others' differ
/// in nothing but the MAC address at their end.
pub fn of(machine_id: &str) -> u32 {
    let digest = Sha256::digest(machine_id.trim().as_bytes());
    let mut words = digest
        .chunks(4)
        .map(|word| word.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)));
    // Zero means none.
    words.find(|word| *word != 0).unwrap_or(1)
}

/// The contents of `/etc/hostid` (hostid(1), gethostid(3)): four bytes as the machine orders them.
pub fn file(id: u32) -> [u8; 4] {
    id.to_ne_bytes()
}

#[cfg(test)]
mod tests;
