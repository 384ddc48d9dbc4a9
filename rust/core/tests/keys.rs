//! The key file, and the judgement by it.
#![expect(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::time::Duration;

use pixelcore::consent::ceilings::Person;
use pixelcore::consent::{Lookup, Mode, Terms};
use pixelcore::keys::domain;
use pixelcore::keys::rate::Buckets;
use pixelcore::keys::{Keys, mask};
use pixelcore::reason::Reason;
use pixelcore::reason::Reason::{DisabledKey, DomainNotAllowed, RateLimited, UnknownKey};
use proptest::prelude::*;

const FILE: &str = r#"
[[pipeline]]
id = "pip_shop"
name = "Shop"
key = "dk_live_shop_1"
domain_allowlist = ["example.com", "bücher.example"]
rate_limit_rps = 2
labels = { team = "web", "cost centre" = "7" }

[[pipeline]]
id = "pip_shop"
key = "dk_live_shop_2"

[[pipeline]]
id = "pip_old"
key = "dk_test_old"
enabled = false
domain_allowlist = ["example.com"]
rate_limit_rps = 0.5
"#;

/// The outcome of a request without a claim.
fn judge<'k>(
    keys: &'k Keys,
    wk: &str,
    origin: Option<&str>,
    referer: Option<&str>,
    now: Duration,
) -> Result<&'k str, Reason> {
    keys.admit(wk, origin, referer)?.take(now)
}

const START: Duration = Duration::from_secs(100);

/// The error of one pipeline, whose lines begin at line 2.
fn error(lines: &str) -> String {
    Keys::parse(&format!("[[pipeline]]\n{lines}")).err().map_or_else(String::new, |err| err.to_string())
}

