//! Reads a record of the consent topic: the person, the scope, the most that may be kept, and since when.
//!
//! ```text
//! key    2026a.kJ3Yb0sGq1nqjvXy0mVhPA
//! value  {"scope":"pip_news","mode":"none","time":"2026-11-30T08:15:00.000Z"}
//! ```

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;

use super::mac::{KeyId, Mac};
use super::mode::Mode;

/// A person's ceiling in a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(super) key_id: KeyId,
    pub(super) mac: Mac,
    /// The scope; None if the record has no value. Then its person is erased, and nothing is kept any more.
    pub(super) scope: Option<String>,
    pub(super) mode: Mode,
    /// Unix milliseconds.
    pub(super) since: u64,
}

/// Why a record is malformed. The error does not contain the record's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The key is not `key id.MAC`.
    Key,
    /// The value is not a JSON object with `scope`, `mode` and `time`.
    Value,
    /// The scope is empty, is too long, or contains a control character.
    Scope,
    /// The mode is not one of the four.
    Mode,
    /// The time is not ISO 8601 with an offset, nor Unix milliseconds, or it is before 2000.
    Time,
}

impl Malformed {
    /// The error as a text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "its key is not a key id, a dot and 16 bytes in base64url",
            Self::Value => "its value is not a JSON object with the texts scope, mode and time",
            Self::Scope => "its scope is not 1 to 255 bytes of text",
            Self::Mode => "its mode is not individual, deliverability, aggregate or none",
            Self::Time => "its time is not ISO 8601 with an offset, nor Unix milliseconds from 2000 on",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Deserialize)]
struct Value<'v> {
    #[serde(borrow)]
    scope: std::borrow::Cow<'v, str>,
    #[serde(borrow)]
    mode: std::borrow::Cow<'v, str>,
    time: Time,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Millis(u64),
    Text(String),
}

const YEAR_2000: u64 = 946_684_800_000;
const DAY: u64 = 86_400_000;
/// The bits of a time in milliseconds in a table: up to the year 2109.
pub(super) const TIME_BITS: u32 = 42;

impl Record {
    /// Reads a record. `written_at` is Kafka's time of it in Unix milliseconds, if there is one.
    ///
    /// A time more than a day after `written_at` counts as `written_at`, so that one wrong clock cannot have the last
    /// word for years. A record without a value, a tombstone, counts as `none` from `written_at` on.
    pub fn parse(key: &[u8], value: Option<&[u8]>, written_at: Option<u64>) -> Result<Self, Malformed> {
        let (key_id, mac) = read_key(key).ok_or(Malformed::Key)?;
        let Some(value) = value else {
            let since = written_at.ok_or(Malformed::Time)?;
            return Ok(Self { key_id, mac, scope: None, mode: Mode::None, since: fitting(since)? });
        };
        let value: Value<'_> = serde_json::from_slice(value).map_err(|_| Malformed::Value)?;
        if !is_scope(&value.scope) {
            return Err(Malformed::Scope);
        }
        let mode = Mode::parse(value.mode.as_bytes()).ok_or(Malformed::Mode)?;
        let time = match value.time {
            Time::Millis(millis) => millis,
            Time::Text(text) => {
                let time: Timestamp = text.parse().map_err(|_| Malformed::Time)?;
                u64::try_from(time.as_millisecond()).map_err(|_| Malformed::Time)?
            }
        };
        let since = written_at.filter(|written_at| time > written_at + DAY).unwrap_or(time);
        Ok(Self { key_id, mac, scope: Some(value.scope.into_owned()), mode, since: fitting(since)? })
    }

    /// The key id of the secret that made it.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The scope of the consent.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }
}

/// Whether a text is a valid scope.
#[must_use]
pub fn is_scope(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.contains(char::is_control)
}

fn read_key(key: &[u8]) -> Option<(KeyId, Mac)> {
    let dot = memchr::memchr(b'.', key)?;
    Some((KeyId::parse(&key[..dot])?, Mac::parse(&key[dot + 1..])?))
}

