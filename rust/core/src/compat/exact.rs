//! JSON that others wrote, made fit for a line that everybody can read, and otherwise left exactly as it is.

use serde_json::value::RawValue;

/// A JSON text, and how deep it nests: `{}` is 1.
pub struct Exact {
    pub text: String,
    pub depth: usize,
}

/// Takes the white space between tokens away, which may be newlines, and turns escapes of lone surrogates, which some
/// readers refuse and others drop (RFC 8259, section 8.2), into that of U+FFFD. All else stays: digits of numbers,
/// escapes, order, and members with the same name.
///
/// None for what is no JSON, and for a number beyond those of a double, which few readers can hold (section 6).
/// Nothing here is recursive, so no depth can exhaust the stack.
pub fn exact(json: &str) -> Option<Exact> {
    let json = serde_json::from_str::<&RawValue>(json).ok()?.get().as_bytes();
    let mut text = Vec::with_capacity(json.len());
    let (mut depth, mut deepest, mut at) = (0_usize, 0, 0);
    while let Some(&byte) = json.get(at) {
        let rest = &json[at..];
        let length = match byte {
            b'"' => string(&mut text, rest),
            b'-' | b'0'..=b'9' => number(&mut text, rest)?,
            b' ' | b'\t' | b'\n' | b'\r' => 1,
            other => {
                match other {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                deepest = deepest.max(depth);
                text.push(other);
                1
            }
        };
        at += length;
    }
    Some(Exact { text: String::from_utf8(text).ok()?, depth: deepest })
}

/// Copies the string that `rest` begins with, and returns its length there.
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

/// The UTF-16 code unit of the `\uXXXX` that is at a place.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(br"\u")?;
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// Copies the number that `rest` begins with, and returns its length there.
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
            (r#"{"a":1.10,"a":-0,"b":1E+5,"c":1e-9}"#, r#"{"a":1.10,"a":-0,"b":1E+5,"c":1e-9}"#),
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
