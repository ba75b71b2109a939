//! Documents that are shown: without the secret, and with it again when they come back.

use toml::Table;

use super::check::with_string;
use super::{SECRET_KEY, Secret};

/// The document with its secret hidden. Of one that cannot be read nothing is known, so nothing of it is shown.
pub fn hide(text: &str) -> Option<String> {
    let table: Table = toml::from_str(text).ok()?;
    match secret(&table) {
        None => Some(text.to_owned()),
        Some(_) => with_string(text, SECRET_KEY, Secret::HIDDEN),
    }
}

/// A document that was shown by [`hide`], with the secret of `kept` where it has the sign of one that is hidden.
///
/// # Errors
/// `kept` has no secret, in words.
pub fn restore(text: &str, kept: Option<&str>) -> Result<String, String> {
    let table: Option<Table> = toml::from_str(text).ok();
    let sign = table.as_ref().and_then(secret);
    if sign.as_deref() != Some(Secret::HIDDEN) {
        return Ok(text.to_owned());
    }
    let kept: Option<Table> = kept.and_then(|kept| toml::from_str(kept).ok());
    let kept = kept.as_ref().and_then(secret);
    let restored = kept.and_then(|kept| with_string(text, SECRET_KEY, &kept));
    restored.ok_or_else(|| {
        format!(
            "`{SECRET_KEY}`: `{}` stands for the secret that is there, and there is none; give it, or leave the key out",
            Secret::HIDDEN
        )
    })
}

fn secret(table: &Table) -> Option<String> {
    let mut keys = SECRET_KEY.split('.');
    let mut here = table.get(keys.next()?)?;
    for key in keys {
        here = here.get(key)?;
    }
    Some(here.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# keep me\nhostname = \"a\"\n[storage.encryption]\nkey = \"config\"\nsecret = \"correct horse\" # mine\n";

    #[test]
    fn a_secret_is_hidden_and_comes_back() {
        let shown = hide(DOCUMENT).unwrap();
        assert!(
            !shown.contains("horse") && shown.contains("# keep me") && shown.contains("# mine"),
            "{shown}"
        );
        assert_eq!(restore(&shown, Some(DOCUMENT)).as_deref(), Ok(DOCUMENT));
        assert_eq!(hide("hostname = \"a\"\n").as_deref(), Some("hostname = \"a\"\n"));
        assert_eq!(hide("secret = "), None);
    }

    #[test]
    fn a_sign_without_a_secret_is_refused() {
        let shown = hide(DOCUMENT).unwrap();
        for kept in [None, Some(""), Some("hostname = \"a\"\n")] {
            assert!(restore(&shown, kept).unwrap_err().contains("there is none"));
        }
        assert_eq!(restore(DOCUMENT, None).as_deref(), Ok(DOCUMENT));
    }
}
