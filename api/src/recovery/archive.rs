//! The archive of a support bundle: ustar (IEEE Std 1003.1-2017, pax, "ustar Interchange Format") with plain files alone.
//!
//! Not compressed, so that whoever is sent one can look into it with anything, and a part that is broken spoils no other.

/// Media type of the archive.
pub const MEDIA_TYPE: &str = "application/x-tar";

const BLOCK: usize = 512;
/// Two blocks of zeros end an archive.
const END: usize = 2 * BLOCK;
/// Fields of a header: where they begin, and their bytes.
const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const MTIME: (usize, usize) = (136, 12);
const CHECKSUM: (usize, usize) = (148, 8);
const TYPE: (usize, usize) = (156, 1);
const MAGIC: (usize, usize) = (257, 8);
const PREFIX: (usize, usize) = (345, 155);

type Header = [u8; BLOCK];

fn put(header: &mut Header, (at, length): (usize, usize), bytes: &[u8]) {
    let field = header.iter_mut().skip(at).take(length);
    for (to, from) in field.zip(bytes) {
        *to = *from;
    }
}

fn get(header: &[u8], (at, length): (usize, usize)) -> &[u8] {
    header.get(at..at + length).unwrap_or_default()
}

/// The sum of a header's bytes, its own field taken for blanks.
fn checksum(header: &[u8]) -> u32 {
    let (at, length) = CHECKSUM;
    let own = at..at + length;
    let bytes = header.iter().enumerate();
    bytes
        .map(|(index, byte)| u32::from(if own.contains(&index) { b' ' } else { *byte }))
        .sum()
}

/// A file with what comes before and after it. A directory of more than 155 bytes or a name of more than 100 is cut.
pub fn entry(directory: &str, name: &str, content: &[u8], unix_s: u64) -> Vec<u8> {
    let mut header: Header = [0; BLOCK];
    let (_, octal) = SIZE;
    let number = |value: u64| format!("{value:0width$o}", width = octal - 1);
    put(&mut header, NAME, name.as_bytes());
    put(&mut header, MODE, b"0000644");
    put(&mut header, UID, b"0000000");
    put(&mut header, GID, b"0000000");
    put(&mut header, SIZE, number(content.len() as u64).as_bytes());
    put(&mut header, MTIME, number(unix_s).as_bytes());
    put(&mut header, TYPE, b"0");
    put(&mut header, MAGIC, b"ustar\x0000");
    put(&mut header, PREFIX, directory.as_bytes());
    let sum = format!("{:06o}\0 ", checksum(&header));
    put(&mut header, CHECKSUM, sum.as_bytes());
    let mut file = header.to_vec();
    file.extend_from_slice(content);
    file.resize(file.len().next_multiple_of(BLOCK), 0);
    file
}

/// What ends an archive.
pub fn end() -> Vec<u8> {
    vec![0; END]
}

/// The files of an archive that [`entry`] and [`end`] have made: name with directory, content. It ends with the first that is
/// not whole.
pub fn files(archive: &[u8]) -> impl Iterator<Item = (String, &[u8])> {
    let mut rest = archive;
    std::iter::from_fn(move || {
        let (header, content) = rest.split_at_checked(BLOCK)?;
        let text = |field| {
            let bytes = get(header, field);
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            bytes.get(..end).and_then(|text| std::str::from_utf8(text).ok())
        };
        let number = |field| u64::from_str_radix(text(field)?.trim_matches([' ', '\0']), 8).ok();
        if number(CHECKSUM)? != u64::from(checksum(header)) {
            return None;
        }
        let size = usize::try_from(number(SIZE)?).ok()?;
        let (content, _) = content.split_at_checked(size)?;
        rest = rest
            .get(BLOCK + size.next_multiple_of(BLOCK)..)
            .unwrap_or_default();
        let name = text(NAME)?;
        let name = match text(PREFIX)? {
            "" => name.to_owned(),
            directory => format!("{directory}/{name}"),
        };
        Some((name, content))
    })
}

#[cfg(test)]
mod tests;
