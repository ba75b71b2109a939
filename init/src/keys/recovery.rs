//! Recovery passphrases: made at random, written by people, typed by them on a bad day.
//!
//! 160 random bits as eight groups of four of Crockford's letters, which leave out what looks like something else. ZFS takes the
//! text as it is: the passphrase unlocks the dataset on any machine, with nothing of Axion's.

use axion_api::storage::Key;
use zeroize::Zeroizing;

const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters in all, 5 bits each.
const LENGTH: usize = 32;
const GROUP: usize = 4;

/// A new one.
///
/// # Errors
/// The kernel has no random numbers.
pub fn generate() -> Result<Zeroizing<String>, String> {
    let mut random = Zeroizing::new([0; LENGTH]);
    getrandom::fill(random.as_mut()).map_err(|error| format!("no random numbers: {error}"))?;
    let letter = |byte: &u8| {
        LETTERS
            .get(usize::from(byte % 32))
            .copied()
            .map_or('0', char::from)
    };
    let letters: Zeroizing<Vec<char>> = Zeroizing::new(random.iter().map(letter).collect());
    Ok(grouped(&letters))
}

fn grouped(letters: &[char]) -> Zeroizing<String> {
    // Its whole room at once, so that nothing is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(LENGTH + LENGTH / GROUP));
    for (index, group) in letters.chunks(GROUP).enumerate() {
        if index > 0 {
            text.push('-');
        }
        text.extend(group);
    }
    text
}

/// A key as it was meant: a recovery passphrase may be typed without its dashes, in capitals, and with the letters that look
/// like its digits. Anything else is taken as it is.
pub fn normalized(key: &Key) -> Key {
    let Key::Passphrase(typed) = key else {
        return key.clone();
    };
    let meant = |c: char| match c.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    };
    let letters = typed.chars().filter(|c| *c != '-' && !c.is_whitespace());
    let letters: Zeroizing<Vec<char>> = Zeroizing::new(letters.map(meant).collect());
    let is_letter = |c: &char| u8::try_from(*c).is_ok_and(|c| LETTERS.contains(&c));
    if letters.len() == LENGTH && letters.iter().all(is_letter) {
        Key::Passphrase(grouped(&letters).to_string())
    } else {
        key.clone()
    }
}

#[cfg(test)]
mod tests;
