//! Notices: oddities in accepted requests. They are repaired values, ids that identify nobody, unknown names, a query
//! that a mailer changed, and the protection of a query.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::compat;
use crate::consent::Mode;
use crate::options::Options;
use crate::protect::Protection;
use crate::query::fields::Field;
use crate::query::form::{self, Raw};
use crate::query::layout::unescape_amp;

/// A reserved parameter that is an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// `uid`
    User,
    /// `aid`
    Anonymous,
    /// `gid`
    Group,
    /// `mid`
    Message,
}

impl Id {
    /// All of them, in the order of an event's members, except `messageId`.
    pub const ALL: [Self; 4] = [Self::User, Self::Anonymous, Self::Group, Self::Message];

    /// Its name in an event.
    #[must_use]
    pub const fn member(self) -> &'static str {
        ["userId", "anonymousId", "groupId", "messageId"][self as usize]
    }
}

/// Why an id identifies nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A programming language's word for nothing, or an object printed as text.
    Nothing,
    /// The UUID of zeros.
    NilUuid,
    /// A merge tag that was not replaced.
    MergeTag,
    /// A variable of AMP that was not replaced.
    Macro,
}

impl Doubt {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::NilUuid, Self::MergeTag, Self::Macro];

    /// Its name in a metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        ["nothing", "nil_uuid", "merge_tag", "macro"][self as usize]
    }

    /// The doubt about a decoded id. Usually its first byte is enough to rule it out.
    #[inline]
    #[must_use]
    pub fn about(id: &[u8]) -> Option<Self> {
        match id.first() {
            // Most ids with the first letter of `undefined` or `null` are other words, such as `user_7`.
            Some(b'u' | b'n' | b'N') if !matches!(id.len(), 3 | 4 | 9) => None,
            Some(first) if SUSPECT[usize::from(*first)] => about(id),
            _ => None,
        }
    }
}

/// The possible first bytes of doubtful ids.
const SUSPECT: [bool; 256] = {
    let mut table = [false; 256];
    let mut index = 0;
    let bytes = b"unN[0{*%$C<#|";
    while index < bytes.len() {
        table[bytes[index] as usize] = true;
        index += 1;
    }
    table
};

#[inline(never)]
fn about(id: &[u8]) -> Option<Doubt> {
    // Tags that were escaped twice are still escaped once.
    let unescaped = if id.contains(&b'%') { Raw::new(id).decode() } else { id.into() };
    let id = &*unescaped;
    match id {
        b"undefined" | b"null" | b"None" | b"NaN" | b"nil" | b"[object Object]" => Some(Doubt::Nothing),
        b"00000000-0000-0000-0000-000000000000" => Some(Doubt::NilUuid),
        [b'C', ..] => is_macro(id).then_some(Doubt::Macro),
        [b'u' | b'n' | b'N', ..] => None,
        _ => TAGS.iter().any(|(begin, end)| is_tag(id, begin, end)).then_some(Doubt::MergeTag),
    }
}

fn is_macro(id: &[u8]) -> bool {
    id == b"CANONICAL_URL" || id == b"CLIENT_ID" || is_tag(id, b"CLIENT_ID(", b")")
}

/// The beginnings and ends of merge tags.
const TAGS: [(&[u8], &[u8]); 10] = [
    (b"{{", b"}}"),
    (b"{%", b"%}"),
    (b"*|", b"|*"),
    (b"%%", b"%%"),
    (b"${", b"}"),
    (b"[[", b"]]"),
    (b"{", b"}"),
    (b"<%", b"%>"),
    (b"##", b"##"),
    (b"%", b"%"),
];

fn is_tag(id: &[u8], begin: &[u8], end: &[u8]) -> bool {
    id.len() > begin.len() + end.len() && id.starts_with(begin) && id.ends_with(end)
}

/// A mailer's fault with quoted-printable queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotedPrintable {
    /// Not decoded: every `=` is `=3D`.
    Kept,
    /// Decoded although it was not encoded: a `=` and two digits became one byte.
    Decoded,
}

impl QuotedPrintable {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Kept, Self::Decoded];

    /// Its name in a metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        ["kept", "decoded"][self as usize]
    }
}

/// Why nothing is kept of a request whose mode keeps less than the event, or is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The mode asks for counts, but the URL has an id, a trait or a seal.
    IdInAggregate,
    /// The mode asks for the day of an opening, but the URL has no id.
    NobodyNamed,
    /// `m` is not a mode.
    UnknownMode,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::IdInAggregate, Self::NobodyNamed, Self::UnknownMode];

    /// Its name in a metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        ["id_in_aggregate", "nobody_named", "unknown_mode"][self as usize]
    }
}