#[test]
fn errors_name_the_line_and_no_key() {
    let right = "id = 'pip_a'\nkey = 'dk_live_secret123'\n";
    let id = "is not pip_ and 1 to 60 of A-Z a-z 0-9 _ -";
    let key = "is not dk_live_ or dk_test_ and 1 to 56 of A-Z a-z 0-9 _ -";
    let domain = "is not like \"example.com\", which includes its subdomains";
    for (lines, expected) in [
        ("key = 'dk_live_a'", "line 1: missing field `id`".to_owned()),
        ("id = 'pip_a'", "line 1: missing field `key`".to_owned()),
        ("id = 'pip_a'\nkey = ''", format!("line 3: key \"…\" {key}")),
        ("id = 'pip_a'\nkey = 'dk_live_'", format!("line 3: key \"dk_live_…\" {key}")),
        ("id = 'pip_a'\nkey = 'dk_live_secret 123'", format!("line 3: key \"dk_live_se…\" {key}")),
        ("id = 'pip_a'\nkey = 'wk_live_secret123'", format!("line 3: key \"wk…\" {key}")),
        ("id = 'pip_a'\nwrite_key = ''", "line 3: write_key \"…\" is not 1 to 64 of A-Z a-z 0-9 _ -".to_owned()),
        (
            "id = 'pip_a'\nwrite_key = 'of/another1'",
            "line 3: write_key \"of…\" is not 1 to 64 of A-Z a-z 0-9 _ -".to_owned(),
        ),
        (
            &format!("{right}topic = 'two words'"),
            "line 4: topic \"two words\" is not 1 to 249 of A-Z a-z 0-9 . _ -".to_owned(),
        ),
        (&format!("{right}topic = '..'"), "line 4: topic \"..\" is not 1 to 249 of A-Z a-z 0-9 . _ -".to_owned()),
        (
            &format!("{right}topic = 'one'\n[[pipeline]]\nid = 'pip_a'\nkey = 'dk_live_b'\ntopic = 'two'"),
            "line 8: topic \"two\" of pip_a differs from \"one\" above".to_owned(),
        ),
        (
            &format!("{right}write_key = 'another'"),
            "line 4: key and write_key are two keys: give each its own [[pipeline]]".to_owned(),
        ),
        (
            &format!("{right}[[pipeline]]\nid = 'pip_b'\nwrite_key = 'dk_live_secret123'"),
            "line 6: key dk_live_se… repeats the key of line 3".to_owned(),
        ),
        ("id = 'pip_'\nkey = 'dk_live_a'", format!("line 2: id \"pip_\" {id}")),
        ("id = 'pip_é'\nkey = 'dk_live_a'", format!("line 2: id \"pip_é\" {id}")),
        ("id = 'dk_live_secret123'\nkey = 'pip_a'", format!("line 2: id \"dk_live_se…\" {id}")),
        (&format!("{right}rate_limit_rps = 0"), "line 4: rate_limit_rps 0 is not a positive number".to_owned()),
        (&format!("{right}rate_limit_rps = -1.5"), "line 4: rate_limit_rps -1.5 is not a positive number".to_owned()),
        (&format!("{right}rate_limit_rps = nan"), "line 4: rate_limit_rps NaN is not a positive number".to_owned()),
        (&format!("{right}rate_limit_rps = inf"), "line 4: rate_limit_rps inf is not a positive number".to_owned()),
        (&format!("{right}rate_limit_rps = '9'"), "line 4: invalid type: string \"9\", expected f64".to_owned()),
        (&format!("{right}enabled = 1"), "line 4: invalid type: integer `1`, expected a boolean".to_owned()),
        (&format!("{right}labels.a = 1"), "line 4: invalid type: integer `1`, expected a string".to_owned()),
        (&format!("{right}name = 1"), "line 4: invalid type: integer `1`, expected a string".to_owned()),
        (
            &format!("{right}domain_allowlist = [\n'a.test',\n'*.b.test']"),
            format!("line 6: domain \"*.b.test\" {domain}"),
        ),
        (
            &format!("{right}domain_allowlist = ['https://a.test']"),
            format!("line 4: domain \"https://a.test\" {domain}"),
        ),
        (&format!("{right}domain_allowlist = ['a.test:80']"), format!("line 4: domain \"a.test:80\" {domain}")),
        (&format!("{right}domain_allowlist = ['']"), format!("line 4: domain \"\" {domain}")),
        (&format!("{right}domain_allowlist = ['.']"), format!("line 4: domain \".\" {domain}")),
        (
            &format!("{right}[[pipeline]]\nid = 'pip_b'\n\nkey = 'dk_live_secret123'"),
            "line 7: key dk_live_se… repeats the key of line 3".to_owned(),
        ),
        (&format!("{right}key = 'dk_live_other'"), "line 4: duplicate key".to_owned()),
        (
            "id = 'pip_a'\r\nkey = dk_live_secret123",
            "line 3: string values must be quoted, expected literal string".to_owned(),
        ),
        ("id = 'pip_a'\nkey = 'dk_live_secret123", "line 3: invalid literal string, expected `'`".to_owned()),
    ] {
        assert_eq!(error(lines), expected, "{lines}");
    }
    for (lines, expected) in [
        (&format!("{right}dk_live_secret123 = 1"), "line 4: unknown field `dk_live_se…`, expected one of `id`,"),
        (&format!("{right}\"a\\nb\" = 1"), "line 4: unknown field `a b`, expected one of"),
        (
            &format!("{right}enabled = 'dk_live_secret123'"),
            "line 4: invalid type: string \"dk_live_se…\", expected a bool",
        ),
        (&format!("{right}rate = 1"), "line 4: unknown field `rate`, expected one of `id`,"),
        (&format!("{right}[other]"), "line 4: unknown field `other`, expected `pipeline`"),
    ] {
        assert!(error(lines).starts_with(expected), "{}", error(lines));
    }
    for empty in ["", "# [[pipeline]]\n", "pipeline = []"] {
        assert_eq!(Keys::parse(empty).err().unwrap().to_string(), "line 1: no [[pipeline]]", "{empty}");
    }
}

#[test]
fn longest_names_are_read() {
    let (id, key) = (format!("pip_{}", "a".repeat(60)), format!("dk_live_{}", "-".repeat(56)));
    let keys = Keys::parse(&format!("[[pipeline]]\nid = '{id}'\nkey = '{key}'")).unwrap();
    assert_eq!(judge(&keys, &key, None, None, START), Ok(&*id));
    assert!(error(&format!("id = '{id}a'\nkey = '{key}'")).starts_with("line 2"));
    assert!(error(&format!("id = '{id}'\nkey = '{key}-'")).starts_with("line 3"));
    let others = "-".repeat(64);
    let keys = Keys::parse(&format!("[[pipeline]]\nid = '{id}'\nwrite_key = '{others}'")).unwrap();
    assert_eq!(judge(&keys, &others, None, None, START), Ok(&*id));
    assert!(error(&format!("id = '{id}'\nwrite_key = '{others}-'")).starts_with("line 3"));
}

