//! Reads the pixel URLs of Segment and `RudderStack`, for mails that are already sent (`docs/migration.md`).
//!
//! A foreign query is rewritten as a native one, and then read as such. So there is only one way through keys, limits
//! and privacy. Parts that a native query cannot express are passed separately: JSON values, and a context.

mod data;
mod exact;

use serde_json::value::RawValue;
use url::form_urlencoded::byte_serialize;

use crate::options::{Compat, Options};
use crate::query::form::{self, Raw};
use crate::query::layout::{self, Root};
use crate::reason::Reason;
use crate::text;
use crate::time::UnixMillis;

/// The contents of a foreign query.
#[derive(Default)]
pub struct Foreign {
    /// The equivalent native query.
    pub query: Vec<u8>,
    /// A JSON object in place of all `p.`.
    pub properties: Option<Box<RawValue>>,
    /// A JSON object in place of all `t.`.
    pub traits: Option<Box<RawValue>>,
    /// Members of the context, without those in `OURS`.
    pub context: Vec<Member>,
    /// Whether a context or a JSON value is deeper than [`Limits::depth`](crate::options::Limits::depth).
    pub too_deep: bool,
}

impl Foreign {
    /// The JSON object in place of a root's parameters.
    #[must_use]
    pub fn object(&self, root: Root) -> Option<&str> {
        let object = match root {
            Root::Properties => &self.properties,
            Root::Traits => &self.traits,
        };
        object.as_deref().map(RawValue::get)
    }
}

/// A name and its value.
pub type Member = (String, Box<RawValue>);

/// Members of the context that only the gateway may set.
const OURS: [&str; 7] = ["ip", "consent", "client", "signed", "sealed", "repaired", "unreadable"];

/// The long names that are equivalent to short ones.
const TEXTS: [(&str, &[u8]); 5] =
    [("writeKey", b"wk"), ("userId", b"uid"), ("anonymousId", b"aid"), ("groupId", b"gid"), ("messageId", b"mid")];

/// The long name of `e`, which depends on the type.
fn name_of_e(kind: &str) -> Option<&'static str> {
    match kind {
        "track" => Some("event"),
        "page" => Some("name"),
        _ => None,
    }
}

/// Whether a name is known in other vendors' URLs.
#[must_use]
pub fn knows(kind: &str, name: &str, compat: Compat) -> bool {
    let is_member = || ["properties.", "traits.", "context."].iter().any(|begin| name.starts_with(begin));
    let is_text = || TEXTS.iter().any(|(long, _)| *long == name) || name_of_e(kind) == Some(name);
    compat.any() && (is_member() || is_text() || TIMES.contains(&name)) || compat.segment && name == "data"
}

/// The members that may have the time of an event, the better one first. `sentAt` is not among them: it is the time of
/// sending by the sender's clock.
const TIMES: [&str; 2] = ["timestamp", "originalTimestamp"];

/// Reads a query with a foreign name; None for other queries.
pub fn read(kind: &str, query: &[u8], received_at: UnixMillis, options: &Options) -> Result<Option<Foreign>, Reason> {
    let mut native = Vec::new();
    // A native name has priority over a long one, so the long ones are appended.
    let mut texts = Vec::new();
    let mut times = [Raw::default(); TIMES.len()];
    let mut data = Raw::default();
    let (mut has_key, mut has_context, mut is_foreign, mut too_deep) = (false, false, false, false);
    for (count, (name, value)) in form::pairs(query).enumerate() {
        if count == options.limits.parameters {
            return Err(Reason::TooManyParameters);
        }
        let decoded = name.decode();
        let decoded = str::from_utf8(layout::unescape_amp(&decoded)).unwrap_or_default();
        if let Some(path) = decoded.strip_prefix("properties.") {
            renamed(&mut native, b"p.", path, value);
        } else if let Some(path) = decoded.strip_prefix("traits.") {
            renamed(&mut native, b"t.", path, value);
        } else if let Some(path) = decoded.strip_prefix("context.") {
            has_context = true;
            too_deep |= path.split('.').count() > options.limits.depth;
        } else if let Some((_, short)) = TEXTS.iter().find(|(long, _)| *long == decoded) {
            renamed(&mut texts, short, "", value);
        } else if name_of_e(kind) == Some(decoded) {
            renamed(&mut texts, b"e", "", value);
        } else if let Some(i) = TIMES.iter().position(|time| *time == decoded) {
            first(&mut times[i], value);
        } else if options.compat.segment && decoded == "data" {
            first(&mut data, value);
        } else {
            has_key |= decoded == "wk" && !text::trim(&value.decode()).is_empty();
            renamed(&mut native, name.bytes, "", value);
            continue;
        }
        is_foreign = true;
    }
    if !is_foreign {
        return Ok(None);
    }
    native.append(&mut texts);
    let mut found = Foreign { query: native, too_deep, ..Foreign::default() };
    if has_context {
        let nested = layout::nest(query, "context.", options.typed_values);
        found.context = context(str::from_utf8(&nested).unwrap_or_default())?;
    }
    let mut time = times.iter().find(|time| !time.bytes.is_empty()).map(|time| time.decode().into_owned());
    if !(data.bytes.is_empty() || has_key) {
        let json = data::decode(data).ok_or(Reason::MalformedData)?;
        let json = exact::exact(&json).ok_or(Reason::MalformedData)?;
        let sent_time = take_data(&mut found, kind, &json.text)?;
        time = time.or(sent_time);
        found.too_deep |= json.depth.saturating_sub(1) > options.limits.depth;
    }
    if let Some(time) = time {
        // An implausible time is passed on unchanged, so that it is kept as it was sent.
        let millis = UnixMillis::of_iso(&time, received_at).map(|time| time.millis().to_string().into_bytes());
        text_pair(&mut found.query, b"ts", &millis.unwrap_or(time));
    }
    Ok(Some(found))
}

