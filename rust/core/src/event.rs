//! From a request to the bytes of its event, or to the reason why it is none (contract, sections 2, 4 and 5).

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use jiff::Timestamp;
use uuid::{NoContext, Uuid};

use crate::client::client;
use crate::tree::Tree;
use crate::{VERSION, form, json, text, tree};

/// Why a request becomes no event. Where several apply, the first in this order is it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The last part of the path is none of the four types.
    UnknownType,
    /// The query is longer than [`Limits::query_bytes`].
    QueryTooLong,
    /// The query has more parameters than [`Limits::parameters`].
    TooManyParameters,
    /// No `wk`, or an empty one.
    MissingKey,
    /// `wk` is not `[A-Za-z0-9_-]{1,64}`.
    MalformedKey,
    /// A track request without `e`.
    MissingEvent,
    /// A path has more segments than [`Limits::depth`].
    TooDeep,
}

impl Reason {
    /// All reasons, in order of precedence.
    pub const ALL: [Self; 7] = [
        Self::UnknownType,
        Self::QueryTooLong,
        Self::TooManyParameters,
        Self::MissingKey,
        Self::MalformedKey,
        Self::MissingEvent,
        Self::TooDeep,
    ];

    /// The contract's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown_type",
            Self::QueryTooLong => "query_too_long",
            Self::TooManyParameters => "too_many_parameters",
            Self::MissingKey => "missing_key",
            Self::MalformedKey => "malformed_key",
            Self::MissingEvent => "missing_event",
            Self::TooDeep => "too_deep",
        }
    }
}

/// What a query may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the query.
    pub query_bytes: usize,
    /// Sequences between `&` that are not empty.
    pub parameters: usize,
    /// Segments of a dotted path.
    pub depth: usize,
}

/// How requests are read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What a query may cost.
    pub limits: Limits,
    /// Whether values that are JSON literals become such.
    pub typed_values: bool,
}

/// Unix time in milliseconds, between 1970 and the end of 9999.
#[derive(Clone, Copy, Debug)]
pub struct UnixMillis(Timestamp);

impl UnixMillis {
    /// None when `millis` is out of range.
    #[must_use]
    pub fn new(millis: i64) -> Option<Self> {
        Timestamp::from_millisecond(millis).ok().filter(|_| millis >= 0).map(Self)
    }

    /// The gateway's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(Timestamp::now())
    }

    fn millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// A `UUIDv7` of this time (RFC 9562, section 5.7).
    fn uuid(self) -> Uuid {
        let millis = self.millis().unsigned_abs();
        #[expect(clippy::cast_possible_truncation, reason = "below a billion")]
        let nanos = (millis % 1000 * 1_000_000) as u32;
        Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, millis / 1000, nanos))
    }
}

/// ISO 8601 in UTC with milliseconds.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

/// What a request brings beside its query: the peer and the values of its headers.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// When it came.
    pub received_at: UnixMillis,
    /// The client's address.
    pub ip: Option<&'r str>,
    /// User-Agent.
    pub user_agent: Option<&'r str>,
    /// Referer.
    pub referer: Option<&'r str>,
    /// Accept-Language.
    pub locale: Option<&'r str>,
    /// Sec-GPC.
    pub gpc: Option<&'r str>,
    /// DNT.
    pub dnt: Option<&'r str>,
    /// Sec-Purpose.
    pub purpose: Option<&'r str>,
}

const CAMPAIGN: [(&str, &str); 5] = [
    ("utm_source", "source"),
    ("utm_medium", "medium"),
    ("utm_campaign", "name"),
    ("utm_term", "term"),
    ("utm_content", "content"),
];

/// The parameters of one query that mean something. An absent one is empty.
#[derive(Default)]
struct Parameters<'q> {
    wk: Cow<'q, str>,
    e: Cow<'q, str>,
    uid: Cow<'q, str>,
    aid: Cow<'q, str>,
    gid: Cow<'q, str>,
    mid: Cow<'q, str>,
    ts: Cow<'q, str>,
    campaign: [Cow<'q, str>; CAMPAIGN.len()],
    /// Decoded names and raw values that begin with `p.` or `t.`.
    nested: Vec<(Cow<'q, str>, &'q [u8])>,
    too_deep: bool,
}

