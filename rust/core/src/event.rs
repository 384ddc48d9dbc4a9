//! Writes the event of a request, or finds the reason why it is rejected (contract, sections 2, 4 and 5).
//!
//! The reasons have an order of precedence, and the first one that applies counts. This module knows no journals and no
//! key file: the caller judges the key.

mod context;

use std::borrow::Cow;

use uuid::Uuid;

use crate::compat;
use crate::consent::ceilings::Ceilings;
use crate::consent::{self, Mode, Reduced, Terms, Wishes};
use crate::notice::{self, Fault, Id, Notices};
use crate::options::{Limits, Options};
use crate::protect::{Claim, Protection, Verdict};
use crate::query::fields::{Fields, Trimmed};
use crate::query::form::{self, Raw, behind};
use crate::query::layout::{self, Layout, Root};
use crate::query::parameters::Parameters;
use crate::reason::Reason;
use crate::request::{Request, USER_AGENT_BYTES};
use crate::time::UnixMillis;
use crate::{json, text};
use context::{LOCALE_BYTES, REFERER_BYTES, context};

fn is_key(wk: &[u8]) -> bool {
    wk.len() <= 64 && wk.iter().all(|&byte| IN_KEYS[usize::from(byte)])
}

/// The bytes that are allowed in a key.
const IN_KEYS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x80_u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        byte += 1;
    }
    table
};

/// The pipeline of a request's key, and its terms.
#[derive(Clone, Copy, Default)]
pub struct Judged<'k> {
    /// The id of the pipeline; empty if every key is accepted.
    pub pipeline: &'k str,
    /// None if the pipeline states nothing about consent.
    pub terms: Option<&'k Terms>,
    /// The list in which persons are looked up; None if there is none, so that everybody is unknown.
    pub ceilings: Option<&'k Ceilings>,
}

/// Why a request becomes no event, and the mode of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// Its mode; None if it was rejected before the mode was known.
    pub mode: Option<Mode>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, mode: None }
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        refusal.reason
    }
}

