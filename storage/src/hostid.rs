//! Which host a pool belongs to.
//!
//! ZFS writes the id of the host that has a pool into its labels, and refuses to import a pool that another host has and did
//! not export. The id must be the same at every boot and different on every node: it is derived from the machine id.

/// The id of the host with this machine id (32 hex digits): its first 32 bits that are not zero, since zero means none.
pub fn of(machine_id: &str) -> u32 {
    let digits: Vec<char> = machine_id.trim().chars().collect();
    let words = digits.chunks(8).map(|word| {
        let word: String = word.iter().collect();
        u32::from_str_radix(&word, 16).unwrap_or_default()
    });
    // All of its zeros would be another node's too, but then so is the machine id.
    words.into_iter().find(|word| *word != 0).unwrap_or(1)
}

/// The contents of `/etc/hostid` (hostid(1), gethostid(3)): four bytes as the machine orders them.
pub fn file(id: u32) -> [u8; 4] {
    id.to_ne_bytes()
}

#[cfg(test)]
mod tests;
