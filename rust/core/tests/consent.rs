//! The modes (contract, section 9).

use pixelcore::consent::ceilings::Ceiling;
use pixelcore::consent::{Mode, Wishes, address, mode};

/// The rights of each mode, listed one by one. The diamond must agree with this naive list.
fn rights(mode: Mode) -> (bool, bool, bool) {
    match mode {
        Mode::Individual => (true, true, true),
        Mode::Deliverability => (false, true, false),
        Mode::Aggregate => (false, false, true),
        Mode::None => (false, false, false),
    }
}

fn both(left: (bool, bool, bool), right: (bool, bool, bool)) -> (bool, bool, bool) {
    (left.0 && right.0, left.1 && right.1, left.2 && right.2)
}

#[test]
fn a_meet_keeps_what_both_keep() {
    for left in Mode::ALL {
        for right in Mode::ALL {
            assert_eq!(rights(left.meet(right)), both(rights(left), rights(right)), "{left:?} {right:?}");
            assert_eq!(left.meet(right), right.meet(left));
        }
        assert_eq!(left.meet(left), left);
    }
}

#[test]
fn words() {
    let word = |text: &str| Mode::parse(text.as_bytes());
    for (text, expected) in [
        ("individual", Some(Mode::Individual)),
        ("i", Some(Mode::Individual)),
        ("deliverability", Some(Mode::Deliverability)),
        ("d", Some(Mode::Deliverability)),
        ("aggregate", Some(Mode::Aggregate)),
        ("a", Some(Mode::Aggregate)),
        ("none", Some(Mode::None)),
        ("n", Some(Mode::None)),
        ("", None),
        ("N", None),
        ("no", None),
        ("nonee", None),
        ("individual ", None),
        ("0", None),
        ("{{mode}}", None),
    ] {
        assert_eq!(word(text), expected, "{text:?}");
    }
    for mode in Mode::ALL {
        assert_eq!(word(mode.as_str()), Some(mode));
        assert_eq!(Mode::from_byte(mode.as_byte()), Some(mode));
    }
    assert_eq!(Mode::from_byte(4), None);
}

/// The mode of a request, computed from sets of rights, and not from the diamond's bits.
fn oracle(wishes: &Wishes) -> Mode {
    let mut keeps: Vec<&str> = vec!["event", "day", "count"];
    let mut allow = |mode: Mode| {
        let allowed: &[&str] = match mode {
            Mode::Individual => &["event", "day", "count"],
            Mode::Deliverability => &["day"],
            Mode::Aggregate => &["count"],
            Mode::None => &[],
        };
        keeps.retain(|kept| allowed.contains(kept));
    };
    allow(wishes.max);
    match (wishes.url, wishes.default) {
        (Some(Some(mode)), _) | (Some(None) | None, Some(mode)) => allow(mode),
        (Some(None), None) => allow(Mode::None),
        (None, None) => {}
    }
    if let Some((ceiling, unknown)) = wishes.person {
        if matches!(ceiling, Ceiling::Stale { .. }) {
            allow(unknown);
        }
        allow(match ceiling {
            Ceiling::Of { mode, .. } | Ceiling::Stale { mode, .. } => mode,
            Ceiling::Unknown => unknown,
            Ceiling::Unreadable => Mode::None,
        });
    }
    allow(wishes.gpc);
    match keeps[..] {
        ["event", ..] => Mode::Individual,
        ["day"] => Mode::Deliverability,
        ["count"] => Mode::Aggregate,
        _ => Mode::None,
    }
}

#[test]
fn the_mode_of_all_wishes() {
    let modes = Mode::ALL;
    let maybe: Vec<Option<Mode>> = modes.into_iter().map(Some).chain([None]).collect();
    let urls: Vec<Option<Option<Mode>>> = maybe.iter().copied().map(Some).chain([None]).collect();
    let ceilings = modes.map(|mode| [Ceiling::Of { mode, since: 1 }, Ceiling::Stale { mode, since: 1 }]);
    let ceilings: Vec<_> = ceilings.into_iter().flatten().chain([Ceiling::Unknown, Ceiling::Unreadable]).collect();
    let persons = ceilings.iter().flat_map(|ceiling| modes.map(|unknown| Some((*ceiling, unknown)))).chain([None]);
    let mut count = 0;
    for person in persons {
        for (max, gpc) in modes.into_iter().flat_map(|max| modes.map(|gpc| (max, gpc))) {
            for (default, url) in maybe.iter().flat_map(|default| urls.iter().map(move |url| (*default, *url))) {
                let wishes = Wishes { max, default, url, person, gpc };
                assert_eq!(mode(wishes), oracle(&wishes), "{wishes:?}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 41 * 16 * 30, "all of them");
}

#[test]
fn addresses() {
    for (query, expected) in [
        ("uid=jane@example.com", true),
        ("uid=jane%40example.com", true),
        ("uid=jane%2540example.com", true),
        ("uid=jane%252540example.com", true),
        ("p.who=Jane+<jane.doe%2Btag@mail.example.co.uk>", true),
        ("p.jane@example.com=1", true),
        ("m%C3%BCller=a&p.x=m%C3%BCller@b%C3%BCcher.example", true),
        ("p.url=mailto:a@b.de?subject=x", true),
        ("p.a=a@[192.0.2.1]", true),
        ("p.handle=@jane.example", false),
        ("p.a=a@b", false),
        ("p.a=a@b.", false),
        ("p.a=a @ b.de", false),
        ("p.a=me@.de", false),
        ("uid=u1&p.at=%40&p.dot=b.de", false),
        ("uid=jane%4", false),
        ("", false),
    ] {
        assert_eq!(address::is_in(query.as_bytes()), expected, "{query}");
    }
}
