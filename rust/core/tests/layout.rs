//! Cached layouts: after any earlier queries, a query has the same result as in a new thread.
#![expect(clippy::unwrap_used)]

use std::thread;

use pixelcore::event::{Judged, write};
use pixelcore::options::{Limits, Options};
use pixelcore::reason::Reason;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;
use proptest::prelude::*;

/// An event, or the reason of rejection.
type Outcome = Result<String, Reason>;

fn event(query: &str, typed_values: bool, depth: usize) -> Outcome {
    let request = Request { received_at: UnixMillis::new(1_740_493_801_250).unwrap(), ..Request::default() };
    let limits = Limits { depth, ..Limits::default() };
    let options = Options { limits, typed_values, ..Options::default() };
    let mut out = Vec::new();
    let query = format!("wk=k&e=E&mid=m&{query}");
    write(&mut out, "track", query.as_bytes(), &request, &options, |_| Ok(Judged::default()))?;
    Ok(String::from_utf8(out).unwrap())
}

/// The outcome in a new thread, without cached layouts.
fn event_by_itself(query: &str, typed_values: bool, depth: usize) -> Outcome {
    thread::scope(|scope| scope.spawn(|| event(query, typed_values, depth)).join().unwrap())
}

#[test]
fn names_that_look_alike_are_told_apart() {
    // Names of the same length and the same end have the same digest.
    let long = "x".repeat(40);
    let cases = [
        ("first byte of many", format!("p.a{long}=1"), format!("p.b{long}=1")),
        ("first byte of 16", "p.a.345678901234=1".into(), "p.b.345678901234=1".into()),
        ("a root", "p.345678901234=1".into(), "t.345678901234=1".into()),
        ("a root, short", "p.a1=1".into(), "t.a1=1".into()),
        ("what is between", "uid=1".into(), "und=1".into()),
        ("order", "p.a=1&p.b=2".into(), "p.b=1&p.a=2".into()),
        ("a name more", "p.a=1".into(), "p.a=1&p.a=2".into()),
        ("an empty name", "p.a=1&=2".into(), "p.a=1&p.=2".into()),
        ("an escape", "p.%61=1".into(), "p.%62=1".into()),
        ("no equals sign", "p.a".into(), "p.a=1".into()),
        ("an equals sign more", "p.a=1".into(), "p.a==1".into()),
        ("a longer name", "p.a=1".into(), "p.ab=1".into()),
        ("an empty sequence", "p.a=1&&p.b=1".into(), "p.a=1&p.b=2".into()),
        ("a last ampersand", "p.a=1&".into(), "p.a=2".into()),
        ("a name less", "p.a=1&p.b=2".into(), "p.a=1&p.c".into()),
    ];
    for (name, one, other) in cases {
        for query in [&one, &one, &one, &other, &one, &other, &other, &other, &one] {
            assert_eq!(event(query, false, 32), event_by_itself(query, false, 32), "{name}: {query}");
        }
        assert_ne!(event(&one, false, 32), event(&other, false, 32), "{name}");
    }
}

#[test]
fn values_are_those_of_each_query() {
    let long = "x".repeat(150);
    let template = |a: &str, b: &str| format!("p.a.0={a}&p.a.1={b}&p.n={a}&p.n={b}&uid={a}&uid={b}");
    for (name, a, b, expected) in [
        ("one", "1", "2", r#""userId":"1","properties":{"a":["1","2"],"n":["1","2"]}"#),
        ("another", "x", "y", r#""userId":"x","properties":{"a":["x","y"],"n":["x","y"]}"#),
        ("another", "3", "4", r#""userId":"3","properties":{"a":["3","4"],"n":["3","4"]}"#),
        ("the first that is not empty", "", "4", r#""userId":"4","properties":{"a":["","4"],"n":["","4"]}"#),
        (
            "longer than a block",
            &long,
            "4",
            &format!(r#""userId":"{long}","properties":{{"a":["{long}","4"],"n":["{long}","4"]}}"#),
        ),
        ("escapes", "%22+%2b", "%e2%82%ac", r#""userId":"\" +","properties":{"a":["\" +","€"],"n":["\" +","€"]}"#),
    ] {
        let found = event(&template(a, b), false, 32).unwrap();
        assert!(found.contains(expected), "{name}: {found}");
    }
}

#[test]
fn values_end_anywhere() {
    for length in 0..200 {
        let query = format!("p.a={}&p.b.c=2", "x".repeat(length));
        assert_eq!(event(&query, false, 32), event_by_itself(&query, false, 32));
    }
}

#[test]
fn settings_are_those_of_each_query() {
    for _ in 0..4 {
        assert!(event("p.a.b=1", false, 2).unwrap().contains(r#"{"a":{"b":"1"}}"#));
        assert!(event("p.a.b=1", true, 2).unwrap().contains(r#"{"a":{"b":1}}"#));
        assert_eq!(event("p.a.b=1", false, 1), Err(Reason::TooDeep));
        let limits = Limits { parameters: 3, depth: 1, ..Limits::default() };
        let options = Options { limits, ..Options::default() };
        let rejected = write(&mut vec![], "track", b"wk=k&e=E&mid=m&p.a.b=1", &Request::default(), &options, |_| {
            Ok(Judged::default())
        });
        assert_eq!(rejected.map_err(Reason::from), Err(Reason::TooManyParameters));
    }
}

#[test]
fn what_is_too_long_to_be_kept_is_read_as_ever() {
    let many: String = (0..250).map(|i| format!("p.{i}=v&")).collect();
    let long = format!("p.{}=v", "n".repeat(3000));
    for query in [&many, &long, &many, &long, &long, &many] {
        assert_eq!(event(query, false, 32), event_by_itself(query, false, 32));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Few names and values, so that the same names appear again with other values.
    #[test]
    fn what_came_before_makes_no_difference(
        queries in proptest::collection::vec(
            proptest::collection::vec(
                ("(amp;)?([pt]\\.(a|0|1|%61|a b)?(\\.(0|1|%2e|b))?|uid|utm_term|x)", "(1|true|%22|%ff|\\+|é|abc|-{70})?"),
                1..4,
            ),
            1..4,
        ),
        order in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<bool>()), 0..30),
    ) {
        for (which, typed, swapped) in order {
            let mut values: Vec<&str> = which.get(&queries).iter().map(|(_, value)| value.as_str()).collect();
            if swapped {
                values.reverse();
            }
            let pairs = which.get(&queries).iter().zip(values);
            let query: String = pairs.map(|((name, _), value)| format!("{name}={value}&")).collect();
            prop_assert_eq!(event(&query, typed, 2), event_by_itself(&query, typed, 2), "{}", query);
        }
    }
}
