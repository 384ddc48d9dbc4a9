//! The key file: TOML, one `[[pipeline]]` for each key. Errors name a line, and no key in full.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use toml::Spanned;

use super::rate::Bucket;
use super::{Entry, Keys, domain};

const PREFIXES: [&str; 2] = ["dk_live_", "dk_test_"];

/// What is wrong with a key file, in one line, and with no key in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for KeysError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    pipeline: Vec<Spanned<Pipeline>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pipeline {
    id: Spanned<String>,
    key: Option<Spanned<String>>,
    write_key: Option<Spanned<String>>,
    #[serde(default = "enabled")]
    enabled: bool,
    #[serde(default)]
    domain_allowlist: Vec<Spanned<String>>,
    rate_limit_rps: Option<Spanned<f64>>,
    /// For the people who keep the file, as the labels are: only the type matters here.
    #[serde(rename = "name")]
    _name: Option<String>,
    #[serde(default, rename = "labels")]
    _labels: BTreeMap<String, String>,
}

fn enabled() -> bool {
    true
}

const DEFAULT_LIMIT: f64 = 1000.0;

impl Keys {
    /// Reads a key file: TOML, one `[[pipeline]]` for each key.
    ///
    /// `id` (`pip_` and more, 64 characters of `[A-Za-z0-9_-]` at most) and `key` (`dk_live_` or `dk_test_` and more,
    /// the same) are required, or in place of `key` a `write_key`, which another vendor gave out (up to 64 characters of
    /// the same, for [`Compat`](crate::options::Compat)); `enabled` (true), `domain_allowlist` (empty: all), `rate_limit_rps` (1000; positive),
    /// `name` and `labels` (text to text) are not. One pipeline may have several keys, in a `[[pipeline]]` each, so
    /// that keys can be changed without a gap; a key belongs to one pipeline. A file without any pipeline is an
    /// error: it is most likely one that is being written.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let line = |at: usize| text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
        let error = |at, message: String| KeysError { line: line(at), message: message.replace(char::is_control, " ") };
        let file: File = toml::from_str(text)
            .map_err(|err| error(err.span().map_or(0, |span| span.start), mask_all(err.message())))?;
        if file.pipeline.is_empty() {
            return Err(error(0, "no [[pipeline]]".to_owned()));
        }
        let mut keys = Self::default();
        let mut places = Vec::with_capacity(file.pipeline.len());
        for pipeline in file.pipeline {
            let at = pipeline.span().start;
            let (at, entry) = pipeline.into_inner().check(at).map_err(|(at, message)| error(at, message))?;
            if let Some(other) = keys.position(&entry.key) {
                let first = line(places[other]);
                return Err(error(at, format!("key {} is that of line {first} again", mask(&entry.key))));
            }
            places.push(at);
            keys.push(entry);
        }
        Ok(keys)
    }
}

impl Pipeline {
    /// The entry, and where its key is; or what is wrong, and where. `at` is where the table begins.
    fn check(self, at: usize) -> Result<(usize, Entry), (usize, String)> {
        if !is_name(self.id.get_ref(), &["pip_"]) {
            let message = format!("id {:?} is not pip_ and 1 to 60 of A-Z a-z 0-9 _ -", mask_all(self.id.get_ref()));
            return Err((self.id.span().start, message));
        }
        let (key, name, prefixes, rule) = match (self.key, self.write_key) {
            (Some(key), None) => (key, "key", &PREFIXES[..], "dk_live_ or dk_test_ and 1 to 56"),
            (None, Some(key)) => (key, "write_key", &[""][..], "1 to 64"),
            (None, None) => return Err((at, "missing field `key`".to_owned())),
            (Some(_), Some(key)) => {
                let message = "key and write_key are two keys, each of which needs a [[pipeline]]".to_owned();
                return Err((key.span().start, message));
            }
        };
        let at = key.span().start;
        if !is_name(key.get_ref(), prefixes) {
            let key = mask(key.get_ref());
            return Err((at, format!("{name} {key:?} is not {rule} of A-Z a-z 0-9 _ -")));
        }
        let limit = self.rate_limit_rps.as_ref().map_or(DEFAULT_LIMIT, |limit| *limit.get_ref());
        if !(limit > 0.0 && limit.is_finite()) {
            let at = self.rate_limit_rps.map_or(0, |limit| limit.span().start);
            return Err((at, format!("rate_limit_rps {limit} is not a positive number")));
        }
        let domains = self.domain_allowlist.iter().map(|text| {
            domain::parse(text.get_ref()).ok_or_else(|| {
                let text_shown = mask_all(text.get_ref());
                let message =
                    format!("domain {text_shown:?} is not like \"example.com\", which stands for its subdomains too");
                (text.span().start, message)
            })
        });
        let entry = Entry {
            domains: domains.collect::<Result<_, _>>()?,
            key: key.into_inner().into(),
            pipeline: self.id.into_inner().into(),
            enabled: self.enabled,
            bucket: Arc::new(Mutex::new(Bucket::new(limit))),
        };
        Ok((at, entry))
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn is_name(text: &str, prefixes: &[&str]) -> bool {
    let rest = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
    rest.is_some_and(|rest| !rest.is_empty()) && text.len() <= 64 && text.chars().all(is_name_char)
}

/// A key as it may be shown: its prefix and at most two characters and a quarter of the rest.
#[must_use]
pub fn mask(key: &str) -> String {
    let secret = PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix)).unwrap_or(key);
    let shown: String = secret.chars().take((secret.len() / 4).min(2)).collect();
    format!("{}{shown}…", &key[..key.len() - secret.len()])
}

/// A text with all keys in it masked.
fn mask_all(text: &str) -> String {
    let words = text.split_inclusive(|c| !is_name_char(c));
    let masked = words.map(|word| {
        let name = word.trim_end_matches(|c| !is_name_char(c));
        let is_key = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if is_key { mask(name) + &word[name.len()..] } else { word.to_owned() }
    });
    masked.collect()
}