#[test]
fn masks() {
    for (key, expected) in [
        ("", "…"),
        ("dk_live_", "dk_live_…"),
        ("dk_live_abc", "dk_live_…"),
        ("dk_test_abcd", "dk_test_a…"),
        ("dk_live_abcdefgh", "dk_live_ab…"),
        ("secretsecret", "se…"),
        ("ééé", "é…"),
    ] {
        assert_eq!(mask(key), expected, "{key}");
    }
}

#[test]
fn judgements() {
    let (shop, second, old) = ("dk_live_shop_1", "dk_live_shop_2", "dk_test_old");
    let evil = Some("https://evil.test");
    for (name, wk, origin, referer, expected) in [
        ("a mail", shop, None, None, Ok("pip_shop")),
        ("its page", shop, Some("https://example.com"), None, Ok("pip_shop")),
        ("another page", shop, evil, None, Err(DomainNotAllowed)),
        ("another key of the same pipeline, without a list", second, evil, evil, Ok("pip_shop")),
        ("no key", "", None, None, Err(UnknownKey)),
        ("in another case", "DK_LIVE_SHOP_1", None, None, Err(UnknownKey)),
        ("the beginning of a key", "dk_live_shop_", None, None, Err(UnknownKey)),
        ("disabled", old, None, None, Err(DisabledKey)),
        ("disabled, whatever the domain", old, evil, None, Err(DisabledKey)),
    ] {
        let keys = Keys::parse(FILE).unwrap();
        assert_eq!(judge(&keys, wk, origin, referer, START), expected, "{name}");
    }
}

#[test]
fn only_what_passes_costs_tokens() {
    let keys = Keys::parse(FILE).unwrap();
    let ask = |wk, origin| judge(&keys, wk, origin, None, START);
    for _ in 0..10 {
        assert_eq!(ask("dk_live_shop_1", Some("https://evil.test")), Err(DomainNotAllowed));
        assert_eq!(ask("dk_test_old", None), Err(DisabledKey));
    }
    let judged: Vec<_> = (0..4).map(|_| ask("dk_live_shop_1", None)).collect();
    assert_eq!(judged, [Ok("pip_shop"), Ok("pip_shop"), Err(RateLimited), Err(RateLimited)]);
    assert_eq!(ask("dk_live_shop_1", Some("https://evil.test")), Err(DomainNotAllowed), "before the rate");
    assert_eq!(ask("dk_live_shop_2", None), Ok("pip_shop"), "a bucket for each key");
    assert_eq!(judge(&keys, "dk_live_shop_1", None, None, START + Duration::from_millis(500)), Ok("pip_shop"));
}

/// The number of admitted requests of ten at once.
fn passing(keys: &Keys, wk: &str, now: Duration) -> usize {
    (0..10).filter(|_| judge(keys, wk, None, None, now).is_ok()).count()
}

#[test]
fn buckets_survive_a_new_file() {
    let key = "dk_live_shop_1";
    let second = START + Duration::from_secs(1);
    let buckets = Buckets::in_memory(16);
    let with_buckets = |file: &str| {
        let mut keys = Keys::parse(file).unwrap();
        assert!(keys.use_buckets(buckets.clone()));
        keys
    };
    let old = with_buckets(FILE);
    assert_eq!(passing(&old, key, START), 2);
    let new = with_buckets(
        &FILE.replace("rate_limit_rps = 2", "rate_limit_rps = 8").replace("dk_live_shop_2", "dk_live_new"),
    );
    assert_eq!(passing(&new, key, START), 0, "no token for a new file");
    assert_eq!(passing(&new, key, second), 8, "the limit is the new one");
    assert_eq!(passing(&old, key, second), 0, "one bucket for both");
    assert_eq!(passing(&new, "dk_live_new", second), 10);
    assert_eq!(judge(&new, "dk_live_shop_2", None, None, second), Err(UnknownKey));
}

#[test]
fn buckets_without_room_change_nothing() {
    let mut keys = Keys::parse(FILE).unwrap();
    assert_eq!(passing(&keys, "dk_live_shop_1", START), 2);
    assert!(!keys.use_buckets(Buckets::in_memory(1)), "two have room, and there are three keys");
    assert_eq!(passing(&keys, "dk_live_shop_1", START), 0);
}

#[test]
fn threads_share_a_bucket() {
    let keys = Keys::parse("[[pipeline]]\nid = 'pip_a'\nkey = 'dk_live_a'\nrate_limit_rps = 5000").unwrap();
    let passed: usize = std::thread::scope(|scope| {
        let run = || (0..4000).filter(|_| judge(&keys, "dk_live_a", None, None, START).is_ok()).count();
        let threads = [scope.spawn(run), scope.spawn(run), scope.spawn(run)];
        threads.map(|thread| thread.join().unwrap()).iter().sum()
    });
    assert_eq!(passed, 5000);
}

