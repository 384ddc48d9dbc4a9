//! Reads the members of a line that its Kafka record needs, with `serde_json`.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a line that its Kafka record needs. Reading them checks the whole line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record<'l> {
    pub(crate) user_id: Option<Cow<'l, str>>,
    pub(crate) anonymous_id: Option<Cow<'l, str>>,
    pub(super) received_at: Option<Cow<'l, str>>,
    pub(super) pipeline_id: Option<Cow<'l, str>>,
}

impl Record<'_> {
    /// The message key.
    pub(super) fn key(&self) -> Option<&str> {
        self.user_id.as_deref().or(self.anonymous_id.as_deref())
    }

    /// When the gateway received it, in Unix milliseconds.
    pub(crate) fn received_at(&self) -> Option<i64> {
        self.received_at.as_deref()?.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
    }
}

/// Any object is a record. A derived implementation would refuse a numeric or repeated id.
impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Record<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut record = Record::default();
                while let Some(name) = map.next_key()? {
                    match name {
                        Name::UserId => record.user_id = text(map.next_value::<&RawValue>()?.get()),
                        Name::AnonymousId => record.anonymous_id = text(map.next_value::<&RawValue>()?.get()),
                        Name::ReceivedAt => record.received_at = text(map.next_value::<&RawValue>()?.get()),
                        Name::PipelineId => record.pipeline_id = text(map.next_value::<&RawValue>()?.get()),
                        Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(record)
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
    ReceivedAt,
    PipelineId,
    #[serde(other)]
    Other,
}

/// The text of a value, if it is a string.
pub(super) fn text(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw).map(Cow::Borrowed).or_else(|_| serde_json::from_str(raw).map(Cow::Owned)).ok()
}
