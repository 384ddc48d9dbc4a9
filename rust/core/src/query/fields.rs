//! The reserved parameters (contract, section 2).

use std::borrow::Cow;

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
}

/// A campaign's parameters, and what comes before their texts in an event.
pub const CAMPAIGN: [(&[u8], &[u8]); 5] = [
    (b"utm_source", b"\"source\":\""),
    (b"utm_medium", b"\"medium\":\""),
    (b"utm_campaign", b"\"name\":\""),
    (b"utm_term", b"\"term\":\""),
    (b"utm_content", b"\"content\":\""),
];

impl Field {
    /// The one of this name, which is decoded.
    pub fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"wk" => Self::Wk,
            b"e" => Self::E,
            b"uid" => Self::Uid,
            b"aid" => Self::Aid,
            b"gid" => Self::Gid,
            b"mid" => Self::Mid,
            b"ts" => Self::Ts,
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
}

/// A text as UTF-8. A borrowed one is plain, see [`Raw::plain`].
pub type Trimmed<'q> = Cow<'q, [u8]>;

impl<'q> Fields<'q> {
    /// Takes a value, unless there is one already: of a repeated name the first value counts that is not empty.
    pub fn take(&mut self, field: Field, value: Raw<'q>) {
        match field {
            Field::Wk => first_trimmed(&mut self.wk, value, text::trim),
            Field::Uid => first_trimmed(&mut self.uid, value, text::trim),
            Field::Aid => first_trimmed(&mut self.aid, value, |text| text::trim(text::unquote(text::trim(text)))),
            Field::Gid => first_trimmed(&mut self.gid, value, text::trim),
            Field::Mid => first_trimmed(&mut self.mid, value, text::trim),
            Field::E => first(&mut self.e, value),
            Field::Ts => first(&mut self.ts, value),
            Field::Campaign(which) => first(&mut self.campaign[which], value),
        }
    }
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
