//! Signed and sealed queries: the ones that verify, and the ones that do not.
#![expect(clippy::unwrap_used)]

use pixelcore::event::{Judged, write};
use pixelcore::keys::Keys;
use pixelcore::options::{Limits, Options};
use pixelcore::protect::{self, Guard, Secret, WeakSecret};
use pixelcore::reason::Reason::{self, BadSignature, MissingEvent, TooDeep, TooManyParameters, Unsigned};
use pixelcore::request::Request;
use proptest::prelude::*;
use serde_json::Value;

const ONE: &str = "the-first-secret-0123456789abcdef";
const TWO: &str = "zyxwvutsrqponmlkjihgfedcba-9876543210";
const QUERY: &str = "wk=dk_1&e=Email+Opened&uid=jane%40example.com&p.tag=a&p.tag=b";

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn sign(text: &str, kind: &str, query: &str) -> String {
    format!("{query}&s={}", protect::sign(&secret(text), kind, query.as_bytes()))
}

fn seal(text: &str, kind: &str, key: &str, query: &str) -> String {
    let sealed = protect::seal(&secret(text), kind, key.as_bytes(), query.as_bytes(), [7; 12]);
    format!("wk={key}&x={sealed}")
}

/// The event of a query at a pipeline with these secrets, without its messageId. Null if the query's mode keeps no
/// event.
fn event(kind: &str, query: &[u8], secrets: &[&str], required: bool) -> Result<Value, Reason> {
    let guard = Guard::new(secrets.iter().map(|text| secret(text)).collect(), required);
    let options = Options { limits: Limits { parameters: 12, depth: 4, ..Limits::default() }, ..Options::default() };
    let mut out = Vec::new();
    write(&mut out, kind, query, &Request::default(), &options, |claim| {
        claim.settle(guard.as_ref()).map(|()| Judged::default())
    })?;
    if out.is_empty() {
        return Ok(Value::Null);
    }
    let mut event: Value = serde_json::from_slice(&out).unwrap();
    event.as_object_mut().unwrap().remove("messageId");
    Ok(event)
}

/// The protection in the context: `signed`, `sealed`.
fn said(event: &Value) -> (bool, bool) {
    (event["context"]["signed"] == true, event["context"]["sealed"] == true)
}

