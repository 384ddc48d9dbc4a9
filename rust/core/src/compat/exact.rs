//! Makes foreign JSON fit for a journal's line that all readers accept, and changes nothing else.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::value::RawValue;

/// A JSON text, and its depth: `{}` has 1.
pub struct Exact {
    pub text: String,
    pub depth: usize,
}

/// Removes the white space between tokens, which may be newlines. Turns escapes of lone surrogates into U+FFFD, because
/// some readers refuse them and others drop them (RFC 8259, section 8.2). Keeps the last of repeated members, like most
/// readers, because some readers refuse such an object. Everything else stays: digits of numbers, escapes, order.
///
/// None if it is not JSON, or has a number beyond the range of a double, which few readers can hold (section 6).
/// Nothing here is recursive, so no depth can exhaust the stack.
pub fn exact(json: &str) -> Option<Exact> {
    let json = serde_json::from_str::<&RawValue>(json).ok()?.get().as_bytes();
    let mut text = Vec::with_capacity(json.len());
    let (mut open, mut repeated) = (Vec::<Option<Object>>::new(), Vec::new());
    let (mut deepest, mut at) = (0, 0);
    while let Some(&byte) = json.get(at) {
        let rest = &json[at..];
        let length = match byte {
            b'"' => {
                let begin = text.len();
                let length = string(&mut text, rest);
                if let Some(Some(object)) = open.last_mut() {
                    object.string(begin, &text[begin..]);
                }
                length
            }
            b'-' | b'0'..=b'9' => number(&mut text, rest)?,
            b' ' | b'\t' | b'\n' | b'\r' => 1,
            other => {
                match (other, open.last_mut()) {
                    (b'{', _) => open.push(Some(Object::default())),
                    (b'[', _) => open.push(None),
                    (b',', Some(Some(object))) => repeated.extend(object.end_of_member(text.len())),
                    (b'}' | b']', Some(closed)) => {
                        repeated.extend(closed.as_mut().and_then(|object| object.end_of_member(text.len())));
                        open.pop();
                    }
                    _ => {}
                }
                deepest = deepest.max(open.len());
                text.push(other);
                1
            }
        };
        at += length;
    }
    Some(Exact { text: String::from_utf8(without(text, repeated)).ok()?, depth: deepest })
}

/// An open object.
#[derive(Default)]
struct Object {
    /// The places of the members, from the beginnings of their names to the ends of their values.
    members: HashMap<String, Range<usize>>,
    /// The current member.
    name: Option<(String, usize)>,
}

impl Object {
    /// A string at `begin`: the name of a member, or the value if there is a name already.
    fn string(&mut self, begin: usize, json: &[u8]) {
        self.name.get_or_insert_with(|| (serde_json::from_slice(json).unwrap_or_default(), begin));
    }

    /// Ends a member. Returns the place of an earlier member with the same name, with its comma.
    fn end_of_member(&mut self, end: usize) -> Option<Range<usize>> {
        let (name, begin) = self.name.take()?;
        self.members.insert(name, begin..end).map(|earlier| earlier.start..earlier.end + 1)
    }
}

/// A text without these parts, which may be nested.
fn without(text: Vec<u8>, mut parts: Vec<Range<usize>>) -> Vec<u8> {
    if parts.is_empty() {
        return text;
    }
    parts.sort_unstable_by_key(|part| part.start);
    let (mut kept, mut at) = (Vec::with_capacity(text.len()), 0);
    for part in parts {
        kept.extend_from_slice(text.get(at..part.start).unwrap_or_default());
        at = at.max(part.end);
    }
    kept.extend_from_slice(&text[at..]);
    kept
}