fn fitting(millis: u64) -> Result<u64, Malformed> {
    if millis >= YEAR_2000 && millis >> TIME_BITS == 0 { Ok(millis) } else { Err(Malformed::Time) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::{DAY, Malformed, Mode, Record};

    const KEY: &str = "k1.AAECAwQFBgcICQoLDA0ODw";
    const NOON: u64 = 1_796_040_000_000; // 2026-11-30T12:00:00Z

    #[test]
    fn a_record_says_who_what_and_since_when() {
        let of = |value: &str| Record::parse(KEY.as_bytes(), Some(value.as_bytes()), Some(NOON));
        for (name, value, expected) in [
            ("a text", r#"{"scope":"s","mode":"none","time":"2026-11-30T12:00:00Z"}"#, Ok((Mode::None, NOON))),
            ("an offset", r#"{"scope":"s","mode":"none","time":"2026-11-30T13:00:00+01:00"}"#, Ok((Mode::None, NOON))),
            ("a number", r#"{"scope":"s","mode":"individual","time":1796040000000}"#, Ok((Mode::Individual, NOON))),
            ("a letter", r#"{"scope":"s","mode":"d","time":1796040000000}"#, Ok((Mode::Deliverability, NOON))),
            (
                "more",
                r#"{"by":"crm","time":1796040000000,"mode":"a","scope":"s","x":[1]}"#,
                Ok((Mode::Aggregate, NOON)),
            ),
            ("a day ahead", r#"{"scope":"s","mode":"n","time":1796126400000}"#, Ok((Mode::None, NOON + DAY))),
            ("more than a day ahead", r#"{"scope":"s","mode":"n","time":1796126400001}"#, Ok((Mode::None, NOON))),
            ("no JSON", "none", Err(Malformed::Value)),
            ("no mode", r#"{"scope":"s","time":1796040000000}"#, Err(Malformed::Value)),
            ("no object", "7", Err(Malformed::Value)),
            ("another mode", r#"{"scope":"s","mode":"off","time":1}"#, Err(Malformed::Mode)),
            ("no scope", r#"{"scope":"","mode":"n","time":1796040000000}"#, Err(Malformed::Scope)),
            ("a control character", r#"{"scope":"s\u0000","mode":"n","time":1796040000000}"#, Err(Malformed::Scope)),
            ("no offset", r#"{"scope":"s","mode":"n","time":"2026-11-30T12:00:00"}"#, Err(Malformed::Time)),
            ("seconds", r#"{"scope":"s","mode":"n","time":1796040000}"#, Err(Malformed::Time)),
            ("a time that is negative", r#"{"scope":"s","mode":"n","time":-1}"#, Err(Malformed::Value)),
            ("the far future", r#"{"scope":"s","mode":"n","time":99999999999999}"#, Ok((Mode::None, NOON))),
        ] {
            let found = of(value);
            assert_eq!(
                found.as_ref().map(|record| (record.mode, record.since)).map_err(|error| *error),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn a_tombstone_is_a_withdrawal() {
        let record = Record::parse(KEY.as_bytes(), None, Some(NOON)).unwrap();
        assert_eq!((record.mode, record.since, record.scope()), (Mode::None, NOON, None));
        assert_eq!(Record::parse(KEY.as_bytes(), None, None), Err(Malformed::Time));
    }

    #[test]
    fn a_key_is_a_key_id_and_a_mac() {
        let of =
            |key: &str| Record::parse(key.as_bytes(), None, Some(NOON)).ok().map(|record| record.key_id().to_string());
        for (key, expected) in [
            (KEY, Some("k1")),
            ("0123456789_-abcd.AAECAwQFBgcICQoLDA0ODw", Some("0123456789_-abcd")),
            ("0123456789_-abcde.AAECAwQFBgcICQoLDA0ODw", None),
            (".AAECAwQFBgcICQoLDA0ODw", None),
            ("*.AAECAwQFBgcICQoLDA0ODw", None),
            ("k1.AAECAwQFBgcICQoLDA0O", None),
            ("k1.AAECAwQFBgcICQoLDA0ODw==", None),
            ("k1AAECAwQFBgcICQoLDA0ODw", None),
            ("user_1", None),
            ("", None),
        ] {
            assert_eq!(of(key).as_deref(), expected, "{key}");
            if expected.is_none() {
                assert_eq!(Record::parse(key.as_bytes(), None, Some(NOON)), Err(Malformed::Key), "{key}");
            }
        }
    }
}
