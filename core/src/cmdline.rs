//! The kernel command line as an ordered list.
//!
//! Order carries meaning (`hugepagesz=` binds to the `hugepages=` after it, the last `console=` is `/dev/console`, most
//! parameters are won by their last occurrence), so the list is never turned into a map. Parsing follows the kernel's
//! `next_arg()` (Documentation/admin-guide/kernel-parameters.rst): parameters are separated by white space, double
//! quotes protect white space in a value and have no escape, `-` and `_` in a key are the same, and what follows a lone
//! `--` belongs to init.

pub mod loader;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::config::Secret;

/// A parameter, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    raw: String,
    key: String,
    value: Option<String>,
}

/// A key or a value that the command line cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// The key is empty, or holds white space, a quote or `=`.
    #[error("`{0}` is not a parameter name; it must not be empty, nor hold white space, quotes or `=`")]
    Key(String),
    /// The value holds a double quote or a control character.
    #[error(
        "the value of kernel parameter `{key}` holds {what}, which the kernel command line has no escape for"
    )]
    Value {
        /// The parameter.
        key: String,
        /// What cannot be carried.
        what: &'static str,
    },
}

impl Param {
    /// A parameter to append; a value with white space is quoted.
    ///
    /// # Errors
    /// The key is no parameter name, or the value holds a double quote or a line break.
    pub fn new(key: &str, value: Option<&str>) -> Result<Self, ParamError> {
        if key.is_empty() || key == "--" || key.contains(|c: char| is_space(c) || c == '"' || c == '=') {
            return Err(ParamError::Key(key.to_owned()));
        }
        let refuse = |what| ParamError::Value {
            key: key.to_owned(),
            what,
        };
        let raw = match value {
            None => key.to_owned(),
            Some(v) if v.contains('"') => return Err(refuse("a double quote")),
            Some(v) if v.contains(char::is_control) => return Err(refuse("a control character")),
            Some(v) if v.contains(is_space) => format!("{key}=\"{v}\""),
            Some(v) => format!("{key}={v}"),
        };
        Ok(Self {
            raw,
            key: key.to_owned(),
            value: value.map(str::to_owned),
        })
    }

    /// Its name, as it was written.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its value without protecting quotes; `None` for a parameter without `=`.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// Whether its name is `key`; the kernel takes `-` and `_` for the same.
    pub fn is(&self, key: &str) -> bool {
        let same = |c: u8| if c == b'-' { b'_' } else { c };
        self.key.bytes().map(same).eq(key.bytes().map(same))
    }

    /// Splits one parameter off: what `next_arg()` in the kernel's lib/cmdline.c does.
    fn from_raw(raw: &str) -> Self {
        let (body, quoted) = match raw.strip_prefix('"') {
            Some(rest) => (rest, true),
            None => (raw, false),
        };
        let unclosed = |text: &str| text.strip_suffix('"').unwrap_or(text).to_owned();
        // A `=` that comes first does not separate: there would be no key.
        let equals = body
            .char_indices()
            .find(|(at, c)| *c == '=' && *at > 0)
            .map(|(at, _)| at);
        let (key, value) = match equals.and_then(|at| Some((body.get(..at)?, body.get(at + 1..)?))) {
            None if quoted => (unclosed(body), None),
            None => (body.to_owned(), None),
            Some((key, value)) => {
                let value = match value.strip_prefix('"') {
                    Some(inner) => unclosed(inner),
                    None if quoted => unclosed(value),
                    None => value.to_owned(),
                };
                (key.to_owned(), Some(value))
            }
        };
        Self {
            raw: raw.to_owned(),
            key,
            value,
        }
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

/// A whole command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    params: Vec<Param>,
    init: Option<String>,
}

impl CommandLine {
    /// Reads `/proc/cmdline`'s text. There is no text that cannot be read: the kernel takes any.
    pub fn parse(text: &str) -> Self {
        let mut line = Self::default();
        let mut rest = text.trim_matches(is_space);
        while !rest.is_empty() {
            let (word, after) = split_word(rest);
            if word == "--" {
                line.init = Some(after.to_owned());
                break;
            }
            line.params.push(Param::from_raw(word));
            rest = after;
        }
        line
    }

    /// The value of the last parameter named `key`, as most of the kernel's parsers have it; empty for one without `=`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.params
            .iter()
            .rfind(|p| p.is(key))
            .map(|p| p.value().unwrap_or_default())
    }

