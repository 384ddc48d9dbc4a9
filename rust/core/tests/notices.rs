//! The notices of accepted requests (contract, section 2), and their counters.
#![expect(clippy::unwrap_used)]

use pixelcore::consent::{Mode, Terms};
use pixelcore::counters::{Counters, Outcome};
use pixelcore::event::{Judged, write};
use pixelcore::notice::{Fault, Notices, QuotedPrintable, take_ignored};
use pixelcore::options::Options;
use pixelcore::protect::{Guard, Protection, Secret, seal, sign};
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;

fn noticed(query: &str) -> Notices {
    let request = Request { received_at: UnixMillis::new(1_740_493_801_250).unwrap(), ..Request::default() };
    write(&mut Vec::new(), "page", query.as_bytes(), &request, &Options::default(), |_| Ok(Judged::default())).unwrap()
}

#[test]
fn notices() {
    let none = Notices::default();
    let doubtful = |id: u16, doubt: u16| Notices { doubtful: 1 << (id * 4 + doubt), ..none };
    for (query, expected, counted) in [
        ("wk=k&uid=u&p.a=1&t.b=2&cb=3&utm_source=s&m=i&s=4", none, &[][..]),
        ("wk=k&z=1&cb&y", Notices { ignored: 2, ..none }, &[("ignored_parameters", 2)]),
        ("wk=k&z=1&z=2&P.a=3", Notices { ignored: 3, ..none }, &[("ignored_parameters", 3)]),
        ("wk=k&ts=1", Notices { ts: true, ..none }, &[("repairs ts", 1)]),
        ("wk=k&ts=1740493801250", none, &[]),
        ("wk=k&uid=%FF", Notices { repaired: 1, ..none }, &[("repairs userId", 1)]),
        ("wk=k&aid=%FF", Notices { repaired: 2, ..none }, &[("repairs anonymousId", 1)]),
        ("wk=k&gid=%FF", Notices { repaired: 4, ..none }, &[("repairs groupId", 1)]),
        ("wk=k&mid=%FF", Notices { repaired: 8, ..none }, &[("repairs messageId", 1)]),
        ("wk=k&mid=%FF&uid=%FE", Notices { repaired: 9, ..none }, &[("repairs userId", 1), ("repairs messageId", 1)]),
        ("wk=k&uid=undefined", doubtful(0, 0), &[("doubtful_values userId nothing", 1)]),
        (
            "wk=k&aid=00000000-0000-0000-0000-000000000000",
            doubtful(1, 1),
            &[("doubtful_values anonymousId nil_uuid", 1)],
        ),
        ("wk=k&gid={{g}}", doubtful(2, 2), &[("doubtful_values groupId merge_tag", 1)]),
        ("wk=k&mid=CLIENT_ID(m)", doubtful(3, 3), &[("doubtful_values messageId macro", 1)]),
        (
            "wk=3Dk&e=3DE",
            Notices { quoted_printable: Some(QuotedPrintable::Kept), ..none },
            &[("quoted_printable kept", 1)],
        ),
        (
            "wk=k&ts%1740493800000",
            Notices { quoted_printable: Some(QuotedPrintable::Decoded), ignored: 1, ..none },
            &[("ignored_parameters", 1), ("quoted_printable decoded", 1)],
        ),
        (
            "wk=k&p.a%ff",
            Notices { quoted_printable: Some(QuotedPrintable::Decoded), ..none },
            &[("quoted_printable decoded", 1)],
        ),
        ("wk=k&p.a%ff=1", none, &[]),
    ] {
        for _ in 0..3 {
            assert_eq!(noticed(query), expected, "{query}: whether its names are new or known");
        }
        let counters = Counters::in_memory(&[]);
        counters.count("page", Outcome::Accepted(expected, 0));
        let others = ["requests ", "appended_bytes "];
        let found: Vec<_> = counters
            .iter()
            .filter(|(name, count)| *count > 0 && !others.iter().any(|other| name.starts_with(other)))
            .collect();
        assert_eq!(found, counted, "{query}");
    }
}