/// Appends the event of a request as one JSON object. Appends nothing if it is rejected.
///
/// `judge` finds the pipeline of the [`Claim`]'s key, which is ASCII, or the reason of rejection, and settles the
/// claim. The event leaves out an empty pipeline id. If less than the event may be kept, the reduced record is
/// appended, if there is one; [`Notices::mode`] is its mode.
pub fn write<'k>(
    out: &mut Vec<u8>,
    kind: &str,
    query: &[u8],
    request: &Request<'_>,
    options: &Options,
    judge: impl FnOnce(&mut Claim<'_>) -> Result<Judged<'k>, Reason>,
) -> Result<Notices, Refusal> {
    let mut judge = Some(judge);
    let mut opened: Option<(Judged<'k>, Vec<u8>)> = None;
    // One pass, and a second one for a sealed query. The call is in one place, so that all of it is inlined there.
    loop {
        let mut sealed = None;
        let sent = opened.as_ref().map_or(query, |(_, inside)| inside);
        let written = read(out, kind, sent, request, options, |claim| {
            let Some(judge) = judge.take() else {
                let judged = opened.as_ref().map_or_else(Judged::default, |(judged, _)| *judged);
                return claim.settle_inside().map(|()| (judged, Protection::Sealed));
            };
            let judged = judge(claim)?;
            match claim.take_verdict() {
                Verdict::Open(protection) => Ok((judged, protection)),
                Verdict::Sealed(inside) => {
                    sealed = Some((judged, inside));
                    Err(Reason::BadSignature) // of what is outside there is nothing to write
                }
            }
        });
        if sealed.is_none() {
            return written;
        }
        opened = sealed;
    }
}

/// A refusal. It is separate and cold, so that the compiler optimises the way of accepted requests.
#[cold]
fn refuse<T>(reason: Reason, mode: Option<Mode>) -> Result<T, Refusal> {
    Err(Refusal { reason, mode })
}

/// Appends the event of a query that is not sealed.
#[inline]
fn read<'k>(
    out: &mut Vec<u8>,
    kind: &str,
    sent: &[u8],
    request: &Request<'_>,
    options: &Options,
    judge: impl FnOnce(&mut Claim<'_>) -> Result<(Judged<'k>, Protection), Reason>,
) -> Result<Notices, Refusal> {
    let (head, name): (&[u8], &[u8]) = match kind {
        "track" => (b"{\"type\":\"track\",", b"\"event\":\""),
        "page" => (b"{\"type\":\"page\",", b"\"name\":\""),
        "identify" => (b"{\"type\":\"identify\",", b""),
        "group" => (b"{\"type\":\"group\",", b""),
        _ => return refuse(Reason::UnknownType, None),
    };
    if sent.len() > options.limits.query_bytes {
        return refuse(Reason::QueryTooLong, None);
    }
    let foreign = if options.compat.any() { compat::read(kind, sent, request.received_at, options)? } else { None };
    let (query, parameters) = match &foreign {
        Some(foreign) => (&foreign.query[..], usize::MAX), // they were counted as they were sent
        None => (sent, options.limits.parameters),
    };
    let limits = Limits { parameters, ..options.limits };
    layout::with(query, &limits, options.typed_values, |parameters, layout| {
        let found = layout.fields(parameters);
        if found.wk.is_empty() {
            return refuse(Reason::MissingKey, None);
        }
        if !is_key(&found.wk) {
            return refuse(Reason::MalformedKey, None);
        }
        let (judged, protection) = judge(&mut Claim::new(kind, sent, &found.wk, layout.has_claim))?;
        let private = request.is_private(options);
        // Usually the whole event may be kept.
        let (mode, fault) = if layout.has_mode || judged.terms.is_some() || private {
            wished(sent, parameters, layout, &found, judged, request.most(options))?
        } else {
            (Mode::Individual, None)
        };
        let refusal = |reason| refuse(reason, Some(mode));
        if kind == "track" && found.e.bytes.is_empty() {
            return refusal(Reason::MissingEvent);
        }
        if layout.too_deep || foreign.as_ref().is_some_and(|foreign| foreign.too_deep) {
            return refusal(Reason::TooDeep);
        }
        let client = request.client();
        if options.reject_automated && client.is_some_and(|client| client.automated) {
            return refusal(Reason::Automated);
        }
        if mode != Mode::Individual {
            let foreign = foreign.as_ref().and_then(|foreign| foreign.object(Root::Traits));
            let has_traits = !layout.object(Root::Traits).is_empty() || foreign.is_some();
            let has_more = has_traits || protection == Protection::Sealed;
            let what = Reduced { mode, kind, judged, fields: &found, has_more };
            let fault = consent::reduced(out, &what, parameters, request, options).err().or(fault);
            return Ok(Notices { mode, fault, ..Notices::default() });
        }
        if layout.is_new {
            layout.keep_ignored(parameters);
        }
        let Judged { pipeline, terms, .. } = judged;

        // Every member ends with a comma, because the context follows and ends with the library.
        out.extend_from_slice(head);
        if !name.is_empty() {
            raw_member(out, name, query, found.e);
        }
        if found.mid.is_empty() {
            let mut buffer = Uuid::encode_buffer();
            let id = request.received_at.uuid().hyphenated().encode_lower(&mut buffer);
            plain_member(out, b"\"messageId\":\"", id.as_bytes());
        } else {
            trimmed_member(out, b"\"messageId\":\"", query, &found.mid);
        }
        let received_at = request.received_at.iso();
        let timestamp = UnixMillis::of_ts(&found.ts.decode(), request.received_at);
        plain_member(out, b"\"timestamp\":\"", &timestamp.map_or(received_at, UnixMillis::iso));
        plain_member(out, b"\"receivedAt\":\"", &received_at);
        plain_member(out, b"\"pipelineKey\":\"", &found.wk);
        if !pipeline.is_empty() {
            plain_member(out, b"\"pipelineId\":\"", pipeline.as_bytes());
        }
        if !private {
            trimmed_member(out, b"\"userId\":\"", query, &found.uid);
            trimmed_member(out, b"\"anonymousId\":\"", query, &found.aid);
        }
        trimmed_member(out, b"\"groupId\":\"", query, &found.gid);
        for (root, name) in [(Root::Properties, &b"\"properties\":"[..]), (Root::Traits, b"\"traits\":")] {
            let sent = foreign.as_ref().and_then(|foreign| foreign.object(root));
            let named = layout.object(root);
            if !(named.is_empty() && sent.is_none() || private && root == Root::Traits) {
                out.extend_from_slice(name);
                match sent {
                    Some(sent) => out.extend_from_slice(sent.as_bytes()),
                    None => named.write(out, parameters, options.typed_values),
                }
                out.push(b',');
            }
        }
        let mut notices = Notices { ignored: layout.ignored(), protection, fault, ..Notices::default() };
        let repaired = noticed(&mut notices, layout, query, &found, timestamp.is_some(), private);
        // Any member of a sender's context may identify the person.
        let sent = foreign.as_ref().filter(|_| !private).map_or(&[][..], |foreign| &foreign.context);
        let asks = terms.is_some_and(|terms| terms.lookup.is_some());
        context(out, request, private, client, protection, asks, &found.campaign, &repaired, sent);
        out.push(b'}');
        Ok(notices)
    })
}

