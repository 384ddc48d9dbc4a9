//! The members of an event that its message key comes from, as `serde_json` reads them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an event that its message key comes from. Reading them checks the whole line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Keys<'l> {
    pub(super) user_id: Option<Cow<'l, str>>,
    pub(super) anonymous_id: Option<Cow<'l, str>>,
}

impl Keys<'_> {
    /// The message key.
    pub(super) fn key(&self) -> Option<&str> {
        self.user_id.as_deref().or(self.anonymous_id.as_deref())
    }
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
                        Name::UserId => keys.user_id = text(map.next_value::<&RawValue>()?.get()),
                        Name::AnonymousId => keys.anonymous_id = text(map.next_value::<&RawValue>()?.get()),
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
pub(super) fn text(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw).map(Cow::Borrowed).or_else(|_| serde_json::from_str(raw).map(Cow::Owned)).ok()
}
