//! Reads the key file: TOML, with one `[[pipeline]]` per key. Errors name a line, and show no whole key.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::sync::Arc;

use memchr::memmem;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use zeroize::Zeroizing;

use super::rate::{Buckets, Limit};
use super::terms::Said;
use super::{Entry, Keys, domain};
use crate::protect::{Guard, Secret};

const PREFIXES: [&str; 2] = ["dk_live_", "dk_test_"];

/// The error of a key file, in one line, without a whole key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysError {
    /// The line, counted from 1.
    pub line: usize,
    /// The error in that line.
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
    #[serde(default)]
    require_origin: bool,
    rate_limit_rps: Option<Spanned<f64>>,
    topic: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "secrets")]
    secrets: Vec<Spanned<Zeroizing<String>>>,
    require_signature: Option<Spanned<bool>>,
    max: Option<Spanned<String>>,
    default: Option<Spanned<String>>,
    consent: Option<Spanned<String>>,
    unknown: Option<Spanned<String>>,
    scope: Option<Spanned<String>>,
    aggregate_properties: Option<Spanned<Vec<String>>>,
    aggregate_minimum: Option<Spanned<i64>>,
    #[serde(default)]
    refuse_addresses: bool,
    /// For the people who maintain the file, like the labels. Only the type is checked.
    #[serde(rename = "name")]
    _name: Option<String>,
    #[serde(default, rename = "labels")]
    _labels: BTreeMap<String, String>,
}

fn enabled() -> bool {
    true
}

/// The bytes of the file that are parsed at once, at least. The tree of a whole file takes many times its memory.
const PIECE: usize = 1 << 16;

/// The end of a piece that begins at `start`: before a later `[[pipeline]]`, or the end of the text.
fn end_of_piece(text: &str, start: usize) -> usize {
    let rest = text.as_bytes().get(start + PIECE..).unwrap_or_default();
    memmem::find(rest, b"\n[[pipeline]]").map_or(text.len(), |at| start + PIECE + at + 1)
}

const DEFAULT_LIMIT: f64 = 1000.0;

/// The prefix before the name of a variable that contains a secret.
const ENV: &str = "env:";

/// A list of texts. No error shows any of them.
fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Spanned<Zeroizing<String>>>, D::Error> {
    Vec::deserialize(deserializer).map_err(|_| D::Error::custom("secrets is not a list of texts"))
}

impl Keys {
    /// Reads a key file: TOML, with one `[[pipeline]]` per key.
    ///
    /// Required are `id` (`pip_` and more, at most 64 characters of `[A-Za-z0-9_-]`) and `key` (`dk_live_` or
    /// `dk_test_` and more, with the same limits). Instead of `key`, there may be a `write_key` that another vendor
    /// gave out (up to 64 of the same characters, for [`Compat`](crate::options::Compat)).
    ///
    /// The other members are optional. Their defaults are in parentheses:
    ///
    /// - Use of the key: `enabled` (true), `domain_allowlist` (empty: all), `require_origin` (false), `rate_limit_rps`
    ///   (1000; positive).
    /// - `topic`: the Kafka topic of this pipeline's events.
    /// - Signatures: `secrets` (none; texts, or `env:` and the name of a variable of this process), `require_signature`
    ///   (false).
    /// - Consent: `max` (`individual`), `default` (`max`), `consent` (none: nobody is looked up), `unknown` (`none`),
    ///   `scope` (the id), `aggregate_properties` (none), `aggregate_minimum` (5), `refuse_addresses` (false).
    /// - For people: `name` and `labels` (text to text).
    ///
    /// A pipeline may have several keys, each in its own `[[pipeline]]`, so that keys can be changed without a gap. A
    /// key belongs to one pipeline. A file without any pipeline is an error, because it is probably being written.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let line = |at: usize| text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
        let error = |at, message: String| KeysError { line: line(at), message: message.replace(char::is_control, " ") };
        let (mut keys, mut places) = (Self::default(), Vec::new());
        let mut start = 0;
        while start < text.len() {
            let mut end = end_of_piece(text, start);
            let mut read = toml::from_str::<File>(&text[start..end]);
            if read.is_err() && end < text.len() {
                // Perhaps the piece ended within a text of several lines. If not, the error is the same.
                end = text.len();
                read = toml::from_str(&text[start..]);
            }
            let file =
                read.map_err(|err| error(start + err.span().map_or(0, |span| span.start), mask_all(err.message())))?;
            for mut pipeline in file.pipeline {
                let at = pipeline.span().start;
                if let Some(topic) = pipeline.get_mut().topic.take() {
                    let at = start + topic.span().start;
                    let message = keys.route(pipeline.get_ref().id.get_ref(), topic.get_ref()).err();
                    message.map_or(Ok(()), |message| Err(error(at, message)))?;
                }
                let (at, entry) =
                    pipeline.into_inner().check(at).map_err(|(at, message)| error(start + at, message))?;
                let at = start + at;
                keys.agree(&entry).map_err(|message| error(at, message))?;
                if let Some(other) = keys.position(&entry.key) {
                    let first = line(places[other]);
                    return Err(error(at, format!("key {} repeats the key of line {first}", mask(&entry.key))));
                }
                places.push(at);
                keys.push(entry);
            }
            start = end;
        }
        if keys.entries.is_empty() {
            return Err(error(0, "no [[pipeline]]".to_owned()));
        }
        keys.entries.shrink_to_fit();
        let has_room = keys.use_buckets(Buckets::in_memory(keys.count()));
        debug_assert!(has_room, "it was made for as many");
        Ok(keys)
    }
}

