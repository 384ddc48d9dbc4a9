//! The pages that may use a key: a table, and a parser of the URL standard as an oracle.
#![expect(clippy::unwrap_used)]

use pixelcore::keys::domain;
use proptest::prelude::*;
use url::Url;

#[test]
fn pages() {
    let list = ["example.com", "bücher.example", "127.0.0.1", "[2001:DB8::1]", "Localhost", "dot.test."];
    let list = list.map(|text| domain::parse(text).unwrap());
    let none = None::<&str>;
    for (name, origin, referer, expected) in [
        ("a mail", none, None, true),
        ("empty headers", Some(""), Some(""), true),
        ("an opaque origin alone", Some("null"), None, true),
        ("the domain", Some("https://example.com"), None, true),
        ("a subdomain", Some("https://a.shop.example.com"), None, true),
        ("the end of a label", Some("https://badexample.com"), None, false),
        ("in front of another domain", Some("https://example.com.evil.test"), None, false),
        ("its parent", Some("https://com"), None, false),
        ("upper case, root dot, port", Some("HTTPS://Shop.EXAMPLE.com.:8443"), None, true),
        ("a domain that was listed with a root dot", Some("http://dot.test"), None, true),
        ("an IDN", Some("https://www.xn--bcher-kva.example"), None, true),
        ("an IDN that no browser sends", Some("https://bücher.example"), None, false),
        ("no label of a domain", Some("http://localhost:3000"), None, true),
        ("IPv4", Some("http://127.0.0.1:80"), None, true),
        ("an address has no subdomains", Some("http://1.127.0.0.1"), None, false),
        ("IPv6", Some("http://[2001:db8::1]:80"), None, true),
        ("IPv6, written otherwise", Some("http://[2001:db8:0::1]"), None, true),
        ("another IPv6", Some("http://[2001:db8::2]"), None, false),
        ("IPv6 without its end", Some("http://[2001:db8::1"), None, false),
        ("IPv6 and more", Some("http://[2001:db8::1]x"), None, false),
        ("an app", Some("android-app://example.com"), None, true),
        ("Origin before Referer", Some("https://evil.test"), Some("https://example.com/"), false),
        ("Origin before Referer, the other way round", Some("https://example.com"), Some("https://evil.test/"), true),
        ("Referer for an opaque origin", Some("null"), Some("https://evil.test/"), false),
        ("Referer for an empty origin", Some(""), Some("https://example.com/a?b#c"), true),
        ("Referer", None, Some("https://example.com/a/b?c=https://evil.test"), true),
        ("Referer with a query only", None, Some("https://example.com?a"), true),
        ("Referer with a fragment only", None, Some("https://example.com#@evil.test"), true),
        ("in the path", None, Some("https://evil.test/example.com"), false),
        ("in the query", None, Some("https://evil.test?.example.com"), false),
        ("in the fragment", None, Some("https://evil.test#.example.com"), false),
        ("as credentials", None, Some("https://example.com@evil.test/"), false),
        ("as a name and a password", None, Some("https://example.com:80@evil.test/"), false),
        ("with credentials", None, Some("https://evil.test@example.com/"), false),
        ("backslash", None, Some(r"https://evil.test\.example.com/"), false),
        ("backslash and credentials", None, Some(r"https://evil.test\@example.com/"), false),
        ("an escaped slash", None, Some("https://evil.test%2F.example.com/"), false),
        ("white space", None, Some("https://evil.test .example.com/"), false),
        ("no port", None, Some("https://example.com:/"), true),
        ("a port out of range", None, Some("https://example.com:65536/"), false),
        ("a port with a sign", None, Some("https://example.com:+80/"), false),
        ("no host", None, Some("https:///example.com"), false),
        ("no scheme", None, Some("://example.com"), false),
        ("no URL", None, Some("example.com"), false),
        ("about:blank", None, Some("about:blank"), false),
        ("two origins", Some("https://example.com https://evil.test"), None, false),
    ] {
        assert_eq!(domain::allows(&list, false, origin, referer), expected, "{name}");
        assert!(domain::allows(&[], false, origin, referer), "{name}");
    }
}

/// Whether a URL's host is the domain or one of its subdomains, label by label.
fn covered(url: &Url, domain: &str) -> bool {
    let host = url.host_str().unwrap_or_default().to_lowercase();
    let host: Vec<_> = host.strip_suffix('.').unwrap_or(&host).rsplit('.').collect();
    host.starts_with(&domain.rsplit('.').collect::<Vec<_>>())
}

/// Texts that look like URLs of few hosts.
fn url() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => prop_oneof![Just("example.com"), Just("EXAMPLE.com"), Just("evil.test"), Just("a.b")],
        3 => prop_oneof![Just("."), Just("bad"), Just("-"), Just("_"), Just("com"), Just("example"), Just("9")],
        2 => prop_oneof![Just("/"), Just("?"), Just("#"), Just("@"), Just("\\"), Just("://"), Just("[::1]")],
        1 => prop_oneof![Just(":"), Just(":80"), Just("%2e"), Just("%2F"), Just("\t"), Just(" "), Just("é")],
    ];
    let scheme = prop_oneof![4 => Just("https://"), 1 => Just("HTTP://"), 1 => Just("https:"), 1 => Just("")];
    (scheme, proptest::collection::vec(part, 0..6)).prop_map(|(scheme, parts)| scheme.to_owned() + &parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    /// For any text that is allowed, the standard's parser finds the same host.
    #[test]
    fn nothing_passes_that_a_browser_reads_otherwise(text in url()) {
        let list = [domain::parse("example.com").unwrap()];
        if !text.is_empty() && domain::allows(&list, false, Some(&text), None) {
            let url = Url::parse(&text).unwrap();
            let credentials = !url.username().is_empty() || url.password().is_some();
 prop_assert!(covered(&url, "example.com") && !credentials, "{url}");
        }
    }

    /// A browser's headers are read correctly.
    #[test]
    fn what_a_browser_sends_is_read(text in url()) {
        let Ok(mut url) = Url::parse(&text) else { return Ok(()) };
        prop_assume!(url.has_host() && url.set_username("").is_ok() && url.set_password(None).is_ok());
        let list = [domain::parse("example.com").unwrap()];
        let expected = covered(&url, "example.com");
        prop_assert_eq!(domain::allows(&list, false, None, Some(url.as_str())), expected, "{}", url);
        let origin = url.origin().ascii_serialization();
        prop_assert_eq!(domain::allows(&list, false, Some(&origin), None), expected || origin == "null", "{}", origin);
    }
}

#[test]
fn a_page_may_be_required() {
    let list = [domain::parse("shop.example").unwrap()];
    for (origin, referer, is_page) in [
        (None, None, false),
        (Some("null"), None, false),
        (Some(""), Some(""), false),
        (Some("https://shop.example"), None, true),
        (Some("null"), Some("https://shop.example/a"), true),
        (None, Some("https://www.shop.example/"), true),
    ] {
        for list in [&list[..], &[]] {
            assert_eq!(domain::allows(list, true, origin, referer), is_page, "{origin:?} {referer:?}");
            assert!(domain::allows(list, false, origin, referer), "{origin:?} {referer:?}");
        }
    }
    assert!(!domain::allows(&list, true, Some("https://evil.example"), None));
}