impl<'q> Parameters<'q> {
    fn read(query: &'q [u8], limits: &Limits) -> Result<Self, Reason> {
        let mut found = Self::default();
        for (count, (name, value)) in form::pairs(query).enumerate() {
            if count == limits.parameters {
                return Err(Reason::TooManyParameters);
            }
            found.take(form::decode(name), value, limits);
        }
        Ok(found)
    }

    fn take(&mut self, name: Cow<'q, str>, raw: &'q [u8], limits: &Limits) {
        let plain = |text: Cow<'q, str>| text;
        let trimmed = |text| shorten(text, text::trim);
        let unquoted = |text| shorten(text, |text| text::trim(text::unquote(text::trim(text))));
        match tree::unescape_amp(&name) {
            "wk" => first(&mut self.wk, raw, trimmed),
            "e" => first(&mut self.e, raw, plain),
            "uid" => first(&mut self.uid, raw, trimmed),
            "aid" => first(&mut self.aid, raw, unquoted),
            "gid" => first(&mut self.gid, raw, trimmed),
            "mid" => first(&mut self.mid, raw, trimmed),
            "ts" => first(&mut self.ts, raw, plain),
            other if other.starts_with("p.") || other.starts_with("t.") => {
                self.too_deep |= other.split('.').count() - 1 > limits.depth;
                self.nested.push((name, raw));
            }
            other => {
                if let Some(i) = CAMPAIGN.iter().position(|(utm, _)| *utm == other) {
                    first(&mut self.campaign[i], raw, plain);
                }
            }
        }
    }

    fn tree(&self, prefix: &str) -> Tree<'_> {
        let mut tree = Tree::default();
        for (name, raw) in &self.nested {
            if let Some(path) = tree::unescape_amp(name).strip_prefix(prefix) {
                tree.add(path, raw);
            }
        }
        tree
    }
}

/// Of a repeated reserved name the first value counts that is not empty.
fn first<'q>(slot: &mut Cow<'q, str>, raw: &'q [u8], read: impl Fn(Cow<'q, str>) -> Cow<'q, str>) {
    if slot.is_empty() {
        *slot = read(form::decode(raw));
    }
}

fn shorten(text: Cow<'_, str>, part: impl Fn(&str) -> &str) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(part(text)),
        Cow::Owned(text) => Cow::Owned(part(&text).to_owned()),
    }
}

