//! What may be secret is hidden before it gets into a support bundle. Pure.
//!
//! Secrets of the machine config have a type that never writes them out ([`Secret`]), and the agent's own are digests. What is
//! left comes from elsewhere: a kernel command line with a config in it, a program that logs what it should not, what an
//! operator gave a VM. It is known by its name (`password`, `api_token`, `tcp_fastopen_key`) or by its form (a token of the API,
//! a URL with a user in it, a private key). Too much is hidden rather than too little.

use axion_core::config::{Secret, is_hex_key};
use serde_json::Value;

const HIDDEN: &str = Secret::HIDDEN;

/// Words in a name that say that its value is secret.
const WORDS: [&str; 14] = [
    "secret",
    "secrets",
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "pwd",
    "token",
    "tokens",
    "credential",
    "credentials",
    "psk",
    "apikey",
    "authorization",
];
/// Pairs of words that do.
const PAIRS: [[&str; 2]; 4] = [
    ["user", "data"],
    ["cloud", "init"],
    ["vendor", "data"],
    ["private", "key"],
];
/// What holds the value of something that is named beside it: in the config, in an item of the boot profile.
const VALUES: [&str; 5] = ["value", "desired", "effective", "fix", "text"];
/// Base64url digits of a token of the API, at least.
const TOKEN_DIGITS: usize = 40;
const TOKEN: &str = "axion_";
const CONFIG: &str = "axion.config=";
const BEARER: &str = "bearer ";
const KEY_BEGIN: &str = "-----BEGIN ";
const KEY_END: &str = "-----END ";

/// Hides what may be secret in `value`; how many values that were.
pub fn json(value: &mut Value) -> u64 {
    match value {
        Value::Object(fields) => {
            // `{"key": "api.token_hashes", "value": …}` is a name and a value, too.
            // So is `{"path": "/proc/sys/…", "text": …}`.
            let told = ["key", "name", "path"].iter().find_map(|name| fields.get(*name));
            let named = told.and_then(Value::as_str).is_some_and(is_secret_name);
            let mut hidden = 0;
            for (name, value) in fields.iter_mut() {
                let of_named = named && VALUES.contains(&name.as_str());
                let secret = is_secret_name(name) || is_key(name, value) || of_named;
                hidden += if secret { hide(value) } else { json(value) };
            }
            hidden
        }
        Value::Array(values) => values.iter_mut().map(json).sum(),
        Value::String(written) => {
            let (shown, hidden) = text(written);
            if hidden > 0 {
                *written = shown;
            }
            hidden
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Nothing, and what has only two values, tells no secret.
fn hide(value: &mut Value) -> u64 {
    let empty = match value {
        Value::Null | Value::Bool(_) => true,
        Value::Number(_) => false,
        Value::String(text) => matches!(text.as_str(), "" | "[]" | "\"\"" | HIDDEN),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    };
    if empty {
        return 0;
    }
    *value = Value::String(HIDDEN.to_owned());
    1
}

/// Whether this is a key, and not the name of something or a word about a key.
fn is_key(name: &str, value: &Value) -> bool {
    name == "key" && (value.is_object() || value.as_str().is_some_and(is_hex_key))
}

/// `apiToken`, `api-token`, `api.token` as `api`, `token`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || (c.is_ascii_uppercase() && lower) {
            words.push(String::new());
        }
        lower = c.is_ascii_lowercase();
        if c.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(c.to_ascii_lowercase());
        }
    }
    words
}

/// Whether what has this name is a secret.
fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    let pair = |pair: &[String]| matches!(pair, [a, b] if PAIRS.iter().any(|[x, y]| a == x && b == y));
    // `tcp_fastopen_key` is one; `storage.encryption.key` says where the key is, and is looked at by its value.
    let last = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
    let a_key = last.len() > "_key".len() && (last.ends_with("_key") || last.ends_with("-key"));
    a_key || words.iter().any(|word| WORDS.contains(&word.as_str())) || words.windows(2).any(pair)
}

/// `text` without what may be secret, and how many values that were.
pub fn text(text: &str) -> (String, u64) {
    let mut shown = String::with_capacity(text.len());
    let mut hidden = 0;
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        // A private key goes over several lines; one without an end goes on to the end.
        if in_key {
            in_key = !line.contains(KEY_END);
            continue;
        }
        if let Some((before, rest)) = line.split_once(KEY_BEGIN)
            && rest.contains("PRIVATE KEY")
        {
            in_key = !rest.contains(KEY_END);
            shown.push_str(before);
            shown.push_str(HIDDEN);
            shown.push('\n');
            hidden += 1;
            continue;
        }
        let (line, count) = self::line(line);
        shown.push_str(&line);
        hidden += count;
    }
    (shown, hidden)
}

