//! Lines on their way out, and the message key of each.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Lines in one buffer.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

struct Line {
    /// In the journal.
    offset: u64,
    /// In the buffer.
    range: Range<usize>,
    key: Option<String>,
}

impl Batch {
    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines without their newlines, each with its message key.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&str>)> {
        self.lines.iter().map(|line| (&self.bytes[line.range.clone()], line.key.as_deref()))
    }

    /// The offset that each line begins at.
    #[must_use]
    pub fn offsets(&self) -> impl ExactSizeIterator<Item = u64> {
        self.lines.iter().map(|line| line.offset)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, offset: u64, line: &[u8], keys: Keys<'_>) {
        let key = keys.user_id.or(keys.anonymous_id).map(Cow::into_owned);
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(line);
        self.lines.push(Line { offset, range: begin..self.bytes.len(), key });
    }
}

/// The members of an event that its message key comes from. Reading them checks the whole line.
#[derive(Default)]
pub(super) struct Keys<'l> {
    user_id: Option<Cow<'l, str>>,
    anonymous_id: Option<Cow<'l, str>>,
}

/// None for a line that is no JSON object.
pub(super) fn keys(line: &[u8]) -> Option<Keys<'_>> {
    let text = std::str::from_utf8(line).ok().filter(|text| text.starts_with('{'))?;
    serde_json::from_str(text).ok()
}

/// Any object has keys, or none: a derived implementation would refuse an id that is a number, or one that comes twice.
impl<'de> Deserialize<'de> for Keys<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Keys<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut keys = Keys::default();
                while let Some(name) = map.next_key()? {
                    match name {
                        Name::UserId => keys.user_id = text(map.next_value()?),
                        Name::AnonymousId => keys.anonymous_id = text(map.next_value()?),
                        Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(keys)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Name {
    UserId,
    AnonymousId,
    #[serde(other)]
    Other,
}

/// What a value says, if it is a text.
fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let raw = value.get();
    serde_json::from_str(raw).map(Cow::Borrowed).or_else(|_| serde_json::from_str(raw).map(Cow::Owned)).ok()
}