#[test]
fn judgements() {
    let good = sign(ONE, "track", QUERY);
    let sealed = seal(ONE, "track", "dk_1", "e=A&uid=jane");
    let other = "wk=dk_1&e=A";
    let with = |more: &str| format!("{good}&{more}");
    let beside = |more: &str| format!("{sealed}&{more}");
    for (name, query, secrets, required, expected) in [
        ("clear, without secrets", QUERY.to_owned(), &[][..], false, Ok((false, false))),
        ("clear", QUERY.to_owned(), &[ONE], false, Ok((false, false))),
        ("clear where signed is required", QUERY.to_owned(), &[ONE], true, Err(Unsigned)),
        ("an empty signature is none", format!("{QUERY}&s="), &[ONE], false, Ok((false, false))),
        ("an empty signature where one is required", format!("{QUERY}&s=&x="), &[ONE], true, Err(Unsigned)),
        ("signed", good.clone(), &[ONE], true, Ok((true, false))),
        ("signed with the second secret", good.clone(), &[TWO, ONE], true, Ok((true, false))),
        ("signed with an older secret", good.clone(), &[TWO], false, Err(BadSignature)),
        ("a signature that nobody can judge", good.clone(), &[], false, Ok((false, false))),
        (
            "another query's signature",
            format!("{other}&s={}", &good[good.len() - 22..]),
            &[ONE],
            false,
            Err(BadSignature),
        ),
        ("no base64", format!("{other}&s=%00%ff"), &[ONE], false, Err(BadSignature)),
        ("too short", good[..good.len() - 1].to_owned(), &[ONE], false, Err(BadSignature)),
        ("too long", format!("{good}A"), &[ONE], false, Err(BadSignature)),
        ("with padding", format!("{good}=="), &[ONE], false, Err(BadSignature)),
        ("a cache buster", with("cb=1&cb=2"), &[ONE], true, Ok((true, false))),
        ("a campaign", with("utm_source=a&utm_id=b&utm_=c"), &[ONE], true, Ok((true, false))),
        ("a value more", with("p.tag=c"), &[ONE], true, Err(BadSignature)),
        ("an unknown name more", with("fbclid=1"), &[ONE], true, Err(BadSignature)),
        ("nothing but a =", with("="), &[ONE], true, Err(BadSignature)),
        ("a second signature", with("s=A"), &[ONE], true, Err(BadSignature)),
        ("an empty one before it", format!("s=&{good}"), &[ONE], true, Err(BadSignature)),
        ("a mode", with("m=a"), &[ONE], true, Err(BadSignature)),
        ("a mode that was signed", sign(ONE, "track", &format!("{QUERY}&m=i")), &[ONE], true, Ok((true, false))),
        ("one that keeps no event", sign(ONE, "track", &format!("{QUERY}&m=n")), &[ONE], true, Ok((false, false))),
        (
            "a mode that was signed and changed",
            sign(ONE, "track", &format!("{QUERY}&m=n")).replace("m=n", "m=i"),
            &[ONE],
            true,
            Err(BadSignature),
        ),
        ("sealed", sealed.clone(), &[TWO, ONE], true, Ok((true, true))),
        ("sealed with an older secret", sealed.clone(), &[TWO], false, Err(BadSignature)),
        ("a seal that nobody can open", sealed.clone(), &[], false, Err(BadSignature)),
        ("an x that is no seal", "wk=dk_1&e=A&x=12".to_owned(), &[], false, Ok((false, false))),
        ("an x that is no seal, with a secret", "wk=dk_1&e=A&x=12".to_owned(), &[ONE], false, Err(BadSignature)),
        ("a free one beside", beside("cb=1&utm_source=a"), &[ONE], true, Ok((true, true))),
        ("an id beside", beside("uid=bob"), &[ONE], true, Err(BadSignature)),
        ("a second key", beside("wk=dk_1"), &[ONE], true, Err(BadSignature)),
        ("a second seal", format!("{sealed}&{}", &sealed[8..]), &[ONE], true, Err(BadSignature)),
        ("another key", sealed.replace("dk_1", "dk_2"), &[ONE], true, Err(BadSignature)),
        ("another version", sealed.replace("x=AQ", "x=Ag"), &[ONE], true, Err(BadSignature)),
        ("cut off", sealed[..20].to_owned(), &[ONE], true, Err(BadSignature)),
        ("signed around", sign(ONE, "track", &sealed), &[ONE], true, Err(BadSignature)),
        ("signed inside", seal(ONE, "track", "dk_1", &sign(ONE, "track", QUERY)), &[ONE], true, Err(BadSignature)),
        ("sealed twice", seal(ONE, "track", "dk_1", &sealed[8..]), &[ONE], true, Err(BadSignature)),
        ("sealed without an event", seal(ONE, "track", "dk_1", "uid=jane"), &[ONE], true, Err(MissingEvent)),
        ("nothing sealed", seal(ONE, "track", "dk_1", ""), &[ONE], true, Err(MissingEvent)),
        ("too many inside", seal(ONE, "track", "dk_1", &"&a".repeat(12)), &[ONE], true, Err(TooManyParameters)),
        ("too deep inside", seal(ONE, "track", "dk_1", "e=A&p.a.a.a.a.a=1"), &[ONE], true, Err(TooDeep)),
        ("too deep, and wrong", format!("{other}&p.a.a.a.a.a=1&s=A"), &[ONE], true, Err(BadSignature)),
        ("no event, and wrong", "wk=dk_1&s=A".to_owned(), &[ONE], true, Err(BadSignature)),
    ] {
        // A query with cached names is read in another way.
        for _ in 0..3 {
            let found = event("track", query.as_bytes(), secrets, required).map(|event| said(&event));
            assert_eq!(found, expected, "{name}");
        }
    }
    assert_eq!(event("page", good.as_bytes(), &[ONE], true), Err(BadSignature), "another type");
    assert_eq!(event("page", sealed.as_bytes(), &[ONE], true), Err(BadSignature), "another type");
}

