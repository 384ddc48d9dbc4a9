//! The form decoder against the crate `form_urlencoded` and a table.
#![expect(clippy::unwrap_used)]

use pixelcore::json;
use pixelcore::query::form::{self, Raw};
use proptest::prelude::*;

/// A name, a query, and its pairs.
type Case = (&'static str, &'static [u8], &'static [(&'static str, &'static str)]);

fn text(raw: Raw<'_>) -> String {
    assert_eq!(raw.plain, Raw::new(raw.bytes).plain);
    String::from_utf8(raw.decode().into_owned()).unwrap()
}

fn decoded(query: &[u8]) -> Vec<(String, String)> {
    form::pairs(query).map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn splits_before_decoding() {
    let cases: [Case; 9] = [
        ("nothing", b"", &[]),
        ("empty sequences", b"&&a&", &[("a", "")]),
        ("first equals sign", b"a=b=c", &[("a", "b=c")]),
        ("no name", b"=b", &[("", "b")]),
        ("only an equals sign", b"=", &[("", "")]),
        ("escaped separators", b"a%26b%3Dc=%3D%26", &[("a&b=c", "=&")]),
        ("plus and escaped plus", b"a+b=%2B+", &[("a b", "+ ")]),
        ("escapes that are none", b"%=%4&%zz=%4g%", &[("%", "%4"), ("%zz", "%4g%")]),
        ("not UTF-8", b"%ff=%E2%82", &[("\u{FFFD}", "\u{FFFD}")]),
    ];
    for (name, query, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(decoded(query), expected, "{name}");
    }
}

/// Bytes that matter to a form decoder, more often than by chance.
/// Several blocks have something to decode at the same place.
#[test]
fn what_needs_decoding_is_found_in_every_block() {
    for before in (0..70).step_by(3) {
        for between in [0, 1, 62, 63, 64, 126, 127, 128, 191] {
            for (sent, meant) in [("+", " "), ("%41", "A"), ("\"", "\"")] {
                let text = |odd: &str| format!("{}{odd}{}{odd}", "b".repeat(before), "c".repeat(between));
                for behind in ["", "&x=y", "d&x=y"] {
                    let rest = if behind.starts_with('d') { "d" } else { "" };
                    let query = format!("a={}{behind}", text(sent));
                    let expected = ("a".to_owned(), text(meant) + rest);
                    assert_eq!(decoded(query.as_bytes())[0], expected, "{query}");
                    let (_, value) = form::pairs(query.as_bytes()).next().unwrap();
                    assert!(!value.plain, "{query}");
                }
            }
        }
    }
}

fn query() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"&".to_vec()),
        Just(b"=".to_vec()),
        Just(b"+".to_vec()),
        Just(b"%".to_vec()),
        any::<u8>().prop_map(|byte| format!("%{byte:02x}").into_bytes()),
        any::<u8>().prop_map(|byte| format!("%{byte:02X}").into_bytes()),
        any::<u8>().prop_map(|byte| vec![byte]),
        "[a-z\"\\\\é€😀]{1,3}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn agrees_with_form_urlencoded(query in query()) {
        let expected: Vec<_> =
            form_urlencoded::parse(&query).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        prop_assert_eq!(decoded(&query), expected);
    }

    #[test]
    fn a_value_and_its_json_string_are_the_same(raw in query(), behind in query()) {
        let from = [&raw[..], &behind].concat();
        let raw = Raw::new(&raw);
        let mut out = vec![b'"'];
        json::form_text(&mut out, &from, raw.bytes.len(), raw.plain);
        out.push(b'"');
        let parsed: String = serde_json::from_slice(&out).unwrap();
        let text = text(raw);
        prop_assert_eq!(&parsed, &text);
        let mut again = Vec::new();
        json::string(&mut again, text.as_bytes());
        prop_assert_eq!(out, again);
    }
}