/// The notices of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Whether an implausible `ts` was replaced.
    pub ts: bool,
    /// The ids with bytes that are not UTF-8, one bit each.
    pub repaired: u8,
    /// The ids that identify nobody: one bit for each doubt about each id.
    pub doubtful: u16,
    /// The number of unknown names.
    pub ignored: u32,
    /// A mailer's fault.
    pub quoted_printable: Option<QuotedPrintable>,
    /// Whether the query was signed or sealed.
    pub protection: Protection,
    /// The mode of the request.
    pub mode: Mode,
    /// Why nothing is kept of the request, although its mode keeps something or is unknown.
    pub fault: Option<Fault>,
}

impl Notices {
    /// Adds a doubt, if there is one.
    #[inline]
    pub fn doubt(&mut self, id: Id, text: &[u8]) {
        if let Some(doubt) = Doubt::about(text) {
            self.doubtful |= 1 << (id as usize * Doubt::ALL.len() + doubt as usize);
        }
    }

    /// The counters to increase, as places in [names], and by how much.
    pub fn counts(self) -> impl Iterator<Item = (usize, u64)> {
        let bits = u64::from(self.ts) | u64::from(self.repaired) << 1 | u64::from(self.doubtful) << DOUBTFUL;
        let bits = bits | self.quoted_printable.map_or(0, |how| 1 << (QUOTED + how as usize));
        let protection = PROTECTIONS.iter().position(|(protection, _)| *protection == self.protection);
        let bits = bits | protection.map_or(0, |place| 1 << (PROTECTED + place));
        let mode = REDUCED.iter().position(|mode| *mode == self.mode);
        let bits = bits | mode.map_or(0, |place| 1 << (MODES + place));
        let bits = bits | self.fault.map_or(0, |fault| 1 << (FAULTS + fault as usize));
        let ones = (0..COUNTERS).filter(move |place| bits & 1 << place != 0).map(|place| (place, 1));
        ones.chain((self.ignored > 0).then_some((IGNORED, u64::from(self.ignored))))
    }
}

const DOUBTFUL: usize = 1 + Id::ALL.len();
const IGNORED: usize = DOUBTFUL + Id::ALL.len() * Doubt::ALL.len();
const QUOTED: usize = IGNORED + 1;
const PROTECTED: usize = QUOTED + QuotedPrintable::ALL.len();

/// The protections that are counted, and their names in a metric.
const PROTECTIONS: [(Protection, &str); 3] =
    [(Protection::Unsigned, "unsigned"), (Protection::Signed, "signed"), (Protection::Sealed, "sealed")];

const MODES: usize = PROTECTED + PROTECTIONS.len();
const FAULTS: usize = MODES + REDUCED.len();

/// The modes that are counted. All other requests are `individual`, so counting these is not needed.
const REDUCED: [Mode; 3] = [Mode::Deliverability, Mode::Aggregate, Mode::None];

/// The number of counters of notices.
pub const COUNTERS: usize = FAULTS + Fault::ALL.len();

/// The names of the counters of notices.
pub fn names() -> impl Iterator<Item = String> {
    let repairs = ["ts"].into_iter().chain(Id::ALL.map(Id::member)).map(|field| format!("repairs {field}"));
    let about = |id: Id| Doubt::ALL.map(|doubt| format!("doubtful_values {} {}", id.member(), doubt.as_str()));
    let quoted = QuotedPrintable::ALL.map(|how| format!("quoted_printable {}", how.as_str()));
    let protected = PROTECTIONS.map(|(_, name)| format!("protected {name}"));
    let noticed =
        repairs.chain(Id::ALL.into_iter().flat_map(about)).chain(["ignored_parameters".to_owned()]).chain(quoted);
    let modes = REDUCED.map(|mode| format!("requests_by_mode {}", mode.as_str()));
    let faults = Fault::ALL.map(|fault| format!("consent_faults {}", fault.as_str()));
    noticed.chain(protected).chain(modes).chain(faults)
}

/// Unknown names since they were last [taken](take_ignored): at most [`KEPT_NAMES`], each truncated to [`NAME_BYTES`].
static IGNORED_NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether there is room for more. With it, a flood of names costs only one load.
static HAS_ROOM: AtomicBool = AtomicBool::new(true);

const KEPT_NAMES: usize = 32;
const NAME_BYTES: usize = 64;

/// Whether there is room for more unknown names.
pub(crate) fn has_room() -> bool {
    HAS_ROOM.load(Ordering::Relaxed)
}

/// Keeps an unknown name for the log.
pub(crate) fn keep_ignored(name: &[u8]) {
    if has_room() {
        let name = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES)]).into_owned();
        let mut names = IGNORED_NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains(&name) {
            names.push(name);
        }
        HAS_ROOM.store(names.len() < KEPT_NAMES, Ordering::Relaxed);
    }
}

/// Unknown names in queries with a new layout, since the last call.
#[must_use]
pub fn take_ignored() -> Vec<String> {
    let names = mem::take(&mut *IGNORED_NAMES.lock().unwrap_or_else(PoisonError::into_inner));
    HAS_ROOM.store(true, Ordering::Relaxed);
    names
}

