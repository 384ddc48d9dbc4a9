//! A rejected request again, from the record that was kept of it (contract, section 5).
//!
//! The record has all that an event is made of, so what is accepted now becomes the event that it would have been. It
//! has no Origin: a key's domains are held against the page, which is the Referer; which decides.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;

use crate::reason::Reason;
use crate::request::Request;
use crate::time::UnixMillis;

/// A line that is no record of a rejection.
#[derive(Debug)]
pub enum RecordError {
    /// No JSON, or without a member that each record has.
    Json(serde_json::Error),
    /// `receivedAt` is no time that a gateway's clock can show.
    ReceivedAt,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::ReceivedAt => f.write_str("receivedAt is no time of a gateway's clock"),
        }
    }
}

impl std::error::Error for RecordError {}

/// What [`crate::event::write_rejection`] wrote. Of the context, members that later versions may add are passed over.
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

impl<'r> Record<'r> {
    /// Reads a line of a rejections' journal.
    pub fn parse(line: &'r [u8]) -> Result<Self, RecordError> {
        let line: Line<'r> = serde_json::from_slice(line).map_err(RecordError::Json)?;
        let time: Option<Timestamp> = line.received_at.parse().ok();
        let received_at = time.and_then(|time| UnixMillis::new(time.as_millisecond()));
        Ok(Self { received_at: received_at.ok_or(RecordError::ReceivedAt)?, line })
    }

    /// The reason that it was rejected for.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.line.reason
    }

    /// Judges the request: hands its type, query and parts to `judge`, as they were received.
    pub fn judge<T>(&self, judge: impl FnOnce(&str, &[u8], &Request<'_>) -> Result<T, Reason>) -> Result<T, Reason> {
        judge(&self.line.kind, self.line.query.as_bytes(), &self.request())
    }

    /// What stands for the Origin, which is not kept. A request without a Referer that was refused for its domain must
    /// have had one, and is refused again, unless all domains are allowed now; else the Referer alone decides.
    fn origin(&self) -> Option<&'static str> {
        (self.line.reason == "domain_not_allowed" && self.line.context.page.is_none()).then_some("not kept")
    }

    fn request(&self) -> Request<'_> {
        let context = &self.line.context;
        let one = |sent: bool| sent.then_some("1");
        Request {
            received_at: self.received_at,
            ip: context.ip.as_deref(),
            user_agent: context.user_agent.as_deref(),
            referer: context.page.as_ref().map(|page| page.url.as_str()),
            locale: context.locale.as_deref(),
            gpc: one(context.consent.gpc),
            dnt: one(context.consent.dnt),
            // A purpose that was recognised has its own word for a name, which no agent's client has.
            purposes: [context.client.as_ref().map(|client| client.name.as_str()), None, None, None],
            origin: self.origin(),
        }
    }
}
