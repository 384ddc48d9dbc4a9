//! Signed and sealed queries: any query has the same event as in clear, and nothing else verifies.

use pixelcore::consent::Mode;
use pixelcore::event::{self, Judged};
use pixelcore::options::{Limits, Options};
use pixelcore::protect::{Claim, Guard, Secret, seal, sign};
use pixelcore::query::{form, layout};
use pixelcore::reason::Reason;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;
use serde_json::Value;

use crate::object;

/// The first line is a query. After it follow a place and a byte to put there.
pub fn protect(data: &[u8]) {
    let at = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (query, change) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let secret = || Secret::new("a-secret-of-the-fuzzer-0123456789").expect("it is long enough");
    let guard = Guard::new(vec![secret()], true);

    assert!(written(query, guard.as_ref()).is_err(), "nobody signed it");
    let inside = [b"e=E&", query].concat();
    let clear = [b"wk=k&", &inside[..]].concat();
    let signed = [&clear[..], b"&s=", sign(&secret(), "track", &clear).as_bytes()].concat();
    let sealed = [b"wk=k&x=", seal(&secret(), "track", b"k", &inside, [7; 12]).as_bytes()].concat();
    let is_claim = |name: form::Raw<'_>| matches!(layout::unescape_amp(&name.decode()), b"s" | b"x");
    if form::pairs(query).any(|(name, _)| is_claim(name)) {
        assert_eq!(written(&sealed, guard.as_ref()), Err(Reason::BadSignature));
        return;
    }
    let clear = written(&clear, None);
    for protected in [signed, sealed] {
        assert_eq!(written(&protected, guard.as_ref()), clear, "{}", protected.escape_ascii());
        if let [place, byte, ..] = *change {
            let mut changed = protected;
            let last = changed.len() - 1;
            changed[usize::from(place).min(last)] = byte;
            if let Ok(event) = written(&changed, guard.as_ref()) {
                assert_eq!(Ok(event), clear, "{}", changed.escape_ascii());
            }
        }
    }
}

/// The event, without its unique members, its protection, and the unprotected members.
fn written(query: &[u8], guard: Option<&Guard>) -> Result<Value, Reason> {
    let request = Request { received_at: UnixMillis::new(1_740_493_801_250).expect("a time"), ..Request::default() };
    let limits = Limits { query_bytes: 1 << 20, parameters: 1 << 20, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let mut line = Vec::new();
    let judged = |claim: &mut Claim<'_>| claim.settle(guard).map(|()| Judged::default());
    let notices = event::write(&mut line, "track", query, &request, &options, judged)?;
    if notices.mode != Mode::Individual {
        return Ok(Value::Null); // it wishes for less than an event
    }
    let mut event = object(&line);
    event.as_object_mut().map(|event| event.remove("messageId"));
    let context = event["context"].as_object_mut().expect("each has one");
    assert_eq!(context.remove("signed").is_some(), guard.is_some());
    for member in ["sealed", "campaign"] {
        context.remove(member);
    }
    Ok(event)
}