    /// The values of every parameter named `key`, in order; empty for one without `=`.
    pub fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.params
            .iter()
            .filter(move |p| p.is(key))
            .map(|p| p.value().unwrap_or_default())
    }

    /// Whether a parameter named `key` is there, with or without a value.
    pub fn contains(&self, key: &str) -> bool {
        self.params.iter().any(|p| p.is(key))
    }

    /// Every parameter in order, without those for init.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.params.iter()
    }

    /// What follows `--`, for init.
    pub fn init_arguments(&self) -> Option<&str> {
        self.init.as_deref()
    }

    /// Appends parameters, before those for init.
    pub fn extend(&mut self, params: impl IntoIterator<Item = Param>) {
        self.params.extend(params);
    }

    /// The same with other parameters; what is for init stays.
    #[must_use]
    pub fn with_params(&self, params: Vec<Param>) -> Self {
        Self {
            params,
            init: self.init.clone(),
        }
    }

    /// The parameters in order, those that belong together as one group.
    pub fn groups(&self) -> Vec<Group<'_>> {
        let mut groups = Vec::new();
        let mut size = None;
        for param in &self.params {
            let value = param.value().unwrap_or_default();
            if param.is("hugepagesz") || param.is("default_hugepagesz") {
                size = parse_size(value);
                groups.push(Group::Single(param));
            } else if param.is("hugepages")
                && let Some(pages) = Pages::parse(value)
            {
                // The size is used up: a second `hugepages=` without a size of its own is refused by the kernel.
                groups.push(Group::Hugepages(HugepagePool {
                    page_size: size.take(),
                    pages,
                }));
            } else {
                groups.push(Group::Single(param));
            }
        }
        groups
    }

    /// The boot-time hugepage pools in order.
    pub fn hugepage_pools(&self) -> Vec<HugepagePool> {
        let pool = |group| match group {
            Group::Hugepages(pool) => Some(pool),
            Group::Single(_) => None,
        };
        self.groups().into_iter().filter_map(pool).collect()
    }
}

impl FromStr for CommandLine {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::parse(text))
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for param in &self.params {
            write!(f, "{separator}{param}")?;
            separator = " ";
        }
        match self.init.as_deref() {
            None => Ok(()),
            Some("") => write!(f, "{separator}--"),
            Some(arguments) => write!(f, "{separator}-- {arguments}"),
        }
    }
}

/// What brings machine configs: whole, or the URL of one with its credentials.
const CONFIG: &str = "axion.config=";

/// A text that may have a command line in it, with the values of `axion.config=` hidden.
pub fn hide_configs(text: &str) -> Cow<'_, str> {
    let Some((before, found)) = text.split_once(CONFIG) else {
        return Cow::Borrowed(text);
    };
    // Quotes protect blanks: `axion.config="…"`, `"axion.config=…"`.
    let inner = found.strip_prefix('"');
    let is_quoted = inner.is_some() || before.ends_with('"');
    let value = inner.unwrap_or(found);
    let end = |c: char| if is_quoted { c == '"' } else { is_space(c) };
    let after = value.find(end).and_then(|at| value.get(at..)).unwrap_or_default();
    // Else it is spoken of, and not given.
    let is_given = value.starts_with(|c: char| c.is_ascii_alphanumeric());
    let (shown, after) = if is_given {
        (Secret::HIDDEN, after)
    } else {
        ("", found)
    };
    Cow::Owned(format!("{before}{CONFIG}{shown}{}", hide_configs(after)))
}

/// A parameter, or several that have a meaning only together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group<'a> {
    /// A parameter by itself.
    Single(&'a Param),
    /// `hugepages=` with the size that was in force for it.
    Hugepages(HugepagePool),
}

/// A pool of hugepages reserved at boot (Documentation/admin-guide/mm/hugetlbpage.rst).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugepagePool {
    /// Page size in bytes; `None`: the kernel's default size.
    pub page_size: Option<u64>,
    /// How many pages.
    pub pages: Pages,
}

/// How many hugepages a pool has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pages {
    /// So many, spread over the nodes by the kernel.
    Total(u64),
    /// So many on each of these nodes: node, pages.
    PerNode(Vec<(u32, u64)>),
}

impl Pages {
    fn parse(value: &str) -> Option<Self> {
        if let Ok(total) = value.parse() {
            return Some(Self::Total(total));
        }
        let node = |part: &str| {
            let (node, pages) = part.split_once(':')?;
            Some((node.parse().ok()?, pages.parse().ok()?))
        };
        value
            .split(',')
            .map(node)
            .collect::<Option<Vec<_>>>()
            .map(Self::PerNode)
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total(pages) => write!(f, "{pages}"),
            Self::PerNode(nodes) => {
                let parts: Vec<String> = nodes
                    .iter()
                    .map(|(node, pages)| format!("{node}:{pages}"))
                    .collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

impl HugepagePool {
    /// The parameters that ask for the pool, in the order that the kernel needs.
    ///
    /// # Errors
    /// Never for a pool that holds numbers; the type is that of [`Param::new`].
    pub fn params(&self) -> Result<Vec<Param>, ParamError> {
        let size = self
            .page_size
            .map(|bytes| Param::new("hugepagesz", Some(&format_size(bytes))));
        let pages = Param::new("hugepages", Some(&self.pages.to_string()));
        size.into_iter().chain([pages]).collect()
    }
}

/// `isspace()` of the kernel: it has no Unicode.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// The first word, ended by white space outside quotes, and what follows it.
fn split_word(text: &str) -> (&str, &str) {
    let mut in_quotes = false;
    let end = text.find(|c| {
        in_quotes ^= c == '"';
        is_space(c) && !in_quotes
    });
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    (word, rest.trim_start_matches(is_space))
}

/// `memparse()` of the kernel for whole numbers: decimal or `0x`, with K, M, G or T.
fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (text.get(..at)?, 10),
        (at, 'm' | 'M') => (text.get(..at)?, 20),
        (at, 'g' | 'G') => (text.get(..at)?, 30),
        (at, 't' | 'T') => (text.get(..at)?, 40),
        _ => (text, 0),
    };
    let number = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    number.checked_mul(1 << shift)
}

fn format_size(bytes: u64) -> String {
    let unit = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1u64 << 10)]
        .into_iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests;
