//! Writes the lines of reduced records: the day of a person's opening, and a load to be counted (contract, section 9).
//!
//! Apart from the person of an opening, a line has nothing that distinguishes it from other lines of its day or window.
//! So equal loads are equal bytes, and only need counting.

use super::Mode;
use super::ceilings::Person;
use crate::event::Judged;
use crate::json;
use crate::notice::Fault;
use crate::options::Options;
use crate::query::fields::Fields;
use crate::query::layout::Layout;
use crate::query::parameters::Parameters;
use crate::request::Request;
use crate::text;
use crate::time::UnixMillis;

/// The default length of a window: an hour.
const WINDOW_MS: i64 = 3_600_000;
/// A longer value is truncated, because it is not a campaign's name.
const VALUE_BYTES: usize = 128;

/// A request that leaves no event.
pub(crate) struct Reduced<'r> {
    pub mode: Mode,
    pub kind: &'r str,
    pub judged: Judged<'r>,
    pub fields: &'r Fields<'r>,
    /// Whether the URL has a trait or a seal.
    pub has_more: bool,
}

/// Appends the line of the mode, if it keeps anything.
#[cold]
pub(crate) fn reduced(
    out: &mut Vec<u8>,
    what: &Reduced<'_>,
    parameters: &Parameters<'_, '_>,
    request: &Request<'_>,
    options: &Options,
) -> Result<(), Fault> {
    // `identify` and `group` only identify a person.
    if !matches!(what.kind, "track" | "page") {
        return Ok(());
    }
    match what.mode {
        Mode::Deliverability => last_opening(out, what, request.received_at),
        Mode::Aggregate => load(out, what, parameters, window(request.received_at, options)),
        Mode::None | Mode::Individual => Ok(()),
    }
}

fn last_opening(out: &mut Vec<u8>, what: &Reduced<'_>, received_at: UnixMillis) -> Result<(), Fault> {
    let fields = what.fields;
    let (uid, aid) = (("userId", &fields.uid), ("anonymousId", &fields.aid));
    let kind = what.judged.terms.and_then(|terms| terms.lookup.as_ref()).map(|lookup| lookup.kind);
    let is_aid = kind.map_or(fields.uid.is_empty(), |kind| kind == Person::Aid);
    let (name, id) = if is_aid { aid } else { uid };
    if id.is_empty() {
        return Err(Fault::NobodyNamed);
    }
    out.push(b'{');
    pipeline(out, what);
    member(out, name, id);
    member(out, "day", &received_at.iso()[..10]);
    close(out);
    Ok(())
}

fn load(
    out: &mut Vec<u8>,
    what: &Reduced<'_>,
    parameters: &Parameters<'_, '_>,
    window: UnixMillis,
) -> Result<(), Fault> {
    let fields = what.fields;
    if what.has_more || [&fields.uid, &fields.aid, &fields.gid, &fields.mid].iter().any(|id| !id.is_empty()) {
        return Err(Fault::IdInAggregate);
    }
    out.push(b'{');
    member(out, "type", what.kind.as_bytes());
    let event = fields.e.decode();
    if !event.is_empty() {
        member(out, if what.kind == "page" { "name" } else { "event" }, short(&event));
    }
    pipeline(out, what);
    member(out, "window", &window.iso());
    let mut is_first = true;
    for path in what.judged.terms.iter().flat_map(|terms| &terms.properties) {
        if let Some(value) = Layout::value_of(parameters, format!("p.{path}").as_bytes()) {
            if is_first {
                out.extend_from_slice(b"\"properties\":{");
            }
            is_first = false;
            member(out, path, short(&value));
        }
    }
    if !is_first {
        close(out);
        out.push(b',');
    }
    close(out);
    Ok(())
}

/// The beginning of the window of a time.
pub(crate) fn window(at: UnixMillis, options: &Options) -> UnixMillis {
    let length = options.window_ms.map_or(WINDOW_MS, |length| length.get().into());
    UnixMillis::new(at.millis() - at.millis().rem_euclid(length)).unwrap_or(at)
}

fn short(value: &[u8]) -> &[u8] {
    str::from_utf8(value).map_or(&[][..], |value| text::cut(value, VALUE_BYTES).as_bytes())
}

fn pipeline(out: &mut Vec<u8>, what: &Reduced<'_>) {
    if what.judged.pipeline.is_empty() {
        member(out, "pipelineKey", &what.fields.wk);
    } else {
        member(out, "pipelineId", what.judged.pipeline.as_bytes());
    }
}

fn member(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    json::string(out, name.as_bytes());
    out.push(b':');
    json::string(out, value);
    out.push(b',');
}

fn close(out: &mut Vec<u8>) {
    out.pop();
    out.push(b'}');
}
