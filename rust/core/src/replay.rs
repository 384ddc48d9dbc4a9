//! Judges a rejected request again, from its record (contract, section 5).
//!
//! The record has all parts of an event, so a request that is accepted now becomes the event that it would have been.
//! The record has no Origin, so the Referer alone is checked against a key's domains.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;

use crate::query::form::Raw;
use crate::reason::Reason;
use crate::request::{Request, Unreadable};
use crate::time::UnixMillis;

/// The error of a line that is not a record of a rejection.
#[derive(Debug)]
pub enum RecordError {
    /// It is not JSON, or lacks a required member.
    Json(serde_json::Error),
    /// `receivedAt` is not a time that a gateway writes.
    ReceivedAt,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::ReceivedAt => f.write_str("receivedAt is not a time that a gateway writes"),
        }
    }
}

impl std::error::Error for RecordError {}

/// The record that [`crate::event::write_rejection`] writes. Unknown members of the context are ignored, because later
/// versions may add some.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'l> {
    #[serde(borrow)]
    reason: Cow<'l, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'l, str>,
    #[serde(borrow)]
    query: Cow<'l, str>,
    #[serde(borrow)]
    received_at: Cow<'l, str>,
    context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    ip: Option<String>,
    user_agent: Option<String>,
    locale: Option<String>,
    page: Option<Page>,
    #[serde(default)]
    consent: Consent,
    client: Option<Client>,
    #[serde(default)]
    unreadable: Vec<String>,
}

#[derive(Deserialize)]
struct Page {
    url: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Consent {
    gpc: bool,
    dnt: bool,
}

#[derive(Deserialize)]
struct Client {
    name: String,
}

/// A rejected request as it was recorded.
pub struct Record<'r> {
    line: Line<'r>,
    received_at: UnixMillis,
}

/// The query within the last part of a path: everything after its first `?` or `&`. If that character is escaped, so is
/// everything.
fn query_of(kind: &str) -> Vec<u8> {
    let begins = ["?", "&", "%3F", "%3f", "%26"].map(|mark| kind.find(mark).map(|at| (at, mark)));
    let Some((at, mark)) = begins.into_iter().flatten().min() else { return Vec::new() };
    let rest = &kind.as_bytes()[at + mark.len()..];
    let is_escaped = mark.len() > 1 && !rest.contains(&b'=');
    if is_escaped { Raw::new(rest).bytes_of() } else { rest.to_vec() }
}

impl<'r> Record<'r> {
    /// Reads a line of a journal of rejections.
    pub fn parse(line: &'r [u8]) -> Result<Self, RecordError> {
        let line: Line<'r> = serde_json::from_slice(line).map_err(RecordError::Json)?;
        let time: Option<Timestamp> = line.received_at.parse().ok();
        let received_at = time.and_then(|time| UnixMillis::new(time.as_millisecond()));
        Ok(Self { received_at: received_at.ok_or(RecordError::ReceivedAt)?, line })
    }

    /// The reason of its rejection.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.line.reason
    }

    /// The record with this type, if its path names none. If the path contains a query, this query is added.
    #[must_use]
    pub fn with_type(mut self, kind: &'r str) -> Self {
        if self.line.reason == Reason::UnknownType.as_str() {
            let sent = query_of(&self.line.kind);
            let both = [&sent, self.line.query.as_bytes()].into_iter().filter(|query| !query.is_empty());
            self.line.query = String::from_utf8_lossy(&both.collect::<Vec<_>>().join(&b'&')).into_owned().into();
            self.line.kind = kind.into();
        }
        self
    }

    /// Judges the request: passes its type, query and parts to `judge`, as they were received.
    pub fn judge<T>(&self, judge: impl FnOnce(&str, &[u8], &Request<'_>) -> Result<T, Reason>) -> Result<T, Reason> {
        judge(&self.line.kind, self.line.query.as_bytes(), &self.request())
    }

    /// A stand-in for the Origin, which is not kept. A request without a Referer that was rejected for its domain must
    /// have had an Origin. It is rejected again, unless all domains are allowed now. For other requests, the Referer
    /// alone decides.
    fn origin(&self) -> Option<&'static str> {
        (self.line.reason == "domain_not_allowed" && self.line.context.page.is_none()).then_some("not kept")
    }

    fn request(&self) -> Request<'_> {
        let context = &self.line.context;
        let one = |sent: bool| sent.then_some("1");
        let mut unreadable = Unreadable::default();
        context.unreadable.iter().for_each(|name| unreadable.add_named(name));
        Request {
            received_at: self.received_at,
            ip: context.ip.as_deref(),
            user_agent: context.user_agent.as_deref(),
            referer: context.page.as_ref().map(|page| page.url.as_str()),
            locale: context.locale.as_deref(),
            gpc: one(context.consent.gpc),
            dnt: one(context.consent.dnt),
            // A client that was recognised by its purpose has that purpose as its name. No User-Agent's client has such
            // a name.
            purposes: [context.client.as_ref().map(|client| client.name.as_str()), None, None, None],
            origin: self.origin(),
            unreadable,
        }
    }
}
