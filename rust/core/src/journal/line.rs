//! Whether a line is an event, and what its message key is.
//!
//! `serde_json` says so, but for lines as a gateway writes them, which a `Scan` sees to be objects in a fraction of the time.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::scan::Scan;

/// The members of an event that its message key comes from. Reading them checks the whole line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Keys<'l> {
    pub(super) user_id: Option<Cow<'l, str>>,
    pub(super) anonymous_id: Option<Cow<'l, str>>,
}

impl<'l> Keys<'l> {
    /// Of a line; None for one that is no JSON object.
    pub(super) fn of(line: &'l [u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok().filter(|text| text.starts_with('{'))?;
        Scan::new(text).event().or_else(|| serde_json::from_str(text).ok())
    }

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Keys, Scan};

    const EVENT: &str = concat!(
        r#"{"type":"track","event":"Email \"Opened\"","userId":"user_1","anonymousId":"b\u00e9\/","properties":{"#,
        r#""a":[1,-0.5,{"b":null},[],{}],"é":"\ud800","long":"0123456789012345678901234567890123456789012345678901234567"},"#,
        r#""context":{"ip":"203.0.113.7","gpc":true,"no":false,"n":120}}"#
    );

    fn asked(line: &[u8]) -> Option<Keys<'_>> {
        serde_json::from_str(std::str::from_utf8(line).ok().filter(|text| text.starts_with('{'))?).ok()
    }

    #[test]
    fn an_event_is_judged_without_asking() {
        assert_eq!(Scan::new(EVENT).event().as_ref().and_then(Keys::key), Some("user_1"));
    }

    #[test]
    fn any_depth_is_an_object() {
        for (depth, close) in [(39, "]"), (40, "]"), (41, "]"), (100, "]"), (39, ""), (40, ""), (41, ""), (100, "")] {
            let line = format!(r#"{{"userId":"u","a":{}{}}}"#, "[".repeat(depth), close.repeat(depth));
            assert_eq!(Keys::of(line.as_bytes()).is_some(), !close.is_empty(), "{depth}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn a_damaged_event_is_what_serde_json_takes_it_for(
            damage in prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, "\\PC{0,2}|[\x00-\x7f]{0,2}|[{}\\[\\],:\"0.e-]{1,2}"), 1..3),
            shift in 0..64_usize,
        ) {
            let mut line = EVENT.replacen("track", &"t".repeat(shift), 1).into_bytes();
            for (at, cut, put) in damage {
                let at = at.index(line.len());
                line.splice(at..line.len().min(at + cut), put.bytes());
            }
            prop_assert_eq!(Keys::of(&line), asked(&line));
        }

        #[test]
        fn a_text_of_tokens_is_what_serde_json_takes_it_for(
            text in "(\\{|\\}|\\[|\\]|,|:|\"userId\":|\"anonymousId\":|\"u\"|\"\\\\(u00e9|ud83d\\\\ude00|ud800|u12|x|n)\"|\"[a-z]{0,70}\"|\"a\":|-?0|12|\\.5|e9|-|true|null|nul| |é|\t){0,12}",
        ) {
            for line in [format!("{{{text}"), format!("{{{text}}}"), format!(r#"{{"userId":{text}}}"#), format!(r#"{{"a":[{text}]}}"#)] {
                prop_assert_eq!(Keys::of(line.as_bytes()), asked(line.as_bytes()));
            }
        }
    }
}