#[test]
fn each_of_many_keys_is_found() {
    let file = |count| {
        (0..count).fold(String::new(), |mut file, i| {
            write!(file, "[[pipeline]]\nid = 'pip_{i}'\nkey = 'dk_live_{i}'\n").unwrap();
            file
        })
    };
    let keys = Keys::parse(&file(100_000)).unwrap();
    assert_eq!(keys.count(), 100_000);
    // How long a look-up takes, benches/growth.py measures.
    for i in (0..100_000).step_by(7) {
        assert_eq!(judge(&keys, &format!("dk_live_{i}"), None, None, START), Ok(format!("pip_{i}").as_str()));
    }
    assert_eq!(judge(&keys, "dk_live_100000", None, None, START), Err(UnknownKey));
}

/// A file of so many pipelines, each of four lines.
fn large_file(pipelines: usize) -> String {
    (0..pipelines).fold(String::new(), |mut file, i| {
        write!(file, "[[pipeline]]\nid = 'pip_{i}'\nkey = 'dk_live_{i}'\nlabels = {{ team = 'web' }}\n").unwrap();
        file
    })
}

#[test]
fn a_large_file_is_one_file() {
    let large = large_file(10_000);
    let header = "\n[[pipeline]]\nid = 'pip_in_a_text'\nkey = 'dk_live_in_a_text'";
    let text = format!("[[pipeline]]\nid = 'pip_a'\nkey = 'dk_live_a'\nname = '''{}'''\n", header.repeat(5_000));
    let keys = Keys::parse(&format!("{large}{text}{}", large.replace("dk_live_", "dk_test_"))).unwrap();
    assert_eq!(keys.count(), 20_001);
    for wk in ["dk_live_0", "dk_live_9999", "dk_live_a", "dk_test_0", "dk_test_9999"] {
        assert!(judge(&keys, wk, None, None, START).is_ok(), "{wk}");
    }
    assert_eq!(judge(&keys, "dk_live_in_a_text", None, None, START), Err(UnknownKey));
    for (lines, expected) in [
        ("id = 'pip_a'\nkey = 'dk_live_9'", "line 40003: key dk_live_… repeats the key of line 39"),
        ("id = 'pip_a'\nkey = 'dk_live_9000'", "line 40003: key dk_live_9… repeats the key of line 36003"),
        (
            "id = 'pip_a'\nkey = 'dk_live_a'\ntopic = '?'",
            "line 40004: topic \"?\" is not 1 to 249 of A-Z a-z 0-9 . _ -",
        ),
        (
            "id = 'pip_a'\nkey = 'no'",
            "line 40003: key \"…\" is not dk_live_ or dk_test_ and 1 to 56 of A-Z a-z 0-9 _ -",
        ),
        (
            "id = 'pip_9'\nkey = 'dk_live_a'\nmax = 'none'",
            "line 40003: the consent members differ from another key of pip_9: give both keys the same",
        ),
        ("id = 'pip_a'\nkey = 'dk_live_a'\nname = 5", "line 40004: invalid type: integer `5`, expected a string"),
        ("id = 'pip_a'\nkey = '''dk_live_a", "line 40004: invalid multi-line literal string, expected `'`"),
    ] {
        let error = Keys::parse(&format!("{large}[[pipeline]]\n{lines}\n")).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected), "{lines}");
    }
    let error = Keys::parse(&format!("[[pipeline]]\nid = 5\n{large}")).err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("line 2: invalid type: integer `5`, expected a string"));
}