/// Takes over the contents of the JSON object in `data`, and returns its time.
fn take_data(found: &mut Foreign, kind: &str, json: &str) -> Result<Option<Vec<u8>>, Reason> {
    let members = data::Members::parse(json)?;
    let e = name_of_e(kind).map(|long| (long, &b"e"[..]));
    for (long, short) in TEXTS.into_iter().chain(e) {
        if let Some(text) = members.text(long)? {
            text_pair(&mut found.query, short, text.as_bytes());
        }
    }
    found.properties = members.object("properties")?;
    found.traits = members.object("traits")?;
    if let Some(sent) = members.object("context")? {
        found.context = context(sent.get())?;
    }
    for name in TIMES {
        if let Some(time) = members.text(name)?.filter(|time| !time.is_empty()) {
            return Ok(Some(time.into_bytes()));
        }
    }
    Ok(None)
}

/// The non-empty members of a JSON object, without those that the sender may not set, and those that our schema does
/// not allow.
fn context(json: &str) -> Result<Vec<Member>, Reason> {
    let mut members = data::Members::parse(json)?.into_members();
    members.retain(|(name, value)| {
        !OURS.contains(&name.as_str())
            && !matches!(value.get(), "" | "null" | "{}" | r#""""#)
            && fits(name, value.get())
    });
    Ok(members)
}

/// Whether a member of the context has the shape of the schema. Members with other names may have any shape.
fn fits(name: &str, json: &str) -> bool {
    match name {
        "userAgent" | "locale" => is_text(json),
        "page" => has_texts(json, &["url"], false),
        "campaign" => has_texts(json, &["source", "medium", "name", "term", "content", "id"], false),
        "library" => has_texts(json, &["name", "version"], true),
        _ => true,
    }
}

fn is_text(json: &str) -> bool {
    json.starts_with('"') && json != r#""""#
}

/// Whether it is an object in which each of these members is a text. They may be missing unless they are `required`.
fn has_texts(json: &str, names: &[&str], required: bool) -> bool {
    let Ok(members) = data::Members::parse(json).map(data::Members::into_members) else { return false };
    names.iter().all(|name| {
        let value = members.iter().find(|(other, _)| other == name).map(|(_, value)| value.get());
        value.map_or(!required, is_text)
    })
}

/// Appends a pair with another name: `prefix` unchanged, then `path` form-encoded.
fn renamed(query: &mut Vec<u8>, prefix: &[u8], path: &str, value: Raw<'_>) {
    query.push(b'&');
    query.extend_from_slice(prefix);
    encode(query, path.as_bytes());
    query.push(b'=');
    query.extend_from_slice(value.bytes);
}

/// Appends a pair with a decoded value.
fn text_pair(query: &mut Vec<u8>, name: &[u8], text: &[u8]) {
    query.push(b'&');
    query.extend_from_slice(name);
    query.push(b'=');
    encode(query, text);
}

fn encode(query: &mut Vec<u8>, text: &[u8]) {
    byte_serialize(text).for_each(|part| query.extend_from_slice(part.as_bytes()));
}

/// Keeps the first non-empty value of a repeated name.
fn first<'q>(slot: &mut Raw<'q>, value: Raw<'q>) {
    if slot.bytes.is_empty() {
        *slot = value;
    }
}
