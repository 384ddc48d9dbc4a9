//! Decides what is kept of a rejected request. Its record has the whole query, so only the mode `individual` allows
//! one.

use super::ceilings::Ceilings;
use super::{Mode, Wishes, address};
use crate::event::{Judged, Refusal};
use crate::keys::Keys;
use crate::options::Options;
use crate::query::form;
use crate::query::layout::unescape_amp;
use crate::reason::Reason;
use crate::request::Request;
use crate::text;

/// What is kept of a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The whole record.
    Record,
    /// The record without query and page, because one of them has a mail address.
    WithoutUrls,
    /// Only the count of its reason.
    Nothing,
}

/// What is kept of a rejected request.
///
/// If the request was rejected before its mode was known, the mode is computed from the readable parts. A request with
/// an unknown pipeline has no record if any pipeline keeps less than the event. A request that cannot be trusted has no
/// record if its pipeline does.
#[cold]
pub(crate) fn kept(
    refusal: Refusal,
    query: &[u8],
    request: &Request<'_>,
    options: &Options,
    keys: Option<&Keys>,
    ceilings: Option<&Ceilings>,
) -> Kept {
    let value = |name: &[u8]| first(query, name);
    let terms = keys.and_then(|keys| keys.terms_of(str::from_utf8(&value(b"wk")).unwrap_or_default()));
    let is_individual = refusal.mode.map_or_else(
        || {
            let is_told = match refusal.reason {
                Reason::UnknownType
                | Reason::QueryTooLong
                | Reason::TooManyParameters
                | Reason::MalformedData
                | Reason::MissingKey
                | Reason::MalformedKey
                | Reason::UnknownKey => !keys.is_some_and(Keys::reduces),
                Reason::BadSignature | Reason::Unsigned => !terms.is_some_and(super::Terms::reduces),
                // Other vendors' long names may identify the person.
                _ => !(options.compat.any() && terms.is_some_and(|terms| terms.lookup.is_some())),
            };
            let judged = Judged { pipeline: "", terms, ceilings };
            let [mode, uid, aid] = [&b"m"[..], b"uid", b"aid"].map(value);
            let wishes = Wishes::of(&mode, [&uid, text::trim(text::unquote(&aid))], judged, request.most(options));
            is_told && super::mode(wishes) == Mode::Individual
        },
        |mode| mode == Mode::Individual,
    );
    if !is_individual {
        Kept::Nothing
    } else if terms.is_some_and(|terms| terms.refuse_addresses) && address::is_in(query)
        || refusal.reason == Reason::AddressInUrl
    {
        Kept::WithoutUrls
    } else {
        Kept::Record
    }
}

/// The first non-empty value of a name, decoded and trimmed.
fn first(query: &[u8], name: &[u8]) -> Vec<u8> {
    let named = form::pairs(query).filter(|(other, _)| unescape_amp(&other.decode()) == name);
    let mut values = named.map(|(_, value)| value.trim().decode().into_owned());
    values.find(|value| !value.is_empty()).unwrap_or_default()
}
