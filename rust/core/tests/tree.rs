//! Nesting against a naive oracle (contract, section 3), and its worst cases.
#![expect(clippy::unwrap_used)]

mod oracle;

use pixelcore::query::{form, layout};
use proptest::prelude::*;
use serde_json::Value;

fn nest(query: &str) -> String {
    String::from_utf8(layout::nest(query.as_bytes(), "p.", false)).unwrap()
}

#[test]
fn rules() {
    let cases = [
        ("nothing", "", "{}"),
        ("once", "p.a=1", r#"{"a":"1"}"#),
        ("repeated", "p.a=1&p.b=2&p.a=3", r#"{"a":["1","3"],"b":"2"}"#),
        ("values and members", "p.a=1&p.a.b=2", r#"{"a":{"":"1","b":"2"}}"#),
        ("members and values", "p.a.b=2&p.a=1", r#"{"a":{"":"1","b":"2"}}"#),
        ("into an empty member", "p.a.b=2&p.a.=3&p.a=1", r#"{"a":{"":["3","1"],"b":"2"}}"#),
        ("an empty member alone", "p.a.b=2&p.a.=3", r#"{"a":{"b":"2","":"3"}}"#),
        ("down twice", "p.a=1&p.a..x=2", r#"{"a":{"":{"":"1","x":"2"}}}"#),
        ("array", "p.a.1=b&p.a.0=a", r#"{"a":["a","b"]}"#),
        ("no array at the top", "p.0=a&p.1=b", r#"{"0":"a","1":"b"}"#),
        ("gap", "p.a.0=a&p.a.2=b", r#"{"a":{"0":"a","2":"b"}}"#),
        ("no canonical number", "p.a.00=a", r#"{"a":{"00":"a"}}"#),
        ("nothing allocated", "p.x.100000000=v", r#"{"x":{"100000000":"v"}}"#),
        ("empty name", "p.=v&p=no", r#"{"":"v"}"#),
        ("escaped dot", "p%2Ea%2eb=v", r#"{"a":{"b":"v"}}"#),
        ("amp;", "amp;p.a=v&amp;amp;p.b=w", r#"{"a":"v","b":"w"}"#),
    ];
    for (name, query, expected) in cases {
        assert_eq!(nest(query), expected, "{name}");
    }
}

#[test]
fn deep_and_wide_ones_are_written_without_recursion() {
    let deep = format!("p.{}=v", ".".repeat(100_000));
    assert_eq!(nest(&deep).matches('{').count(), 100_001);
    let wide: String = (0..5000).map(|i| format!("p.a.k{i}=v&")).collect();
    assert_eq!(nest(&wide).matches('"').count(), 2 + 5000 * 4);
}

/// Few names, so that paths collide.
fn query() -> impl Strategy<Value = String> {
    let segment = prop_oneof![Just(""), Just("0"), Just("1"), Just("2"), Just("a"), Just("%61"), Just("b%00%ff")];
    let path = proptest::collection::vec(segment, 1..5).prop_map(|segments| segments.join("."));
    let parameter = (prop_oneof![9 => Just("p."), 1 => Just("amp;p."), 1 => Just("t.")], path, "[a-z+%]{0,2}")
        .prop_map(|(prefix, path, value)| format!("{prefix}{path}={value}"));
    proptest::collection::vec(parameter, 0..24).prop_map(|parameters| parameters.join("&"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_the_oracle(query in query()) {
        let nested: Value = serde_json::from_str(&nest(&query)).unwrap();
        prop_assert_eq!(nested, oracle::nest(query.as_bytes(), "p."));
    }

    #[test]
    fn many_names_agree_with_the_oracle(names in proptest::collection::vec(0..40_u32, 0..80)) {
        let query: String = names.iter().map(|name| format!("p.a.{name}=v&p.{name}=w&")).collect();
        let nested: Value = serde_json::from_str(&nest(&query)).unwrap();
        prop_assert_eq!(nested, oracle::nest(query.as_bytes(), "p."));
    }

    #[test]
    fn no_member_is_written_twice(query in query()) {
        // A parser that keeps the last of two equal members would hide the repetition.
        let text = nest(&query);
        let nested: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(nested.to_string().len(), text.len());
    }

    #[test]
    fn any_bytes_nest(query in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _: Value = serde_json::from_slice(&layout::nest(&query, "", false)).unwrap();
        prop_assert_eq!(form::pairs(&query).count(), form_urlencoded::parse(&query).count());
    }
}