#[test]
fn how_a_query_was_protected() {
    let secret = Secret::new("Zr8Qw3vT6yB1nM5kP9sD2fG7hJ4lX0cA").unwrap();
    let signature = sign(&secret, "page", b"wk=k&uid=u");
    let sealed = seal(&secret, "page", b"k", b"uid=u", [7; 12]);
    let guard = Guard::new(vec![secret], false);
    for (query, guard, expected, counted) in [
        ("wk=k&uid=u".to_owned(), None, Protection::None, &[][..]),
        ("wk=k&uid=u".to_owned(), guard.as_ref(), Protection::Unsigned, &["protected unsigned"]),
        (format!("wk=k&uid=u&s={signature}"), None, Protection::None, &[]),
        (format!("wk=k&uid=u&s={signature}"), guard.as_ref(), Protection::Signed, &["protected signed"]),
        (format!("wk=k&x={sealed}"), guard.as_ref(), Protection::Sealed, &["protected sealed"]),
    ] {
        let request = Request { received_at: UnixMillis::new(1_740_493_801_250).unwrap(), ..Request::default() };
        let written = write(&mut Vec::new(), "page", query.as_bytes(), &request, &Options::default(), |claim| {
            claim.settle(guard).map(|()| Judged::default())
        });
        assert_eq!(written, Ok(Notices { protection: expected, ..Notices::default() }), "{query}");
        let counters = Counters::in_memory(&[]);
        counters.notice(written.unwrap());
        let found: Vec<_> = counters.iter().filter(|(_, count)| *count > 0).map(|(name, _)| name).collect();
        assert_eq!(found, counted, "{query}");
    }
}

#[test]
fn an_unknown_mode_is_noticed_whatever_is_kept() {
    let request = Request { received_at: UnixMillis::new(1_740_493_801_250).unwrap(), ..Request::default() };
    for (mode, default, fault) in [
        ("", None, None),
        ("&m=i", None, None),
        ("&m=x", None, Some(Fault::UnknownMode)),
        ("&m=x", Some(Mode::Individual), Some(Fault::UnknownMode)),
        ("&m=x", Some(Mode::None), Some(Fault::UnknownMode)),
    ] {
        let terms = Terms {
            max: Mode::Individual,
            default,
            lookup: None,
            properties: Box::default(),
            minimum: Terms::MINIMUM,
            refuse_addresses: false,
        };
        let query = format!("wk=k{mode}");
        let judged = Judged { terms: Some(&terms), ..Judged::default() };
        let written =
            write(&mut Vec::new(), "page", query.as_bytes(), &request, &Options::default(), |_| Ok(judged)).unwrap();
        assert_eq!(written.fault, fault, "{query}, {default:?}");
    }
}

#[test]
fn names_that_mean_nothing_are_kept_for_whoever_looks() {
    let _ = take_ignored();
    // No other test of this program uses these names, because tests run at the same time.
    let ours = || {
        let mut found: Vec<_> = take_ignored().into_iter().filter(|name| name.starts_with("kept_")).collect();
        found.sort();
        found
    };
    for _ in 0..3 {
        noticed("wk=k&kept_a=1&kept_b&kept_a=2");
    }
    assert_eq!(ours(), ["kept_a", "kept_b"]);
    assert_eq!(ours(), [""; 0]);
    noticed("wk=k&kept_a=3&kept_b=&kept_a=4");
    assert_eq!(ours(), [""; 0], "those of a template that is known are no news");
    noticed(&format!("wk=k&kept_{}", "x".repeat(100)));
    assert_eq!(ours(), [format!("kept_{}", "x".repeat(59))], "64 bytes of each");
    let many: String = (0..40).map(|number| format!("&kept_{number:02}")).collect();
    noticed(&format!("wk=k{many}"));
    let found = ours();
    assert!((20..=32).contains(&found.len()), "{}", found.len());
    assert_eq!(found[0], "kept_00");
}