/// The mode of a request that may have less than the event, and the fault if its URL does not suit the mode.
#[cold]
fn wished(
    sent: &[u8],
    parameters: &Parameters<'_, '_>,
    layout: &Layout,
    found: &Fields<'_>,
    judged: Judged<'_>,
    most: Mode,
) -> Result<(Mode, Option<Fault>), Refusal> {
    let wishes = Wishes::of(&layout.mode(parameters), [&found.uid, &found.aid], judged, most);
    let mode = consent::mode(wishes);
    if judged.terms.is_some_and(|terms| terms.refuse_addresses) && consent::address::is_in(sent) {
        return refuse(Reason::AddressInUrl, Some(mode));
    }
    Ok((mode, (wishes.url == Some(None)).then_some(Fault::UnknownMode)))
}

/// The notices of an event, and the original values of repaired members.
#[inline]
fn noticed(
    notices: &mut Notices,
    layout: &Layout,
    query: &[u8],
    found: &Fields<'_>,
    is_timely: bool,
    private: bool,
) -> Vec<(&'static str, Vec<u8>)> {
    for (id, text) in
        [(Id::User, &found.uid), (Id::Anonymous, &found.aid), (Id::Group, &found.gid), (Id::Message, &found.mid)]
    {
        notices.doubt(id, text);
    }
    if layout.may_be_decoded || found.wk.starts_with(b"3D") {
        notices.quoted_printable = notice::quoted_printable(query);
    }
    let mut repaired = Vec::new();
    if !is_timely && !found.ts.bytes.is_empty() {
        notices.ts = true;
        repaired.push(("ts", form::untrimmed(query, found.ts).decode().into_owned()));
    }
    for (id, sent) in &found.broken {
        notices.repaired |= 1 << *id as u8;
        if !private || matches!(id, Id::Group | Id::Message) {
            repaired.push((id.member(), text::percent_encoded(&sent.bytes_of())));
        }
    }
    repaired
}

/// Appends the record of a rejected request as one JSON object.
///
/// The query is kept as it was sent, also with Sec-GPC, so that it can be replayed.
pub fn write_rejection(
    out: &mut Vec<u8>,
    reason: Reason,
    kind: &str,
    query: &[u8],
    request: &Request<'_>,
    options: &Options,
) {
    out.push(b'{');
    plain_member(out, b"\"reason\":\"", reason.as_str().as_bytes());
    out.extend_from_slice(b"\"type\":");
    json::string(out, kind.as_bytes());
    out.extend_from_slice(b",\"query\":");
    json::string(out, String::from_utf8_lossy(query).as_bytes());
    out.push(b',');
    plain_member(out, b"\"receivedAt\":\"", &request.received_at.iso());
    let private = request.is_private(options);
    context(out, request, private, request.client(), Protection::None, false, &[], &[], &[]);
    out.push(b'}');
}

/// The greatest size of an event, in bytes, newline included, for queries of at most `query_bytes`.
///
/// A byte of a query becomes at most six: a control character is `\u0000`, and a dot of a path is `"":{` with its end.
/// The kept part of headers is bounded, and its bytes also become at most six. The rest is names and times.
#[must_use]
pub const fn greatest_bytes(query_bytes: usize) -> usize {
    6 * (query_bytes + USER_AGENT_BYTES + REFERER_BYTES + LOCALE_BYTES) + 2048
}

/// `query` contains the text. The bytes after the text make copying cheaper.
fn raw_member(out: &mut Vec<u8>, name: &[u8], query: &[u8], text: Raw<'_>) {
    if !text.bytes.is_empty() {
        out.extend_from_slice(name);
        json::form_text(out, behind(query, text.bytes), text.bytes.len(), text.plain);
        out.extend_from_slice(b"\",");
    }
}

#[inline]
fn trimmed_member<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], query: &[u8], text: &Trimmed<'_>) {
    match text {
        Cow::Borrowed([]) => {}
        Cow::Borrowed(plain) => {
            out.extend_from_slice(name);
            form::copy(out, behind(query, plain), plain.len());
            out.extend_from_slice(b"\",");
        }
        Cow::Owned(text) if text.is_empty() => {}
        Cow::Owned(text) => {
            out.extend_from_slice(name);
            json::text(out, text);
            out.extend_from_slice(b"\",");
        }
    }
}

/// Appends a member whose text needs no escapes.
#[inline]
fn plain_member<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], text: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\",");
}

/// Closes an object that has members.
fn close(out: &mut Vec<u8>) {
    debug_assert_eq!(out.last(), Some(&b','), "it has members");
    out.pop();
    out.extend_from_slice(b"},");
}
