//! Signature lists to test with.

/// A list with one certificate.
pub fn list(certificate: &[u8]) -> Vec<u8> {
    let entry = u32::try_from(certificate.len() + 16).unwrap();
    [
        &[0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a][..],
        &[0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72],
        &(28 + entry).to_le_bytes(),
        &[0; 4],
        &entry.to_le_bytes(),
        &[9; 16],
        certificate,
    ]
    .concat()
}
