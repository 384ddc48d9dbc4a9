//! Operations on decoded texts: trimming, truncating, and recognising JSON literals.

use std::borrow::Cow;

/// Removes white space, control and invisible characters from both ends of a UTF-8 text (contract, section 2).
#[inline]
#[must_use]
pub fn trim(text: &[u8]) -> &[u8] {
    if ends_are_visible(text) { text } else { trim_blanks(text) }
}

/// A quick test, which usually shows that there is nothing to trim.
#[inline]
fn ends_are_visible(text: &[u8]) -> bool {
    const VISIBLE: std::ops::RangeInclusive<u8> = 0x21..=0x7E;
    matches!((text.first(), text.last()), (Some(first), Some(last)) if VISIBLE.contains(first) && VISIBLE.contains(last))
}

fn trim_blanks(text: &[u8]) -> &[u8] {
    std::str::from_utf8(text).map_or(text, |text| text.trim_matches(is_blank).as_bytes())
}

/// Unicode's `White_Space`, general category `Cc`, and `Default_Ignorable_Code_Point`.
#[must_use]
pub fn is_blank(c: char) -> bool {
    match c {
        '\u{21}'..='\u{7E}' => false,
        _ => c.is_whitespace() || c.is_control() || is_default_ignorable(c),
    }
}

/// Source: Unicode 16.0, `DerivedCoreProperties.txt`, `Default_Ignorable_Code_Point`. A test compares it with a
/// library's.
fn is_default_ignorable(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The beginning of a text with at most so many bytes, cut between characters.
#[inline]
#[must_use]
pub fn cut(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// The text of a header as UTF-8. Each wrong byte becomes U+FFFD (contract, section 2).
#[must_use]
pub fn of_header(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 2);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

/// Removes one pair of surrounding `"`, because AMP quotes the `CLIENT_ID` that it inserts.
#[must_use]
pub fn unquote(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(text)
}

/// Percent-encodes bytes: letters, digits and `-._~` stay, all others become `%` and two digits.
#[must_use]
pub fn percent_encoded(bytes: &[u8]) -> Vec<u8> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |&byte: &u8| if is_plain(byte) { vec![byte] } else { format!("%{byte:02X}").into_bytes() };
    bytes.iter().flat_map(encode).collect()
}

/// The first language of an Accept-Language header (RFC 9110, section 12.5.4), without its weight. `*` is not a
/// language, and empty elements do not count (section 5.6.1).
#[must_use]
pub fn first_language(header: &str) -> &str {
    let mut rest = header;
    while !rest.is_empty() {
        let (range, after) =
            rest.split_at(rest.bytes().position(|byte| matches!(byte, b',' | b';')).unwrap_or(rest.len()));
        match if ends_are_visible(range.as_bytes()) { range } else { range.trim() } {
            "" => rest = after.split_once(',').map_or("", |(_, next)| next),
            "*" => break,
            language => return language,
        }
    }
    ""
}

/// Whether a UTF-8 text may be written in JSON without quotes, because every reader prints it back the same.
///
/// These are `true` and `false`, integers that a double holds exactly (RFC 7493, section 2.2: up to 2^53 - 1), and
/// decimals whose shortest double has the same digits. Decimals below 0.0001 stay text, because some printers write
/// exponents for them.
#[must_use]
pub fn is_literal(text: &[u8]) -> bool {
    // A quick test first, because few values are literals.
    if !matches!(text.first(), Some(b'0'..=b'9' | b'-' | b't' | b'f')) {
        return false;
    }
    let Ok(text) = std::str::from_utf8(text) else { return false };
    if matches!(text, "true" | "false") {
        return true;
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !plain || digits.is_empty() || digits.len() > 24 {
        return false;
    }
    if digits.contains('.') {
        text.parse::<f64>().is_ok_and(|value| value.abs() >= 1e-4 && value.to_string() == text)
    } else {
        const MAX_SAFE: i64 = (1 << 53) - 1;
        text.parse::<i64>().is_ok_and(|value| value.abs() <= MAX_SAFE && value.to_string() == text)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::{cut, first_language, is_blank, is_literal, of_header, trim, unquote};

    #[test]
    fn blanks_are_those_of_a_unicode_library() {
        let class = regex::Regex::new(r"^[\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}]$").unwrap();
        let mut buffer = [0; 4];
        for c in '\0'..=char::MAX {
            assert_eq!(is_blank(c), class.is_match(c.encode_utf8(&mut buffer)), "{c:?}");
        }
    }

    #[test]
    fn trimming_leaves_the_inside_alone() {
        for (text, expected) in [
            ("\u{FEFF} \0a\u{200B} b\u{AD}\u{3000}\n", "a\u{200B} b"),
            (" \u{200D}\t", ""),
            ("", ""),
            ("a", "a"),
            (" ", ""),
            ("a ", "a"),
            ("\u{7F}a", "a"),
        ] {
            assert_eq!(trim(text.as_bytes()), expected.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn one_pair_of_quotes_goes() {
        for (text, expected) in [("\"a\"", "a"), ("\"\"a\"\"", "\"a\""), ("\"a", "\"a"), ("\"", "\""), ("\"\"", "")] {
            assert_eq!(unquote(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn languages() {
        for (header, expected) in [
            ("fr-CH, fr;q=0.9", "fr-CH"),
            ("de;q=0.5", "de"),
            ("*", ""),
            ("", ""),
            (" en ", "en"),
            (",de", "de"),
            ("*, de", ""),
        ] {
            assert_eq!(first_language(header), expected, "{header}");
        }
    }

    #[test]
    fn headers_are_utf_8_but_for_each_wrong_byte() {
        for (bytes, expected) in [
            (&b"Mozilla/5.0"[..], "Mozilla/5.0"),
            ("café".as_bytes(), "café"),
            (b"caf\xe9", "caf\u{FFFD}"),
            (b"\xff\xfe a", "\u{FFFD}\u{FFFD} a"),
            (b"\xe2\x82", "\u{FFFD}\u{FFFD}"),
            (b"", ""),
        ] {
            assert_eq!(of_header(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn cuts_are_at_characters() {
        for (text, bytes, expected) in
            [("abc", 3, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("é", 1, ""), ("€uro", 4, "€u"), ("", 0, "")]
        {
            assert_eq!(cut(text, bytes), expected, "{text} {bytes}");
        }
    }

    #[test]
    fn literals_lose_no_character() {
        let literals = [
            "true",
            "false",
            "0",
            "-1",
            "99.99",
            "-0.5",
            "0.0001",
            "9007199254740991",
            "1234567.25",
            "12345.999999999909",
        ];
        let texts = [
            "",
            "-",
            ".",
            "-.",
            "True",
            "null",
            "007",
            "+1",
            "1e5",
            "-0",
            "-0.0",
            "1.0",
            "1.10",
            ".5",
            "5.",
            "0.00001",
            "9007199254740992",
            "12345678901234567890",
            "1.2.3",
            "NaN",
            "inf",
            " 1",
            "0.1000000000000000055511151",
        ];
        assert!(literals.iter().all(|text| is_literal(text.as_bytes())), "{literals:?}");
        assert!(!texts.iter().any(|text| is_literal(text.as_bytes())), "{texts:?}");
    }
}
