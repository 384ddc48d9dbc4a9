//! Headers of proxies in any number of lines, readable or not: a client can hide its address, but cannot forge another
//! one.

use std::net::IpAddr;

use pixelcore::address::TrustedProxies;

const PROXY: &str = "10.0.0.1";
const CLIENT: &str = "203.0.113.7";

/// Lines of the two headers from a client. The first byte of each line selects the header, and the rest is its text.
///
/// The proxy writes one of the headers like real proxies: it extends the last line, joins all lines, or adds its own
/// line. A line with a byte that is not visible ASCII is handed over as unreadable.
pub fn proxies(data: &[u8]) {
    let (trusted, rest) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(0));
    // Any list is read or refused. The lists of this test contain only the proxy, because others would make the
    // client's entries trusted.
    let _ = TrustedProxies::parse(&String::from_utf8_lossy(trusted));
    let proxies = TrustedProxies::parse(PROXY).expect("an address");
    let lines = || rest.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let sent = |of_forwarded: bool| -> Vec<Vec<u8>> {
        lines().filter(|line| (line[0] % 2 == 1) == of_forwarded).map(|line| line[1..].to_vec()).collect()
    };
    for forwarded in [false, true] {
        let element = if forwarded { format!("for={CLIENT}") } else { CLIENT.to_owned() }.into_bytes();
        let (written, passed_on) = (sent(forwarded), sent(!forwarded));
        let mut joined = written.clone();
        joined.push(element.clone());
        let joined = vec![joined.join(&b", "[..])];
        let mut added_to_last = written.clone();
        match added_to_last.last_mut() {
            Some(last) => last.extend([b", ".to_vec(), element.clone()].concat()),
            None => added_to_last.push(element.clone()),
        }
        let mut own_line = written;
        own_line.push(element);
        for written in [joined, added_to_last, own_line] {
            let (listed, nodes) = if forwarded { (&passed_on, &written) } else { (&written, &passed_on) };
            let found = client(&proxies, listed, nodes);
            assert!(found == CLIENT || found == PROXY, "{found}");
            let readable = |lines: &[Vec<u8>]| lines.iter().all(|line| is_readable(line));
            if passed_on.is_empty() && readable(&written) {
                assert_eq!(found, CLIENT, "what the proxy wrote can be told");
            }
            let found = proxies.client_ip("192.0.2.1".parse().ok(), texts(listed), texts(nodes));
            assert_eq!(
                found.map(|found| found.to_string()).as_deref(),
                Some("192.0.2.1"),
                "who is not trusted is the client"
            );
        }
    }
}

fn client(proxies: &TrustedProxies, listed: &[Vec<u8>], nodes: &[Vec<u8>]) -> String {
    let peer: Option<IpAddr> = PROXY.parse().ok();
    proxies.client_ip(peer, texts(listed), texts(nodes)).map(|address| address.to_string()).expect("there is a peer")
}

fn texts(lines: &[Vec<u8>]) -> impl DoubleEndedIterator<Item = Option<&str>> {
    lines.iter().map(|line| str::from_utf8(line).ok().filter(|_| is_readable(line)))
}

fn is_readable(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}