#[test]
fn terms_that_contradict_themselves() {
    let right = "id = 'pip_a'\nkey = 'dk_live_secret123'\n";
    for (lines, expected) in [
        (
            format!("{right}max = 'all'"),
            "line 4: max \"all\" of pip_a is not individual, deliverability, aggregate or none".to_owned(),
        ),
        (
            format!("{right}max = 'none'\ndefault = 'i'"),
            "line 5: default \"i\" of pip_a is not individual, deliverability, aggregate or none".to_owned(),
        ),
        (
            format!("{right}max = 'aggregate'\ndefault = 'deliverability'"),
            "line 5: default \"deliverability\" of pip_a is more than its max \"aggregate\" allows".to_owned(),
        ),
        (
            format!("{right}consent = 'uid'\nmax = 'deliverability'\nunknown = 'individual'"),
            "line 6: unknown \"individual\" of pip_a is more than its max \"deliverability\" allows".to_owned(),
        ),
        (
            format!("{right}unknown = 'none'"),
            "line 4: unknown of pip_a needs consent = \"uid\" or \"aid\", without which nobody is looked up".to_owned(),
        ),
        (
            format!("{right}scope = 'news'"),
            "line 4: scope of pip_a needs consent = \"uid\" or \"aid\", without which nobody is looked up".to_owned(),
        ),
        (
            format!("{right}consent = 'gid'"),
            "line 4: consent \"gid\" of pip_a is not uid or aid, the id that names persons".to_owned(),
        ),
        (
            format!("{right}max = 'aggregate'\nconsent = 'uid'"),
            "line 5: consent of pip_a looks up persons, but max \"aggregate\" keeps nothing of them".to_owned(),
        ),
        (
            format!("{right}consent = 'aid'\nscope = 'a b'"),
            "line 5: scope \"a b\" of pip_a is not 1 to 64 of A-Z a-z 0-9 . _ -".to_owned(),
        ),
        (
            format!("{right}max = 'deliverability'\naggregate_minimum = 3"),
            "line 5: aggregate_minimum of pip_a needs counts, which its max \"deliverability\" does not allow".to_owned(),
        ),
        (
            format!("{right}max = 'none'\naggregate_properties = ['a']"),
            "line 5: aggregate_properties of pip_a needs counts, which its max \"none\" does not allow".to_owned(),
        ),
        (
            format!("{right}aggregate_minimum = 0"),
            "line 4: aggregate_minimum 0 of pip_a is not 1 to 1000000".to_owned(),
        ),
        (
            format!("{right}aggregate_properties = ['a', 'a']"),
            "line 4: aggregate_properties of pip_a: \"a\" is listed twice".to_owned(),
        ),
        (
            format!("{right}aggregate_properties = ['']"),
            "line 4: aggregate_properties of pip_a: \"\" is not a path of 1 to 128 bytes, such as campaign.id for p.campaign.id"
                .to_owned(),
        ),
        (
            format!("{right}max = 'none'\n[[pipeline]]\nid = 'pip_a'\nkey = 'dk_live_b'"),
            "line 7: the consent members differ from another key of pip_a: give both keys the same".to_owned(),
        ),
    ] {
        assert_eq!(error(&lines), expected, "{lines}");
    }
}

#[test]
fn what_is_kept_of_whom() {
    let lookup = |kind, unknown, scope: &str| Some(Lookup { kind, unknown, scope: scope.into() });
    let unsaid = Terms::default();
    for (lines, expected) in [
        ("", None),
        ("max = 'individual'\naggregate_minimum = 5\nrefuse_addresses = false", None),
        ("max = 'none'", Some(Terms { max: Mode::None, ..unsaid.clone() })),
        ("default = 'none'", Some(Terms { default: Some(Mode::None), ..unsaid.clone() })),
        ("consent = 'uid'", Some(Terms { lookup: lookup(Person::Uid, Mode::None, "pip_a"), ..unsaid.clone() })),
        (
            "consent = 'aid'\nunknown = 'aggregate'\nscope = 'news.de'",
            Some(Terms { lookup: lookup(Person::Aid, Mode::Aggregate, "news.de"), ..unsaid.clone() }),
        ),
        (
            "aggregate_properties = ['campaign.id']\naggregate_minimum = 20",
            Some(Terms { properties: ["campaign.id".into()].into(), minimum: 20, ..unsaid.clone() }),
        ),
        ("refuse_addresses = true", Some(Terms { refuse_addresses: true, ..unsaid.clone() })),
    ] {
        let keys = Keys::parse(&format!("[[pipeline]]\nid = 'pip_a'\nkey = 'dk_live_a'\n{lines}")).unwrap();
        assert_eq!(keys.terms()["pip_a"].as_deref(), expected.as_ref(), "{lines}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_much(text in any::<String>(), origin in any::<String>()) {
        let _ = (Keys::parse(&text).is_ok(), mask(&text), domain::parse(&text));
        let keys = Keys::parse(FILE).unwrap();
        let allowed = judge(&keys, "dk_live_shop_1", Some(&origin), Some(&text), START);
        prop_assert!(allowed.is_ok() || allowed == Err(DomainNotAllowed));
    }
}