fn line(line: &str) -> (String, u64) {
    let mut text = line.to_owned();
    let mut hidden = 0;
    for find in [config, user, bearer, token, named] {
        let mut from = 0;
        while let Some((start, end)) = find(&text, from) {
            from = start + HIDDEN.len();
            if text.get(start..end) == Some(HIDDEN) {
                continue;
            }
            text.replace_range(start..end, HIDDEN);
            hidden += 1;
        }
    }
    (text, hidden)
}

/// A place in a line.
type Range = (usize, usize);

fn find(text: &str, from: usize, what: &str) -> Option<usize> {
    Some(from + text.get(from..)?.find(what)?)
}

/// Where what begins at `from` and has only such characters ends.
fn run(text: &str, from: usize, of: impl Fn(char) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.find(|c| !of(c)).unwrap_or(rest.len())
}

fn in_word(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '"' | '\'')
}

/// A machine config on a kernel command line, or the URL of one.
fn config(text: &str, from: usize) -> Option<Range> {
    let start = find(text, from, CONFIG)? + CONFIG.len();
    // Quotes protect blanks: `axion.config="…"`, `"axion.config=…"`.
    let quoted = |at: Option<usize>| at.and_then(|at| text.get(at..)?.chars().next()) == Some('"');
    let end = if quoted(Some(start)) {
        run(text, start + 1, |c| c != '"')
    } else if quoted(start.checked_sub(CONFIG.len() + 1)) {
        run(text, start, |c| c != '"')
    } else {
        run(text, start, in_word)
    };
    Some((start, end))
}

/// `user:password` of a URL.
fn user(text: &str, mut from: usize) -> Option<Range> {
    loop {
        let start = find(text, from, "://")? + "://".len();
        let end = run(text, start, |c| in_word(c) && !matches!(c, '/' | '?' | '#'));
        let authority = text.get(start..end).unwrap_or_default();
        match authority.rfind('@') {
            Some(at) => return Some((start, start + at)),
            None => from = end,
        }
    }
}

/// A token in a header.
fn bearer(text: &str, from: usize) -> Option<Range> {
    // Of the same length, as only ASCII changes.
    let start = find(&text.to_ascii_lowercase(), from, BEARER)? + BEARER.len();
    Some((start, run(text, start, in_word)))
}

/// A token of the API.
fn token(text: &str, mut from: usize) -> Option<Range> {
    loop {
        let start = find(text, from, TOKEN)?;
        let digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let end = run(text, start + TOKEN.len(), digit);
        if end - start >= TOKEN.len() + TOKEN_DIGITS {
            return Some((start, end));
        }
        from = end;
    }
}

/// Where what begins with a quote or bracket at `start` ends; with the text where nothing closes it.
fn closed(text: &str, start: usize, by: char) -> usize {
    let end = run(text, start + 1, |c| c != by && c != '\n');
    end + usize::from(text.get(end..).is_some_and(|rest| rest.starts_with(by)))
}

/// The value of `password=…`, `"token": "…"`, `secret = …`.
fn named(text: &str, from: usize) -> Option<Range> {
    let rest = text.get(from..)?;
    rest.char_indices().find_map(|(at, c)| {
        let at = from + at;
        let after = text.get(at + 1..).unwrap_or_default();
        if !matches!(c, '=' | ':') || (c == ':' && after.starts_with("//")) {
            return None;
        }
        let before = text.get(..at).unwrap_or_default();
        let before = before.trim_end_matches(' ').trim_end_matches(['"', '\'']);
        let mut name = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')));
        if !is_secret_name(name.next()?) {
            return None;
        }
        let start = run(text, at + 1, |c| c == ' ');
        let end = match text.get(start..)?.chars().next()? {
            quote @ ('"' | '\'') => closed(text, start, quote),
            '[' => closed(text, start, ']'),
            _ => run(text, start, |c| in_word(c) && !matches!(c, ',' | ';' | '&' | '}')),
        };
        (end > start).then_some((start, end))
    })
}

#[cfg(test)]
mod tests;