impl Keys {
    /// Refuses a key whose terms differ from those of its pipeline's first key, because a person's decision applies to
    /// both.
    fn agree(&self, entry: &Entry) -> Result<(), String> {
        match self.terms.get(&*entry.pipeline) {
            Some(terms) if *terms != entry.terms => Err(format!(
                "the consent members differ from another key of {}: give both keys the same",
                entry.pipeline
            )),
            _ => Ok(()),
        }
    }

    /// Notes the topic of a pipeline's events.
    fn route(&mut self, id: &str, topic: &str) -> Result<(), String> {
        let fits = (1..=249).contains(&topic.len()) && topic.chars().all(|c| is_name_char(c) || c == '.');
        if !fits || topic == "." || topic == ".." {
            return Err(format!("topic {:?} is not 1 to 249 of A-Z a-z 0-9 . _ -", mask_all(topic)));
        }
        match self.topics.insert(id.to_owned(), topic.to_owned()) {
            Some(other) if other != topic => Err(format!("topic {topic:?} of {id} differs from {other:?} above")),
            _ => Ok(()),
        }
    }
}

impl Pipeline {
    /// The entry, and the place of its key; or an error, and its place. `at` is the beginning of the table.
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
                let message = "key and write_key are two keys: give each its own [[pipeline]]".to_owned();
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
        let terms = Said {
            max: self.max,
            default: self.default,
            consent: self.consent,
            unknown: self.unknown,
            scope: self.scope,
            properties: self.aggregate_properties,
            minimum: self.aggregate_minimum,
            refuse_addresses: self.refuse_addresses,
        };
        let terms = terms.check(self.id.get_ref())?.map(Arc::new);
        let domains = self.domain_allowlist.iter().map(|text| {
            domain::parse(text.get_ref()).ok_or_else(|| {
                let text_shown = mask_all(text.get_ref());
                let message =
                    format!("domain {text_shown:?} is not like \"example.com\", which includes its subdomains");
                (text.span().start, message)
            })
        });
        let secrets =
            self.secrets.iter().map(|text| read_secret(text.get_ref()).map_err(|why| (text.span().start, why)));
        let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
        let required = self.require_signature.as_ref().is_some_and(|required| *required.get_ref());
        if let (true, true, Some(required)) = (required, secrets.is_empty(), &self.require_signature) {
            return Err((required.span().start, "require_signature needs secrets".to_owned()));
        }
        let entry = Entry {
            terms,
            domains: domains.collect::<Result<_, _>>()?,
            require_origin: self.require_origin,
            key: key.into_inner().into(),
            pipeline: self.id.into_inner().into(),
            enabled: self.enabled,
            guard: Guard::new(secrets, required).map(Box::new),
            limit: Limit::new(limit),
            place: 0,
        };
        Ok((at, entry))
    }
}

/// A secret of the file, or its error, without a character of the secret.
fn read_secret(text: &str) -> Result<Secret, String> {
    let Some(name) = text.strip_prefix(ENV) else {
        return Secret::new(text).map_err(|weak| format!("a secret {weak}"));
    };
    let is_variable = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_variable) {
        return Err("a secret begins with env: but the name of a variable does not follow".to_owned());
    }
    let value = env::var(name).map(Zeroizing::new).map_err(|_| format!("the secret env:{name} is not set"))?;
    Secret::new(&value).map_err(|weak| format!("the secret env:{name} {weak}"))
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn is_name(text: &str, prefixes: &[&str]) -> bool {
    let rest = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
    rest.is_some_and(|rest| !rest.is_empty()) && text.len() <= 64 && text.chars().all(is_name_char)
}

/// The part of a key that may be shown: its prefix, and of the rest at most two characters and at most a quarter.
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
