//! Kernel arguments that an operator gives for machines that a loader starts: in media, and from a boot server.
//!
//! They pass through what is no language for arguments: GRUB's menu, iPXE's scripts, the command line of a UKI. What all of them
//! can carry is taken, and nothing else, so that a machine is told the same whatever it boots by:
//!
//! | | GRUB | iPXE | UKI |
//! |-|------|------|-----|
//! | `${uuid}` | quoted, init fills it in | iPXE fills it in: [`for_ipxe`] | init fills it in |
//! | `\|\|`, `&&`, `;`, `#…` | quoted | end the command: refused | as they are |
//! | `'`, `\` | arrive with another `\`: refused | as they are | as they are |

use super::{CommandLine, Param};

/// Variables that init and iPXE both know, and how iPXE says the same. It has nothing to escape a `$` with. A blank in a serial
/// number, for which init puts a `-`, must not end the argument: iPXE makes it `%20`.
const VARIABLES: [(&str, &str); 3] = [
    ("${uuid}", "${uuid}"),
    ("${serial}", "${serial:uristring}"),
    ("${mac}", "${netX/mac:hexhyp}"),
];

/// What a line of iPXE's begins with that has UEFI machines load the UKI, where that is signed and the kernel is not; its URL and
/// what it is told follow. iPXE puts the name before that, as a word of the command line: `BOOT_IMAGE=` is one that nobody goes by.
/// A UKI that is told anything, be it the name, leaves what it has in itself; under Secure Boot it goes by nothing else.
pub const IPXE_CHAIN: &str = "iseq ${platform} efi && chain --autofree --name BOOT_IMAGE=axion.efi ";

/// Arguments that some loader cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoaderError {
    /// A character.
    #[error(
        "{0:?} is not allowed; allowed are letters, digits, blanks and signs of ASCII but `'` and `\\`, which GRUB changes"
    )]
    Character(char),
    /// A word.
    #[error(
        "`{0}` is not allowed as a word, since it ends a command of iPXE's: `||`, `&&`, `;` and what begins with `#` do"
    )]
    Word(String),
    /// A variable.
    #[error("`{0}` is not filled in by every loader; allowed are `${{uuid}}`, `${{serial}}` and `${{mac}}`")]
    Variable(String),
    /// Quotes.
    #[error("a double quote is allowed in pairs around a value alone, as in `key=\"a b\"`")]
    Quote,
    /// What the loader says itself.
    #[error("`{0}` is not allowed: the loader says it, and what follows `--` is not for the kernel")]
    Loader(String),
}

/// Whether every loader carries the arguments `text`.
///
/// # Errors
/// One does not.
pub fn check(text: &str) -> Result<(), LoaderError> {
    let allowed = |c: char| matches!(c, ' '..='~') && !matches!(c, '\'' | '\\');
    if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
        return Err(LoaderError::Character(bad));
    }
    for (at, _) in text.match_indices("${") {
        let variable = text.get(at..).unwrap_or_default();
        if !VARIABLES.iter().any(|(name, _)| variable.starts_with(name)) {
            let end = variable.find(['}', ' ']).map_or(variable.len(), |end| end + 1);
            let name = variable.get(..end).unwrap_or(variable);
            return Err(LoaderError::Variable(name.trim_end().to_owned()));
        }
    }
    // iPXE knows no quotes.
    let ends = |word: &&str| matches!(*word, "||" | "&&" | ";") || word.starts_with('#');
    if let Some(word) = text.split(' ').find(ends) {
        return Err(LoaderError::Word(word.to_owned()));
    }
    let line = CommandLine::parse(text);
    if line.init_arguments().is_some() {
        return Err(LoaderError::Loader("--".to_owned()));
    }
    if line.contains("initrd") {
        return Err(LoaderError::Loader("initrd".to_owned()));
    }
    let whole = |param: &Param| Param::new(param.key(), param.value()).is_ok();
    if !text.matches('"').count().is_multiple_of(2) || !line.iter().all(whole) {
        return Err(LoaderError::Quote);
    }
    Ok(())
}

/// The arguments `text` as iPXE has to read them, to tell the kernel what init would make of them.
pub fn for_ipxe(text: &str) -> String {
    let replace = |text: String, (name, ipxe): (&str, &str)| text.replace(name, ipxe);
    VARIABLES.into_iter().fold(text.to_owned(), replace)
}

#[cfg(test)]
mod tests;