fn is_key(wk: &str) -> bool {
    wk.len() <= 64 && wk.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Appends the event of a request, one JSON object. Appends nothing when it is rejected.
pub fn write(
    out: &mut Vec<u8>,
    kind: &str,
    query: &[u8],
    request: &Request<'_>,
    options: &Options,
) -> Result<(), Reason> {
    let name = match kind {
        "track" => "event",
        "page" => "name",
        "identify" | "group" => "",
        _ => return Err(Reason::UnknownType),
    };
    if query.len() > options.limits.query_bytes {
        return Err(Reason::QueryTooLong);
    }
    let found = Parameters::read(query, &options.limits)?;
    if found.wk.is_empty() {
        return Err(Reason::MissingKey);
    }
    if !is_key(&found.wk) {
        return Err(Reason::MalformedKey);
    }
    if kind == "track" && found.e.is_empty() {
        return Err(Reason::MissingEvent);
    }
    if found.too_deep {
        return Err(Reason::TooDeep);
    }

    let timestamp = plausible(&found.ts, request.received_at);
    out.push(b'{');
    member(out, "type", kind);
    if !name.is_empty() {
        member(out, name, &found.e);
    }
    if found.mid.is_empty() {
        member(out, "messageId", request.received_at.uuid().hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    } else {
        member(out, "messageId", &found.mid);
    }
    time(out, "timestamp", timestamp.unwrap_or(request.received_at));
    time(out, "receivedAt", request.received_at);
    member(out, "pipelineKey", &found.wk);
    member(out, "userId", &found.uid);
    member(out, "anonymousId", &found.aid);
    member(out, "groupId", &found.gid);
    for (prefix, name) in [("p.", "properties"), ("t.", "traits")] {
        let tree = found.tree(prefix);
        if !tree.is_empty() {
            key(out, name);
            tree.write(out, options.typed_values);
        }
    }
    let repaired = if timestamp.is_none() { &*found.ts } else { "" };
    context(out, request, &found.campaign, repaired);
    out.push(b'}');
    Ok(())
}

/// Appends the record of a rejected request, one JSON object.
pub fn write_rejection(out: &mut Vec<u8>, reason: Reason, kind: &str, query: &[u8], request: &Request<'_>) {
    out.push(b'{');
    member(out, "reason", reason.as_str());
    key(out, "type");
    json::string(out, kind);
    key(out, "query");
    json::string(out, &String::from_utf8_lossy(query));
    time(out, "receivedAt", request.received_at);
    context(out, request, &[], "");
    out.push(b'}');
}

/// The time that `ts` names, if it lies between the year 2000 and 23 hours after receipt.
fn plausible(ts: &str, received_at: UnixMillis) -> Option<UnixMillis> {
    const YEAR_2000: i64 = 946_684_800_000;
    const HOURS_23: i64 = 23 * 3_600_000;
    let digits = !ts.is_empty() && ts.bytes().all(|b| b.is_ascii_digit());
    let millis = digits.then(|| ts.parse().ok()).flatten()?;
    (YEAR_2000..=received_at.millis() + HOURS_23).contains(&millis).then(|| UnixMillis::new(millis)).flatten()
}

fn context(out: &mut Vec<u8>, request: &Request<'_>, campaign: &[Cow<'_, str>], repaired_ts: &str) {
    key(out, "context");
    out.push(b'{');
    member(out, "ip", request.ip.unwrap_or_default());
    member(out, "userAgent", request.user_agent.unwrap_or_default());
    member(out, "locale", text::first_language(request.locale.unwrap_or_default()));
    object(out, "page", [("url", request.referer.unwrap_or_default())]);
    object(out, "campaign", CAMPAIGN.iter().zip(campaign).map(|((_, name), value)| (*name, &**value)));
    let (gpc, dnt) = (request.gpc == Some("1"), request.dnt == Some("1"));
    if gpc || dnt {
        key(out, "consent");
        out.push(b'{');
        for (name, _) in [("gpc", gpc), ("dnt", dnt)].into_iter().filter(|(_, sent)| *sent) {
            key(out, name);
            out.extend_from_slice(b"true");
        }
        out.push(b'}');
    }
    if let Some(client) = client(request.user_agent.unwrap_or_default(), request.purpose.unwrap_or_default()) {
        key(out, "client");
        out.push(b'{');
        member(out, "name", client.name);
        key(out, "automated");
        out.extend_from_slice(if client.automated { b"true" } else { b"false" });
        out.push(b'}');
    }
    object(out, "repaired", [("ts", repaired_ts)]);
    object(out, "library", [("name", "pixelcore"), ("version", VERSION)]);
    out.push(b'}');
}

/// Appends an object of texts, unless all of them are absent.
fn object<'a>(out: &mut Vec<u8>, name: &str, members: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let before = out.len();
    key(out, name);
    out.push(b'{');
    let empty = out.len();
    members.into_iter().for_each(|(name, value)| member(out, name, value));
    if out.len() == empty {
        out.truncate(before);
    } else {
        out.push(b'}');
    }
}

/// Appends a member, unless its text is empty: what was not sent is absent.
fn member(out: &mut Vec<u8>, name: &str, value: &str) {
    if !value.is_empty() {
        key(out, name);
        json::string(out, value);
    }
}

fn time(out: &mut Vec<u8>, name: &str, time: UnixMillis) {
    key(out, name);
    // Writing to a Vec cannot fail.
    let _ = write!(out, "\"{time}\"");
}

/// Appends the name of a member, which needs no escaping, after a comma unless it is the object's first.
fn key(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