#[test]
fn what_is_sealed_counts_as_if_it_were_sent() {
    let (inside, beside) = ("e=A&uid=jane&p.a.b=1&utm_source=sealed", "utm_source=added&utm_medium=m&cb=7");
    let sealed = format!("{}&{beside}", seal(ONE, "track", "dk_1", inside));
    let mut found = event("track", sealed.as_bytes(), &[ONE], true).unwrap();
    let context = found["context"].as_object_mut().unwrap();
    assert_eq!((context.remove("signed"), context.remove("sealed")), (Some(true.into()), Some(true.into())));
    assert_eq!(found, event("track", format!("wk=dk_1&{inside}&{beside}").as_bytes(), &[], false).unwrap());
    assert_eq!(found["context"]["campaign"]["source"], "sealed");
}

#[test]
fn weak_secrets() {
    for (text, expected) in [
        ("", Some(WeakSecret::Short)),
        ("0123456789abcdefghijklmnopqrstu", Some(WeakSecret::Short)),
        ("0123456789abcdefghijklmnopqrstuv", None),
        (ONE, None),
        (TWO, None),
        ("0123456789abcdefghijklmnopqrstuv\n", Some(WeakSecret::Invisible)),
        ("0123456789abcdef 0123456789abcdef", Some(WeakSecret::Invisible)),
        ("0123456789abcdefghijklmnopqrstuvé", Some(WeakSecret::Invisible)),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Some(WeakSecret::Repetitive)),
        ("012345678012345687012345678012345678", Some(WeakSecret::Repetitive)),
        ("0123456789abcdef0123456789abcdef", Some(WeakSecret::Repetitive)),
        ("0123456789abcdef0123456789abcdef0", Some(WeakSecret::Repetitive)),
    ] {
        let found = Secret::new(text).err();
        assert_eq!(found, expected, "{text}");
        assert!(text.is_empty() || found.is_none_or(|weak| !weak.to_string().contains(text)));
    }
}

#[test]
fn errors_of_a_key_file_show_no_secret() {
    let right = "[[pipeline]]\nid = 'pip_a'\nkey = 'dk_live_a'\n";
    let make = "`pixelcore secret` makes one";
    for (lines, expected) in [
        (
            &format!("{right}secrets = ['a0b1c2d3e4f5g6h7']"),
            format!("line 4: a secret is shorter than 32 characters; {make}"),
        ),
        (
            &format!("{right}secrets = [\n'{ONE}',\n'{ONE} ']"),
            format!(
                "line 6: a secret has a character that is not visible ASCII, such as a space or the end of a line; {make}"
            ),
        ),
        (
            &format!("{right}secrets = ['{0}{0}']", "a0b1c2d3e4f5g6h7"),
            format!("line 4: a secret repeats itself, so that it can be guessed; {make}"),
        ),
        (
            &format!("{right}secrets = ['env:NOT_SET_ANYWHERE']"),
            "line 4: the secret env:NOT_SET_ANYWHERE is not set".to_owned(),
        ),
        (
            &format!("{right}secrets = ['env:HOME']"),
            format!("line 4: the secret env:HOME is shorter than 32 characters; {make}"),
        ),
        (
            &format!("{right}secrets = ['env:{ONE}']"),
            "line 4: a secret begins with env: but the name of a variable does not follow".to_owned(),
        ),
        (&format!("{right}secrets = '{ONE}'"), "line 4: secrets is not a list of texts".to_owned()),
        (&format!("{right}secrets = {{a = '{ONE}'}}"), "line 4: secrets is not a list of texts".to_owned()),
        (&format!("{right}secrets = ['{ONE}', 1]"), "line 4: secrets is not a list of texts".to_owned()),
        (
            &format!("{right}secrets = []\nrequire_signature = true"),
            "line 5: require_signature needs secrets".to_owned(),
        ),
    ] {
        assert_eq!(Keys::parse(lines).err().unwrap().to_string(), expected);
        assert!(!expected.contains(ONE));
    }
    let keys = Keys::parse(&format!("{right}secrets = ['{ONE}', '{TWO}']\nrequire_signature = true")).unwrap();
    assert!(keys.admit("dk_live_a", None, None).unwrap().guard().is_some());
    for without in ["secrets = []", "require_signature = false", ""] {
        let keys = Keys::parse(&format!("{right}{without}")).unwrap();
        assert!(keys.admit("dk_live_a", None, None).unwrap().guard().is_none());
    }
}

