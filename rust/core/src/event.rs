//! From a request to the bytes of its event, or to the reason why it is none (contract, sections 2, 4 and 5).

use std::borrow::Cow;

use uuid::Uuid;

use crate::client::Client;
use crate::compat::{self, Member};
use crate::options::{Limits, Options};
use crate::query::fields::{CAMPAIGN, Trimmed};
use crate::query::form::{self, Raw, behind};
use crate::query::layout::{self, Root};
use crate::reason::Reason;
use crate::request::Request;
use crate::time::UnixMillis;
use crate::{json, text};

/// What was mended in an event rather than believed; `context.repaired` has it as it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// An implausible `ts`.
    pub ts: bool,
}

fn is_key(wk: &[u8]) -> bool {
    wk.len() <= 64 && wk.iter().all(|&byte| IN_KEYS[usize::from(byte)])
}

/// The bytes that a key may have.
const IN_KEYS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x80_u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        byte += 1;
    }
    table
};

/// Appends the event of a request, one JSON object. Appends nothing when it is rejected.
///
/// `judge` says whose key it is, which is ASCII, or why it may not be used; an empty id is left out of the event.
pub fn write<'k>(
    out: &mut Vec<u8>,
    kind: &str,
    query: &[u8],
    request: &Request<'_>,
    options: &Options,
    judge: impl FnOnce(&[u8]) -> Result<&'k str, Reason>,
) -> Result<Repairs, Reason> {
    let (head, name): (&[u8], &[u8]) = match kind {
        "track" => (b"{\"type\":\"track\",", b"\"event\":\""),
        "page" => (b"{\"type\":\"page\",", b"\"name\":\""),
        "identify" => (b"{\"type\":\"identify\",", b""),
        "group" => (b"{\"type\":\"group\",", b""),
        _ => return Err(Reason::UnknownType),
    };
    if query.len() > options.limits.query_bytes {
        return Err(Reason::QueryTooLong);
    }
    let foreign = if options.compat.any() { compat::read(kind, query, request.received_at, options)? } else { None };
    let (query, parameters) = match &foreign {
        Some(foreign) => (&foreign.query[..], usize::MAX), // they were counted as they were sent
        None => (query, options.limits.parameters),
    };
    let limits = Limits { parameters, ..options.limits };
    layout::with(query, &limits, options.typed_values, |parameters, layout| {
        let found = layout.fields(parameters);
        if found.wk.is_empty() {
            return Err(Reason::MissingKey);
        }
        if !is_key(&found.wk) {
            return Err(Reason::MalformedKey);
        }
        let pipeline = judge(&found.wk)?;
        if kind == "track" && found.e.bytes.is_empty() {
            return Err(Reason::MissingEvent);
        }
        if layout.too_deep || foreign.as_ref().is_some_and(|foreign| foreign.too_deep) {
            return Err(Reason::TooDeep);
        }
        let client = request.client();
        if options.reject_automated && client.is_some_and(|client| client.automated) {
            return Err(Reason::Automated);
        }
        let private = request.is_private(options);

        // Every member ends with a comma, since the context follows, which ends with the library.
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
        let repaired = if timestamp.is_none() { found.ts } else { Raw::default() };
        // Who it was may be in any member of a sender's context.
        let sent = foreign.as_ref().filter(|_| !private).map_or(&[][..], |foreign| &foreign.context);
        context(out, request, private, client, &found.campaign, repaired, sent);
        out.push(b'}');
        Ok(Repairs { ts: !repaired.bytes.is_empty() })
    })
}

/// Appends the record of a rejected request, one JSON object.
///
/// The query is kept as it was sent, so that it can be judged again, whatever Sec-GPC says.
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
    context(out, request, request.is_private(options), request.client(), &[], Raw::default(), &[]);
    out.push(b'}');
}

/// Appends the context. A member that the sender wrote stands for ours of its name.
fn context(
    out: &mut Vec<u8>,
    request: &Request<'_>,
    private: bool,
    client: Option<Client>,
    campaign: &[Raw<'_>],
    repaired_ts: Raw<'_>,
    sent: &[Member],
) {
    let is_ours = |name| !sent.iter().any(|(other, _)| other == name);
    out.extend_from_slice(b"\"context\":{");
    if !private {
        header(out, b"\"ip\":\"", request.ip);
        header(out, b"\"userAgent\":\"", request.user_agent.filter(|_| is_ours("userAgent")));
    }
    header(out, b"\"locale\":\"", request.locale.filter(|_| is_ours("locale")).map(text::first_language));
    if request.referer.is_some_and(|url| !url.is_empty()) && is_ours("page") {
        out.extend_from_slice(b"\"page\":{");
        header(out, b"\"url\":\"", request.referer);
        close(out);
    }
    if campaign.iter().any(|text| !text.bytes.is_empty()) && is_ours("campaign") {
        out.extend_from_slice(b"\"campaign\":{");
        CAMPAIGN.iter().zip(campaign).for_each(|((_, name), text)| raw_member(out, name, text.bytes, *text));
        close(out);
    }
    let (gpc, dnt) = (request.gpc == Some("1"), request.dnt == Some("1"));
    if gpc || dnt {
        out.extend_from_slice(b"\"consent\":{");
        out.extend_from_slice(if gpc { b"\"gpc\":true," } else { b"" });
        out.extend_from_slice(if dnt { b"\"dnt\":true," } else { b"" });
        close(out);
    }
    if let Some(client) = client {
        out.extend_from_slice(b"\"client\":{");
        plain_member(out, b"\"name\":\"", client.name.as_bytes());
        out.extend_from_slice(if client.automated { b"\"automated\":true," } else { b"\"automated\":false," });
        close(out);
    }
    if !repaired_ts.bytes.is_empty() {
        out.extend_from_slice(b"\"repaired\":{");
        raw_member(out, b"\"ts\":\"", repaired_ts.bytes, repaired_ts);
        close(out);
    }
    for (name, value) in sent {
        json::string(out, name.as_bytes());
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
        out.push(b',');
    }
    if is_ours("library") {
        out.extend_from_slice(LIBRARY.as_bytes());
    } else {
        out.pop();
    }
    out.push(b'}');
}

const LIBRARY: &str = concat!(r#""library":{"name":"pixelcore","version":""#, env!("CARGO_PKG_VERSION"), "\"}");

/// Appends a member, `"name":"` and its text, unless the text is empty: what was not sent is absent.
///
/// A name whose length is known is a few moves, not a call of `memcpy`.
fn header<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], value: Option<&str>) {
    if let Some(text) = value.filter(|text| !text.is_empty()) {
        out.extend_from_slice(name);
        json::text(out, text.as_bytes());
        out.extend_from_slice(b"\",");
    }
}

/// `query` is what the text is a part of: what is behind it makes copying it cheaper.
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

/// Appends a member whose text has nothing to escape.
#[inline]
fn plain_member<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], text: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\",");
}

/// Closes an object that has members.
fn close(out: &mut Vec<u8>) {
    out.pop();
    out.extend_from_slice(b"},");
}
