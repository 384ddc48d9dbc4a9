//! Decides which pages may use a key: compares the hosts of Origin and Referer with a list of domains.
//!
//! The list binds browsers. They write these headers in the form of the URL standard: in lower case, with IDNs in
//! Punycode, and without credentials. Other forms are refused and not interpreted.

use std::net::Ipv4Addr;

use url::Host;

/// A domain, which includes its subdomains, or an IP address with IPv6 in brackets. It is parsed like a host in the URL
/// standard, so that the two can be compared. None if it is neither.
#[must_use]
pub fn parse(text: &str) -> Option<Host> {
    match Host::parse(text).ok()? {
        Host::Domain(domain) => match name(&domain)? {
            Host::Domain(name) => Some(Host::Domain(name.to_owned())),
            _ => None,
        },
        address => Some(address),
    }
}

/// Whether a page with this origin may use a key for `domains`. An empty list allows all pages.
///
/// Referer counts if Origin is missing or `null`. Without both, the request is allowed unless a page is `required`,
/// because mail programs send neither.
#[must_use]
pub fn allows(domains: &[Host], required: bool, origin: Option<&str>, referer: Option<&str>) -> bool {
    let origin = origin.filter(|&origin| !matches!(origin, "" | "null"));
    let page = origin.or(referer.filter(|referer| !referer.is_empty()));
    let Some(url) = page else { return !required };
    domains.is_empty() || host(url).is_some_and(|host| domains.iter().any(|domain| covers(domain, &host)))
}

fn covers(domain: &Host, host: &Host<&str>) -> bool {
    match (domain, host) {
        (Host::Domain(domain), Host::Domain(host)) => {
            let (host, domain) = (host.as_bytes(), domain.as_bytes());
            host.len().checked_sub(domain.len()).is_some_and(|at| {
                let (before, end) = host.split_at(at);
                end.eq_ignore_ascii_case(domain) && before.last().is_none_or(|&byte| byte == b'.')
            })
        }
        (Host::Ipv4(a), Host::Ipv4(b)) => a == b,
        (Host::Ipv6(a), Host::Ipv6(b)) => a == b,
        _ => false,
    }
}

/// The host of a URL in a browser's header: `scheme://host[:port]`, followed by anything. A URL with credentials has
/// none, because RFC 9110, section 10.1.3, forbids them there.
fn host(url: &str) -> Option<Host<&str>> {
    let (scheme, rest) = url.split_once("://")?;
    let alphabetic = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    if !alphabetic || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (Host::Ipv6(address.parse().ok()?), port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        (name(host)?, port)
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let valid = digits.bytes().all(|b| b.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok());
    (valid && (port.is_empty() || port.starts_with(':'))).then_some(host)
}

/// A host that is not an IPv6 address, without the dot of the root. Ambiguous characters are refused: `@`, `\`, `%`,
/// white space.
fn name(host: &str) -> Option<Host<&str>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let valid = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    valid.then(|| host.parse::<Ipv4Addr>().map_or(Host::Domain(host), Host::Ipv4))
}
