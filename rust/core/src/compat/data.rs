//! Reads Segment's `data`: base64 of a JSON object.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::query::form::{self, Raw};
use crate::reason::Reason;

/// Decodes the base64 (RFC 4648) of a form-encoded value. Both alphabets are accepted, with any padding or none.
///
/// A space can only be a `+` that was not percent-encoded. Bytes that are not UTF-8 become U+FFFD; a browser's `btoa`
/// makes such bytes of `é`.
pub fn decode(value: Raw<'_>) -> Option<String> {
    let mut text = value.decode().into_owned();
    for byte in &mut text {
        *byte = match *byte {
            b' ' | b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
    }
    let length = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let mut bytes = STANDARD_NO_PAD.decode(&text[..length]).ok()?;
    form::repair(&mut bytes, 0);
    String::from_utf8(bytes).ok()
}

/// The members of a JSON object, in order. If a name is repeated, the last one counts, as for most readers.
pub struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    /// Reads a JSON object.
    pub fn parse(json: &str) -> Result<Self, Reason> {
        serde_json::from_str(json).map_err(|_| Reason::MalformedData)
    }

    pub fn into_members(self) -> Vec<(String, Box<RawValue>)> {
        self.0
    }

    /// The value of a name. A null counts as absent.
    fn get(&self, name: &str) -> Option<&RawValue> {
        let (_, value) = self.0.iter().rfind(|(other, _)| other == name)?;
        Some(&**value).filter(|value| value.get() != "null")
    }

    /// A text, or a number as it is written. Any other value is an error.
    pub fn text(&self, name: &str) -> Result<Option<String>, Reason> {
        let Some(value) = self.get(name).map(RawValue::get) else { return Ok(None) };
        match value.as_bytes() {
            [b'"', ..] => serde_json::from_str(value).map(Some).map_err(|_| Reason::MalformedData),
            [b'-' | b'0'..=b'9', ..] => Ok(Some(value.to_owned())),
            _ => Err(Reason::MalformedData),
        }
    }

    /// An object; None if it is empty. Any other value is an error.
    pub fn object(&self, name: &str) -> Result<Option<Box<RawValue>>, Reason> {
        match self.get(name) {
            Some(value) if !value.get().starts_with('{') => Err(Reason::MalformedData),
            value => Ok(value.filter(|value| value.get() != "{}").map(ToOwned::to_owned)),
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
