//! The client's address as a matrix of trust, peer and headers, and against a naive walk.
#![expect(clippy::unwrap_used)]

use std::net::IpAddr;

use pixelcore::address::{IpPolicy, TrustedProxies};
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn client(trusted: &str, peer: &str, x_forwarded_for: &[&str], forwarded: &[&str]) -> String {
    let peer = (peer != "unix").then(|| ip(peer));
    let proxies = TrustedProxies::parse(trusted).unwrap();
    let readable = |lines: &[&str]| -> Vec<Option<String>> {
        lines.iter().map(|line| (*line != UNREADABLE).then(|| (*line).to_owned())).collect()
    };
    let (listed, nodes) = (readable(x_forwarded_for), readable(forwarded));
    let client = proxies.client_ip(peer, listed.iter().map(Option::as_deref), nodes.iter().map(Option::as_deref));
    client.map_or_else(|| "none".to_owned(), |client| client.to_string())
}

/// A line that the server does not hand over.
const UNREADABLE: &str = "\u{FFFD}";

const LAN: &str = "10.0.0.0/8, 2001:db8:ffff::/48";

#[test]
fn x_forwarded_for() {
    for (name, trusted, peer, lines, expected) in [
        ("no header", LAN, "10.0.0.1", &[][..], "10.0.0.1"),
        ("nobody trusted", "", "10.0.0.1", &["192.0.2.1"], "10.0.0.1"),
        ("the peer not trusted", LAN, "198.51.100.1", &["192.0.2.1"], "198.51.100.1"),
        ("one proxy", LAN, "10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
        ("two spoofed hops", LAN, "10.0.0.1", &["1.1.1.1, 10.0.0.7, 192.0.2.1"], "192.0.2.1"),
        ("two proxies", LAN, "10.0.0.1", &["1.1.1.1, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        ("a proxy on IPv6", LAN, "2001:db8:ffff::1", &["2001:db8::1,10.0.0.2"], "2001:db8::1"),
        ("all trusted", LAN, "10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        ("all there are", "0.0.0.0/0", "10.0.0.1", &["1.1.1.1, 192.0.2.1"], "1.1.1.1"),
        ("IPv4 alone", "0.0.0.0/0", "10.0.0.1", &["1.1.1.1, 2001:db8::1"], "2001:db8::1"),
        ("several lines", LAN, "10.0.0.1", &["1.1.1.1", "192.0.2.1", "10.0.0.3, 10.0.0.2"], "192.0.2.1"),
        ("tabs, no blanks", LAN, "10.0.0.1", &["1.1.1.1,\t192.0.2.1\t,10.0.0.2"], "192.0.2.1"),
        ("ports", LAN, "10.0.0.1", &["192.0.2.1:50000, 10.0.0.2:443"], "192.0.2.1"),
        ("IPv6", LAN, "10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
        ("IPv6 in brackets", LAN, "10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
        ("IPv6 with a port", LAN, "10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
        ("IPv4 in IPv6", LAN, "::ffff:10.0.0.1", &["::ffff:192.0.2.1, [::ffff:10.0.0.2]:80"], "192.0.2.1"),
        ("an untrusted peer, IPv4 in IPv6", LAN, "::ffff:192.0.2.9", &["192.0.2.1"], "192.0.2.9"),
        ("IPv6 in its short form", LAN, "10.0.0.1", &["2001:0DB8:0:0::0001"], "2001:db8::1"),
        ("rubbish", LAN, "10.0.0.1", &["192.0.2.1, unknown"], "10.0.0.1"),
        ("rubbish behind a trusted hop", LAN, "10.0.0.1", &["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("rubbish that is not reached", LAN, "10.0.0.1", &["<script>, 192.0.2.1"], "192.0.2.1"),
        ("an empty header", LAN, "10.0.0.1", &[""], "10.0.0.1"),
        ("an empty element", LAN, "10.0.0.1", &["192.0.2.1, , 10.0.0.2"], "192.0.2.1"),
        ("a comma at the end", LAN, "10.0.0.1", &["192.0.2.1,"], "192.0.2.1"),
        ("an empty line at the end", LAN, "10.0.0.1", &["192.0.2.1", " \t"], "192.0.2.1"),
        ("0.0.0.0, which nobody has", LAN, "10.0.0.1", &["0.0.0.0"], "10.0.0.1"),
        (":: behind a proxy", LAN, "10.0.0.1", &["192.0.2.1, [::]:80, 10.0.0.2"], "10.0.0.2"),
        ("an unreadable line", LAN, "10.0.0.1", &[UNREADABLE], "10.0.0.1"),
        ("one that the proxy wrote behind it", LAN, "10.0.0.1", &[UNREADABLE, "192.0.2.1"], "192.0.2.1"),
        ("one behind what would be believed", LAN, "10.0.0.1", &["6.6.6.6", UNREADABLE], "10.0.0.1"),
        ("one between", LAN, "10.0.0.1", &["6.6.6.6", UNREADABLE, "10.0.0.2"], "10.0.0.2"),
        ("a zone", LAN, "10.0.0.1", &["fe80::1%eth0"], "10.0.0.1"),
        ("a numbered zone in brackets", LAN, "10.0.0.1", &["[fe80::1%3]:80"], "10.0.0.1"),
        ("a port out of range", LAN, "10.0.0.1", &["192.0.2.1:65536"], "10.0.0.1"),
        ("no port", LAN, "10.0.0.1", &["192.0.2.1:"], "10.0.0.1"),
        ("a port with a sign", LAN, "10.0.0.1", &["192.0.2.1:+80"], "10.0.0.1"),
        ("a leading zero", LAN, "10.0.0.1", &["192.0.2.01"], "10.0.0.1"),
        ("too few numbers", LAN, "10.0.0.1", &["192.0.2"], "10.0.0.1"),
        ("IPv4 in brackets", LAN, "10.0.0.1", &["[192.0.2.1]"], "10.0.0.1"),
        ("brackets that don't close", LAN, "10.0.0.1", &["[2001:db8::1"], "10.0.0.1"),
        ("something behind brackets", LAN, "10.0.0.1", &["[2001:db8::1]80"], "10.0.0.1"),
        ("quotes", LAN, "10.0.0.1", &["\"192.0.2.1\""], "10.0.0.1"),
        ("a Unix domain socket", "unix", "unix", &["1.1.1.1, 192.0.2.1"], "192.0.2.1"),
        ("a Unix domain socket that is not trusted", LAN, "unix", &["192.0.2.1"], "none"),
        ("a Unix domain socket and rubbish", "unix", "unix", &["unix:"], "none"),
        ("a Unix domain socket alone is trusted", "unix", "10.0.0.1", &["192.0.2.1"], "10.0.0.1"),
        ("loopback", "loopback", "127.0.0.53", &["192.0.2.1, ::1"], "192.0.2.1"),
        ("private networks", "private", "192.168.1.1", &["192.0.2.1, fd00::1, 10.1.2.3, 172.31.0.1"], "192.0.2.1"),
        ("beside private networks", "private", "192.168.1.1", &["192.0.2.1, 172.32.0.1"], "172.32.0.1"),
        ("addresses as networks of one", "10.0.0.1,::1", "10.0.0.1", &["192.0.2.1, 10.0.0.2, ::1"], "10.0.0.2"),
        ("networks of IPv4 in IPv6", "::ffff:10.0.0.0/104", "10.0.0.1", &["192.0.2.1, 10.255.0.1"], "192.0.2.1"),
    ] {
        assert_eq!(client(trusted, peer, lines, &[]), expected, "{name}");
    }
}

#[test]
fn forwarded() {
    for (name, lines, expected) in [
        ("plain", &["for=192.0.2.1"][..], "192.0.2.1"),
        ("any case", &["FOR=192.0.2.1"], "192.0.2.1"),
        ("among others", &["proto=https;for=192.0.2.1;by=203.0.113.43"], "192.0.2.1"),
        ("with blanks", &["proto=https; for=192.0.2.1 ; by=203.0.113.43"], "192.0.2.1"),
        ("quoted", &["for=\"192.0.2.1:80\""], "192.0.2.1"),
        ("IPv6", &["for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
        ("an obfuscated port", &["for=\"[2001:db8::1]:_a.b-c\""], "2001:db8::1"),
        ("an empty obfuscated port", &["for=\"192.0.2.1:_\""], "10.0.0.1"),
        ("two proxies", &["for=1.1.1.1, for=192.0.2.1, for=10.0.0.2"], "192.0.2.1"),
        ("several lines", &["for=1.1.1.1", "for=192.0.2.1", "for=10.0.0.2"], "192.0.2.1"),
        ("unknown", &["for=192.0.2.1, for=unknown, for=10.0.0.2"], "10.0.0.2"),
        ("obfuscated", &["for=192.0.2.1, for=_hidden"], "10.0.0.1"),
        ("an element that doesn't say", &["for=192.0.2.1, proto=https"], "10.0.0.1"),
        ("an element that says it twice", &["for=192.0.2.1;for=192.0.2.2"], "10.0.0.1"),
        ("no pair", &["192.0.2.1"], "10.0.0.1"),
        ("separators in quotes", &["for=1.1.1.1, for=192.0.2.1;host=\"a,b;for=2.2.2.2\""], "192.0.2.1"),
        ("an escaped quote in quotes", &[r#"for=1.1.1.1, for=192.0.2.1;host="a\",for=2.2.2.2""#], "192.0.2.1"),
        ("an escaped backslash in quotes", &[r#"for=192.0.2.1;host="a\\", for=10.0.0.2"#], "192.0.2.1"),
        ("a client's quote that swallows nothing", &["for=1.1.1.1;x=\", for=192.0.2.1"], "192.0.2.1"),
        ("a client's quote and the proxy's", &["for=1.1.1.1;x=\", for=\"192.0.2.1:80\""], "192.0.2.1"),
        ("a quote that is reached", &["for=1.1.1.1, for=\"2.2.2.2, for=10.0.0.2"], "10.0.0.2"),
        ("a quote that only ends", &["for=1.1.1.1;host=\", for=10.0.0.2"], "10.0.0.2"),
        ("quotes within", &["for=192.0.\"2.1\""], "10.0.0.1"),
        ("an empty element", &["for=192.0.2.1, ,"], "192.0.2.1"),
        ("nothing in quotes", &["for=\"\""], "10.0.0.1"),
        ("0.0.0.0", &["for=0.0.0.0"], "10.0.0.1"),
        ("unreadable", &[UNREADABLE], "10.0.0.1"),
        ("unreadable before", &[UNREADABLE, "for=192.0.2.1"], "192.0.2.1"),
        ("unreadable behind", &["for=6.6.6.6", UNREADABLE], "10.0.0.1"),
        ("empty pairs", &[";for=192.0.2.1;;"], "192.0.2.1"),
    ] {
        assert_eq!(client(LAN, "10.0.0.1", &[], lines), expected, "{name}");
        assert_eq!(client("", "10.0.0.1", &[], lines), "10.0.0.1", "{name}");
    }
}

#[test]
fn both_headers() {
    for (name, peer, listed, nodes, expected) in [
        ("alike", "10.0.0.1", "1.1.1.1, 192.0.2.1", "for=192.0.2.1", "192.0.2.1"),
        ("a spoofed Forwarded", "10.0.0.1", "192.0.2.1", "for=1.1.1.1", "10.0.0.1"),
        ("a spoofed X-Forwarded-For", "10.0.0.1", "1.1.1.1", "for=192.0.2.1", "10.0.0.1"),
        ("rubbish in one", "10.0.0.1", "192.0.2.1", "for=unknown", "10.0.0.1"),
        ("a different way to the same", "10.0.0.1", "192.0.2.1, 10.0.0.2", "for=192.0.2.1", "192.0.2.1"),
        ("an empty one", "10.0.0.1", "192.0.2.1", "", "192.0.2.1"),
        ("an unreadable X-Forwarded-For", "10.0.0.1", UNREADABLE, "for=6.6.6.6", "10.0.0.1"),
        ("an unreadable Forwarded", "10.0.0.1", "192.0.2.1", UNREADABLE, "10.0.0.1"),
        ("an untrusted peer", "192.0.2.9", "1.1.1.1", "for=1.1.1.1", "192.0.2.9"),
        ("a Unix domain socket", "unix", "192.0.2.1", "for=1.1.1.1", "none"),
    ] {
        assert_eq!(client("unix, 10.0.0.0/8", peer, &[listed], &[nodes]), expected, "{name}");
    }
}

#[test]
fn lists() {
    for (list, expected) in [
        ("", Ok(())),
        (" ", Ok(())),
        ("10.0.0.0/8,::1 ,2001:db8::/32,unix,loopback,private", Ok(())),
        ("0.0.0.0/0,::/0", Ok(())),
        ("10.0.0.0/8, 10.0.0/8", Err("\"10.0.0/8\" is neither an address nor a network such as 10.0.0.0/8")),
        ("*", Err("\"*\" is neither an address nor a network such as 10.0.0.0/8")),
        ("10.0.0.0/33", Err("\"10.0.0.0/33\" is neither an address nor a network such as 10.0.0.0/8")),
        ("proxy.example", Err("\"proxy.example\" is neither an address nor a network such as 10.0.0.0/8")),
        ("fe80::1%eth0", Err("\"fe80::1%eth0\" is neither an address nor a network such as 10.0.0.0/8")),
        ("::1,", Err("\"\" is neither an address nor a network such as 10.0.0.0/8")),
        ("10.1.2.3/8", Err("\"10.1.2.3/8\" has bits set after its prefix")),
    ] {
        let parsed = TrustedProxies::parse(list).map(|_| ()).map_err(|err| err.to_string());
        assert_eq!(parsed, expected.map_err(str::to_owned), "{list}");
    }
}

#[test]
fn addresses_are_in_lists() {
    let proxies = TrustedProxies::parse("10.0.0.0/8,::/0").unwrap();
    for (address, expected) in
        [("10.9.9.9", true), ("11.0.0.0", false), ("::ffff:10.9.9.9", true), ("::ffff:11.0.0.0", false), ("::2", true)]
    {
        assert_eq!(proxies.contains(ip(address)), expected, "{address}");
    }
}

#[test]
fn policies() {
    for (address, truncated) in [
        ("192.0.2.255", "192.0.2.0"),
        ("255.255.255.255", "255.255.255.0"),
        ("2001:db8:1234:5678:9abc:def0:1234:5678", "2001:db8:1234::"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff::"),
        ("::1", "::"),
        ("::ffff:192.0.2.1", "192.0.2.0"),
        ("2002:c000:02ff:1::1", "2002:c000:200::"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:4136::"),
        ("64:ff9b::192.0.2.255", "64:ff9b::"),
    ] {
        assert_eq!(IpPolicy::Full.apply(ip(address)), Some(ip(address).to_canonical()), "{address}");
        assert_eq!(IpPolicy::Truncated.apply(ip(address)), Some(ip(truncated)), "{address}");
        assert_eq!(IpPolicy::None.apply(ip(address)), None, "{address}");
    }
    assert_eq!(IpPolicy::default(), IpPolicy::Full);
}

/// An element in a header's form, and its address.
fn element() -> impl Strategy<Value = (String, Option<IpAddr>)> {
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c])),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        any::<u16>().prop_map(|n| IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, n])),
    ];
    let rubbish = prop_oneof![Just("-"), Just("unknown"), Just("_x"), Just("1.2.3"), Just("[::1"), Just("fe80::1%1")];
    prop_oneof![
        9 => (address, proptest::option::of(any::<u16>())).prop_map(|(address, port)| {
            let text = match (address, port) {
                (IpAddr::V6(_), Some(port)) => format!("[{address}]:{port}"),
                (_, Some(port)) => format!("{address}:{port}"),
                _ => address.to_string(),
            };
            (text, Some(address.to_canonical()))
        }),
        1 => rubbish.prop_map(|text| (text.to_owned(), None)),
    ]
}

fn trusted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.segments()[..3] == [0x2001, 0xdb8, 0xffff],
    }
}

/// The walk of the documentation, over elements with known addresses.
fn walk(elements: &[Option<IpAddr>]) -> IpAddr {
    let mut last = ip("10.0.0.1");
    for element in elements.iter().rev() {
        match element {
            None => return last,
            Some(address) if !trusted(*address) => return *address,
            Some(address) => last = *address,
        }
    }
    last
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_a_naive_walk(lines in proptest::collection::vec(proptest::collection::vec(element(), 1..4), 0..4)) {
        let join = |text: fn(&str) -> String| -> Vec<String> {
            lines.iter().map(|line| line.iter().map(|(t, _)| text(t)).collect::<Vec<_>>().join(", ")).collect()
        };
        let listed = join(str::to_owned);
        let nodes = join(|text| format!("for=\"{text}\";proto=https"));
        let (listed, nodes): (Vec<_>, Vec<_>) =
            (listed.iter().map(String::as_str).collect(), nodes.iter().map(String::as_str).collect());
        let meant: Vec<_> = lines.iter().flatten().map(|&(_, address)| address).collect();
        let expected = walk(&meant).to_string();
        prop_assert_eq!(client(LAN, "10.0.0.1", &listed, &[]), &*expected);
        prop_assert_eq!(client(LAN, "10.0.0.1", &[], &nodes), &*expected);
        prop_assert_eq!(client(LAN, "10.0.0.1", &listed, &nodes), &*expected);
    }

    /// For any headers of the client, the answer is the address that its proxy saw, or the proxy's.
    #[test]
    fn nothing_can_be_spoofed(sent in "[0-9a-z.,:;=\"\\\\ \\[\\]]{0,40}", other in "(for=)?[0-9.]{0,12}") {
        let seen = "192.0.2.1";
        for (listed, nodes) in [
            (vec![format!("{sent}, {seen}")], vec![]),
            (vec![sent.clone(), seen.to_owned()], vec![]),
            (vec![], vec![format!("{sent}, for={seen}")]),
            (vec![], vec![format!("{sent}, for=\"{seen}:80\";host=\"a\"")]),
        ] {
            let (mut listed, mut nodes): (Vec<&str>, Vec<&str>) =
                (listed.iter().map(String::as_str).collect(), nodes.iter().map(String::as_str).collect());
            prop_assert_eq!(client(LAN, "10.0.0.1", &listed, &nodes), seen);
            if listed.is_empty() { listed.push(&other) } else { nodes.push(&other) }
            let client = client(LAN, "10.0.0.1", &listed, &nodes);
            prop_assert!(client == seen || client == "10.0.0.1", "{}", client);
        }
    }
}