/// Copies the string at the beginning of `rest`, and returns its length there.
fn string(out: &mut Vec<u8>, rest: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let length = match (&rest[at..], unit(rest, at)) {
            (_, Some(0xD800..=0xDBFF)) if matches!(unit(rest, at + 6), Some(0xDC00..=0xDFFF)) => 12,
            (_, Some(0xD800..=0xDFFF)) => {
                out.extend_from_slice(br"\ufffd");
                at += 6;
                continue;
            }
            ([b'\\', _, ..], _) => 2,
            ([], _) => return at,
            _ => 1,
        };
        out.extend_from_slice(&rest[at..at + length]);
        at += length;
        if at > 1 && length == 1 && rest[at - 1] == b'"' {
            return at;
        }
    }
}

/// The UTF-16 code unit of the `\uXXXX` at a place.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(br"\u")?;
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// Copies the number at the beginning of `rest`, and returns its length there.
fn number(out: &mut Vec<u8>, rest: &[u8]) -> Option<usize> {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
    let number = str::from_utf8(&rest[..length]).ok()?;
    out.extend_from_slice(number.as_bytes());
    number.parse().is_ok_and(f64::is_finite).then_some(length)
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::exact;

    #[test]
    fn only_what_somebody_could_not_read_changes() {
        for (json, expected) in [
            ("{ \"a\" :\r\n\t[ 1 , 2 ] }", r#"{"a":[1,2]}"#),
            (r#" {" a\n\" ": "\\"} "#, r#"{" a\n\" ":"\\"}"#),
            (r#"{"a":1.10,"a":-0,"b":1E5,"c":00}"#, ""),
            (r#"{"a":1.10,"b":-0,"c":1E+5,"d":1e-9}"#, r#"{"a":1.10,"b":-0,"c":1E+5,"d":1e-9}"#),
            (r#"{"a":1.10,"a":-0,"b":1E+5,"c":1e-9}"#, r#"{"a":-0,"b":1E+5,"c":1e-9}"#),
            (r#"{"a":{"b":1,"b":2},"c":[{"d":1,"d":"d"}],"a":3}"#, r#"{"c":[{"d":"d"}],"a":3}"#),
            (r#"{"a":1,"\u0061":"a","a":["a","a"]}"#, r#"{"a":["a","a"]}"#),
            (r#"{"a":{},"a":{"a":1 , "a" : 2}}"#, r#"{"a":{"a":2}}"#),
            (r#"{"\ud800":1,"\udfff":2,"":{},"":[]}"#, r#"{"\ufffd":2,"":[]}"#),
            (r#"[{"a":1},{"a":1}]"#, r#"[{"a":1},{"a":1}]"#),
            (r#"{"a":1e999}"#, ""),
            (r#"{"a":1e308,"b":1e-999}"#, r#"{"a":1e308,"b":1e-999}"#),
            (r#"["\ud83d\ude00\u0000\u00e9"]"#, r#"["\ud83d\ude00\u0000\u00e9"]"#),
            (r#"["\ud83d","\ude00","\uDE00\uD83D"]"#, r#"["\ufffd","\ufffd","\ufffd\ufffd"]"#),
            (r#"["\ud83d\ud83d\ude00","\ud83d\\ude00"]"#, r#"["\ufffd\ud83d\ude00","\ufffd\\ude00"]"#),
            (r#"["\\ud83d","\ud83"]"#, ""),
            (r#"["\\ud83d","é☃😀"]"#, r#"["\\ud83d","é☃😀"]"#),
            ("[1 2]", ""),
            ("{\"a\":\"\n\"}", ""),
            ("{} {}", ""),
            ("", ""),
        ] {
            assert_eq!(exact(json).map(|exact| exact.text).unwrap_or_default(), expected, "{json}");
        }
    }

    #[test]
    fn depth_is_that_of_the_deepest() {
        for (json, depth) in [("1", 0), ("{}", 1), (r#"{"a":[{}],"b":["[[[[","\"[[["]}"#, 3), ("[[],[[]],[]]", 3)] {
            assert_eq!(exact(json).unwrap().depth, depth, "{json}");
        }
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(exact(&deep).unwrap().depth, 1_000_000);
    }
}
