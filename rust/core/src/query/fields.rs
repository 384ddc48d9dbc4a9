//! The reserved parameters (contract, section 2).

use std::borrow::Cow;

use crate::notice::Id;
use crate::query::form::Raw;
use crate::text;

/// A reserved parameter.
#[derive(Clone, Copy)]
pub enum Field {
    Wk,
    E,
    Uid,
    Aid,
    Gid,
    Mid,
    Ts,
    /// One of [`CAMPAIGN`].
    Campaign(usize),
    /// `s` and `x`, which `protect` reads.
    Claim,
    /// `m`, the mode (contract, section 9).
    Mode,
}

/// A campaign's parameters, each with the JSON before its text in an event.
pub const CAMPAIGN: [(&[u8], &[u8]); 6] = [
    (b"utm_source", b"\"source\":\""),
    (b"utm_medium", b"\"medium\":\""),
    (b"utm_campaign", b"\"name\":\""),
    (b"utm_term", b"\"term\":\""),
    (b"utm_content", b"\"content\":\""),
    (b"utm_id", b"\"id\":\""),
];

impl Field {
    /// The reserved parameter with this decoded name.
    pub fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"wk" => Self::Wk,
            b"e" => Self::E,
            b"uid" => Self::Uid,
            b"aid" => Self::Aid,
            b"gid" => Self::Gid,
            b"mid" => Self::Mid,
            b"ts" => Self::Ts,
            b"s" | b"x" => Self::Claim,
            b"m" => Self::Mode,
            _ => return CAMPAIGN.iter().position(|(utm, _)| *utm == name).map(Self::Campaign),
        })
    }
}

/// The values of one query's reserved parameters. An absent text is empty.
#[derive(Default)]
pub struct Fields<'q> {
    pub e: Raw<'q>,
    pub ts: Raw<'q>,
    pub campaign: [Raw<'q>; CAMPAIGN.len()],
    pub wk: Trimmed<'q>,
    pub uid: Trimmed<'q>,
    pub aid: Trimmed<'q>,
    pub gid: Trimmed<'q>,
    pub mid: Trimmed<'q>,
    /// Ids with bytes that are not UTF-8, as they were sent.
    pub broken: Vec<(Id, Raw<'q>)>,
}

/// A text as UTF-8. A borrowed one is plain; see [`Raw::plain`].
pub type Trimmed<'q> = Cow<'q, [u8]>;

impl<'q> Fields<'q> {
    /// Takes a value, unless there is one already. For a repeated name, the first non-empty value counts.
    pub fn take(&mut self, field: Field, value: Raw<'q>) {
        match field {
            Field::Wk => first_trimmed(&mut self.wk, value, text::trim),
            Field::Uid => self.take_id(Id::User, value),
            Field::Aid => self.take_id(Id::Anonymous, value),
            Field::Gid => self.take_id(Id::Group, value),
            Field::Mid => self.take_id(Id::Message, value),
            Field::E => first(&mut self.e, value.trim()),
            Field::Ts => first(&mut self.ts, value.trim()),
            Field::Campaign(which) => first(&mut self.campaign[which], value),
            Field::Claim | Field::Mode => {}
        }
    }

    #[inline]
    fn take_id(&mut self, id: Id, value: Raw<'q>) {
        let slot = match id {
            Id::User => &mut self.uid,
            Id::Anonymous => &mut self.aid,
            Id::Group => &mut self.gid,
            Id::Message => &mut self.mid,
        };
        if slot.is_empty() {
            first_trimmed(slot, value, text::trim);
            if id == Id::Anonymous && slot.first() == Some(&b'"') {
                *slot = Cow::Owned(text::trim(text::unquote(slot)).to_vec());
            }
            if is_broken(slot, value) {
                self.broken.push((id, value.trim()));
            }
        }
    }
}

/// Whether a kept text has U+FFFD in place of bytes that are not UTF-8.
#[inline]
fn is_broken(text: &Trimmed<'_>, sent: Raw<'_>) -> bool {
    matches!(text, Cow::Owned(text) if memchr::memmem::find(text, b"\xEF\xBF\xBD").is_some())
        && str::from_utf8(&sent.bytes_of()).is_err()
}

fn first<'q>(slot: &mut Raw<'q>, value: Raw<'q>) {
    if slot.bytes.is_empty() {
        *slot = value;
    }
}

fn first_trimmed<'q>(slot: &mut Trimmed<'q>, value: Raw<'q>, trim: impl Fn(&[u8]) -> &[u8]) {
    if slot.is_empty() {
        *slot = match value.decode() {
            Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
            Cow::Owned(text) => Cow::Owned(trim(&text).to_vec()),
        };
    }
}