/// Any query with a key and an event, with names and values that matter in several ways.
fn queries() -> impl Strategy<Value = Vec<(String, String)>> {
    let names = prop_oneof![
        Just("uid".to_owned()),
        Just("p.a".to_owned()),
        Just("p.a.b".to_owned()),
        Just("e".to_owned()),
        Just("m".to_owned()),
        Just(String::new()),
        "[a-z=&%+é ]{0,3}".prop_filter("a role", |name| name != "s" && name != "x"),
    ];
    prop::collection::vec((names, any::<String>()), 0..6)
}

/// Each byte as itself, as `+`, or as an escape in either case, as `choose` decides.
fn encode(text: &str, mut choose: impl FnMut() -> u8) -> String {
    let one = |byte: u8| match choose() % 3 {
        0 if byte.is_ascii_alphanumeric() || b"-._~!*".contains(&byte) => char::from(byte).to_string(),
        1 if byte == b' ' => "+".to_owned(),
        1 => format!("%{byte:02x}"),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn written(pairs: &[(String, String)], choices: &[u8], and: &[&str]) -> String {
    let mut choices = choices.iter().copied().cycle();
    let mut choose = || choices.next().unwrap_or(2);
    let mut query = String::new();
    for (at, (name, value)) in pairs.iter().enumerate() {
        query += if at == 0 { "" } else { and[usize::from(choose()) % and.len()] };
        query += &(encode(name, &mut choose) + "=" + &encode(value, &mut choose));
    }
    query
}

proptest! {
    #[test]
    fn what_happens_on_the_way_breaks_nothing(
        pairs in queries().prop_shuffle(), choices in prop::collection::vec(any::<u8>(), 1..40), seed in any::<prop::sample::Index>(),
    ) {
        let mut pairs = pairs;
        pairs.retain(|(name, _)| name != "m"); // which may wish for less than an event
        pairs.insert(0, ("wk".to_owned(), "dk_1".to_owned()));
        pairs.push(("e".to_owned(), "A".to_owned()));
        let signature = protect::sign(&secret(ONE), "track", written(&pairs, &[2], &["&"]).as_bytes());
        // Repeated names may have another order and thus another meaning, but the signature is the same.
        let by = seed.index(pairs.len());
        pairs.rotate_left(by);
        pairs.insert(seed.index(pairs.len()), ("s".to_owned(), signature));
        pairs.push(("cb".to_owned(), "1".to_owned()));
        pairs.insert(0, ("utm_source".to_owned(), "later".to_owned()));
        let query = written(&pairs, &choices, &["&", "&amp;", "&&", "&%61mp%3b"]);
        let found = event("track", query.as_bytes(), &[TWO, ONE], true);
        prop_assert!(found.as_ref().is_ok_and(|event| event.is_null() || said(event) == (true, false)), "{query} {found:?}");
    }

    #[test]
    fn whatever_is_changed_never_verifies(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let sealed = seal(ONE, "track", "dk_1", "e=Email+Opened&uid=jane%40example.com");
        for (query, second) in [(sign(ONE, "track", QUERY), true), (sealed, false)] {
            let before = event("track", query.as_bytes(), &[ONE], true).unwrap();
            let mut bytes = query.into_bytes();
            let at = at.index(bytes.len());
            if cut { drop(bytes.drain(at..=at)) } else { bytes[at] = byte }
            if let Ok(after) = event("track", &bytes, &[ONE], true) {
                prop_assert_eq!(&after, &before, "only what means the same");
                prop_assert!(second || said(&after).1);
            }
        }
    }

    #[test]
    fn nothing_is_too_much(query in any::<Vec<u8>>(), value in "[A-Za-z0-9_=-]{0,80}") {
        for name in ["s", "x"] {
            let query = [&query[..], format!("&wk=dk_1&e=A&{name}=").as_bytes(), value.as_bytes()].concat();
            let found = event("track", &query, &[ONE], true);
            prop_assert!(found.is_err(), "{found:?}");
        }
    }
}