/// The unknown names of a query, in order, each once.
#[must_use]
pub fn ignored(kind: &str, query: &[u8], options: &Options) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (name, _) in form::pairs(query) {
        let decoded = name.decode();
        let name = unescape_amp(&decoded);
        let text = String::from_utf8_lossy(name);
        if !means_something(name)
            && !compat::knows(kind, &text, options.compat)
            && !found.iter().any(|other| **other == *text)
        {
            found.push(text.into_owned());
        }
    }
    found
}

/// Whether a decoded name is known.
pub(crate) fn means_something(name: &[u8]) -> bool {
    is_below(name) || name == b"cb" || Field::named(name).is_some()
}

fn is_below(name: &[u8]) -> bool {
    name.starts_with(b"p.") || name.starts_with(b"t.")
}

/// Whether a decoded name below `p.` or `t.` has bytes that templates never write: invalid UTF-8 or control characters.
pub(crate) fn is_odd(name: &[u8]) -> bool {
    name.iter().any(u8::is_ascii_control) || memchr::memmem::find(name, b"\xEF\xBF\xBD").is_some()
}

/// The mailer's fault in a query, if there is one. Not for the hot path.
#[must_use]
pub fn quoted_printable(query: &[u8]) -> Option<QuotedPrintable> {
    let mut values = form::pairs(query).filter(|(_, value)| !value.bytes.is_empty()).peekable();
    if values.peek().is_some() && values.all(|(_, value)| value.bytes.starts_with(b"3D")) {
        return Some(QuotedPrintable::Kept);
    }
    form::pairs(query)
        .any(|(name, value)| value.bytes.is_empty() && is_decoded(name))
        .then_some(QuotedPrintable::Decoded)
}

/// Whether a raw name is really a name and a value, between which a mailer decoded `=` and two digits to one byte. This
/// byte is an escape after a reserved name. Below `p.` and `t.`, it is an escape of a control character or of a byte
/// that is not UTF-8.
pub(crate) fn is_decoded(name: Raw<'_>) -> bool {
    let Some(at) = memchr::memchr(b'%', name.bytes) else { return false };
    let begin = unescape_amp(&name.bytes[..at]);
    if Field::named(begin).is_some() {
        return true;
    }
    let bytes = name.bytes_of();
    let is_text = str::from_utf8(&bytes).is_ok_and(|text| !text.contains(char::is_control));
    !is_text && is_below(begin)
}

#[cfg(test)]
mod tests {
    use super::{COUNTERS, Doubt, QuotedPrintable, names, quoted_printable};

    #[test]
    fn as_many_names_as_counters() {
        assert_eq!(names().count(), COUNTERS);
    }

    #[test]
    fn quoted_printable_queries() {
        use QuotedPrintable::{Decoded, Kept};
        for (query, expected) in [
            ("wk=3Ddk_live_abc123&e=3DEmail+Opened&uid=3Du7", Some(Kept)),
            ("wk=3Dk&e=3DE&cb=", Some(Kept)),
            ("wk=k&ts%1740493800000&mid%A1b2c3d4&p.revenue%99.99", Some(Decoded)),
            ("wk=k&p.revenue%99.99", Some(Decoded)),
            ("wk=k&amp;ts%1740493800000", Some(Decoded)),
            ("wk=k&e=3DEmail", None),
            ("wk=3Dk&e=E", None),
            ("wk=k&p.gr%C3%B6%C3%9Fe=1&p.Full%20name=A", None),
            ("wk=k&p.a=%17", None),
            ("wk=k&%75id=u", None),
            ("wk=k&uid%00=u", None),
            ("", None),
        ] {
            assert_eq!(quoted_printable(query.as_bytes()), expected, "{query}");
        }
    }

    #[test]
    fn doubts() {
        for (id, expected) in [
            ("undefined", Some(Doubt::Nothing)),
            ("null", Some(Doubt::Nothing)),
            ("[object Object]", Some(Doubt::Nothing)),
            ("00000000-0000-0000-0000-000000000000", Some(Doubt::NilUuid)),
            ("{{id}}", Some(Doubt::MergeTag)),
            ("*|UNIQID|*", Some(Doubt::MergeTag)),
            ("%%id%%", Some(Doubt::MergeTag)),
            ("${id}", Some(Doubt::MergeTag)),
            ("[[id]]", Some(Doubt::MergeTag)),
            ("{contactfield=email}", Some(Doubt::MergeTag)),
            ("%7B%7Bid%7D%7D", Some(Doubt::MergeTag)),
            ("%25%25id%25%25", Some(Doubt::MergeTag)),
            ("CLIENT_ID(x)", Some(Doubt::Macro)),
            ("CANONICAL_URL", Some(Doubt::Macro)),
            ("user_98765", None),
            ("nullable", None),
            ("undefined2", None),
            ("00000000-0000-0000-0000-000000000001", None),
            ("0", None),
            ("{", None),
            ("{}", None),
            ("Carla", None),
            ("[1]", None),
            ("", None),
        ] {
            assert_eq!(Doubt::about(id.as_bytes()), expected, "{id}");
        }
    }
}
