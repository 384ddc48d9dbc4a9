//! Writes the context of an event, and of a rejection.

use super::{close, plain_member, raw_member};
use crate::client::Client;
use crate::compat::Member;
use crate::protect::Protection;
use crate::query::fields::CAMPAIGN;
use crate::query::form::Raw;
use crate::request::{Request, USER_AGENT_BYTES, Unreadable, is_one};
use crate::{json, text};

/// The kept length of other headers, in bytes of UTF-8 (contract, section 4).
pub(super) const REFERER_BYTES: usize = 4096;
pub(super) const LOCALE_BYTES: usize = 64;

const LIBRARY: &str = concat!(r#""library":{"name":"pixelcore","version":""#, env!("CARGO_PKG_VERSION"), "\"}");

/// Appends the context. `asks` says that the pipeline looks persons up. A member of the sender replaces ours of the
/// same name.
#[expect(clippy::too_many_arguments, reason = "each is a member")]
pub(super) fn context(
    out: &mut Vec<u8>,
    request: &Request<'_>,
    private: bool,
    client: Option<Client>,
    protection: Protection,
    asks: bool,
    campaign: &[Raw<'_>],
    repaired: &[(&str, Vec<u8>)],
    sent: &[Member],
) {
    let is_ours = |name| !sent.iter().any(|(other, _)| other == name);
    out.extend_from_slice(b"\"context\":{");
    if !private {
        header(out, b"\"ip\":\"", request.ip);
        let agent = request.user_agent.filter(|_| is_ours("userAgent"));
        header(out, b"\"userAgent\":\"", agent.map(|agent| text::cut(agent, USER_AGENT_BYTES)));
    }
    let locale = request.locale.filter(|_| is_ours("locale")).map(text::first_language);
    header(out, b"\"locale\":\"", locale.map(|language| text::cut(language, LOCALE_BYTES)));
    // The page's query may identify the person.
    let url = request.referer.map(|url| if private { url.split(['?', '#']).next().unwrap_or_default() } else { url });
    if let Some(url) = url.filter(|url| !url.is_empty())
        && is_ours("page")
    {
        out.extend_from_slice(b"\"page\":{");
        header(out, b"\"url\":\"", Some(text::cut(url, REFERER_BYTES)));
        close(out);
    }
    if campaign.iter().any(|text| !text.bytes.is_empty()) && is_ours("campaign") {
        out.extend_from_slice(b"\"campaign\":{");
        CAMPAIGN.iter().zip(campaign).for_each(|((_, name), text)| raw_member(out, name, text.bytes, *text));
        close(out);
    }
    let (gpc, dnt) = (is_one(request.gpc), is_one(request.dnt));
    if gpc || dnt || asks {
        out.extend_from_slice(b"\"consent\":{");
        out.extend_from_slice(if gpc { b"\"gpc\":true," } else { b"" });
        out.extend_from_slice(if dnt { b"\"dnt\":true," } else { b"" });
        // Other modes leave no event.
        out.extend_from_slice(if asks { b"\"mode\":\"individual\"," } else { b"" });
        close(out);
    }
    if let Some(client) = client {
        out.extend_from_slice(b"\"client\":{");
        plain_member(out, b"\"name\":\"", client.name.as_bytes());
        out.extend_from_slice(if client.automated { b"\"automated\":true," } else { b"\"automated\":false," });
        close(out);
    }
    if matches!(protection, Protection::Signed | Protection::Sealed) {
        // Only the owner of a secret can seal, so a seal proves as much as a signature.
        out.extend_from_slice(b"\"signed\":true,");
        out.extend_from_slice(if protection == Protection::Sealed { b"\"sealed\":true," } else { b"" });
    }
    if !repaired.is_empty() {
        out.extend_from_slice(b"\"repaired\":{");
        for (name, text) in repaired {
            json::string(out, name.as_bytes());
            out.push(b':');
            json::string(out, text);
            out.push(b',');
        }
        close(out);
    }
    if !request.unreadable.is_empty() {
        unreadable(out, request.unreadable);
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

#[cold]
fn unreadable(out: &mut Vec<u8>, headers: Unreadable) {
    out.extend_from_slice(b"\"unreadable\":[");
    for name in headers.names() {
        json::string(out, name.as_bytes());
        out.push(b',');
    }
    out.pop();
    out.extend_from_slice(b"],");
}

/// Appends a member, `"name":"` and its text. An empty text counts as absent.
///
/// A name of known length needs a few moves and no call of `memcpy`.
fn header<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], value: Option<&str>) {
    if let Some(text) = value.filter(|text| !text.is_empty()) {
        out.extend_from_slice(name);
        json::text(out, text.as_bytes());
        out.extend_from_slice(b"\",");
    }
}
