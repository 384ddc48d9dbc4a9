//! Finds the client's address behind trusted proxies, and decides how much of it is kept.
//!
//! Every proxy appends the address of its peer to the right end of `X-Forwarded-For` or `Forwarded` (RFC 7239). So an
//! entry is as trustworthy as the proxy that wrote it, and forged entries of a client are further left. Therefore both
//! headers are read from the right, as long as the addresses belong to trusted proxies.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// A malformed entry in a list of trusted proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    /// The entry.
    pub entry: String,
    /// The error.
    pub message: &'static str,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.entry, self.message)
    }
}

impl std::error::Error for AddressError {}

/// The proxies whose headers are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
}

const LOOPBACK: &str = "127.0.0.0/8,::1";
/// RFC 1918 and RFC 4193.
const PRIVATE: &str = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7";

impl TrustedProxies {
    /// Reads a list of networks and addresses, separated by commas, such as `10.0.0.0/8, ::1`.
    ///
    /// `loopback` and `private` stand for the networks of that kind, and `unix` for peers on a Unix domain socket. A
    /// blank list trusts nobody. A network with host bits is an error, because it may be meant as an address. IPv4 in
    /// IPv6 (`::ffff:192.0.2.1`) counts as IPv4 everywhere.
    pub fn parse(list: &str) -> Result<Self, AddressError> {
        let mut proxies = Self::default();
        if !list.trim().is_empty() {
            proxies.add(list)?;
        }
        Ok(proxies)
    }

    fn add(&mut self, list: &str) -> Result<(), AddressError> {
        for entry in list.split(',').map(str::trim) {
            match entry {
                "unix" => self.unix = true,
                "loopback" => self.add(LOOPBACK)?,
                "private" => self.add(PRIVATE)?,
                _ => {
                    let error = |message| AddressError { entry: entry.to_owned(), message };
                    self.networks.push(network(entry).map_err(error)?);
                }
            }
        }
        Ok(())
    }

    /// Whether the list contains this address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The address of the client. `peer` is the address of the connection, None for a Unix domain socket. The headers
    /// are their lines in order, None for an unreadable line.
    ///
    /// An untrusted peer is the client, whatever its headers are. Otherwise the client is the first untrusted address
    /// from the right, or the leftmost address if all are trusted. The walk ends at an entry that is not an address
    /// (`unknown`, `_hidden`, `0.0.0.0`, an unreadable line). Then the answer is the last address before it, because
    /// nobody vouches for entries further left. Empty elements do not count (RFC 9110, section 5.6.1.2).
    ///
    /// A proxy that writes one of the two headers forwards the other one as the client sent it, and the request does
    /// not show which is which. So if both are present and lead to different answers, the answer is the peer. A client
    /// can hide its address in this way, but cannot forge another one. A caller that knows the proxy's header passes
    /// only that one.
    pub fn client_ip<'h>(
        &self,
        peer: Option<IpAddr>,
        x_forwarded_for: impl DoubleEndedIterator<Item = Option<&'h str>>,
        forwarded: impl DoubleEndedIterator<Item = Option<&'h str>>,
    ) -> Option<IpAddr> {
        let peer = peer.map(|address| address.to_canonical());
        if !peer.map_or(self.unix, |address| self.contains(address)) {
            return peer;
        }
        // An unreadable line is one element that is not an address.
        let unread = |line: Option<&'h str>| line.unwrap_or("?");
        let is_empty = |element: &&str| element.trim_matches([' ', '\t']).is_empty();
        let mut listed = x_forwarded_for
            .rev()
            .flat_map(|line| unread(line).rsplit(','))
            .filter(|element| !is_empty(element))
            .map(address)
            .peekable();
        let mut nodes = forwarded
            .rev()
            .flat_map(|line| RSplit::new(unread(line), b','))
            .filter(|element| !is_empty(element))
            .map(|element| node(element).and_then(address))
            .peekable();
        match (listed.peek().is_some(), nodes.peek().is_some()) {
            (_, false) => self.walk(peer, listed),
            (false, true) => self.walk(peer, nodes),
            (true, true) => {
                let (one, other) = (self.walk(peer, listed), self.walk(peer, nodes));
                if one == other { one } else { peer }
            }
        }
    }

    fn walk(&self, peer: Option<IpAddr>, hops: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        let mut last = peer;
        for hop in hops {
            let Some(address) = hop else { break };
            last = Some(address);
            if !self.contains(address) {
                break;
            }
        }
        last
    }
}

fn network(entry: &str) -> Result<IpNet, &'static str> {
    let network = match entry.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => entry.parse().map_err(|_| "is neither an address nor a network such as 10.0.0.0/8")?,
    };
    if network.trunc() != network {
        return Err("has bits set after its prefix");
    }
    if let IpNet::V6(mapped) = network
        && let Some(address) = mapped.addr().to_ipv4_mapped()
        && let Some(prefix) = mapped.prefix_len().checked_sub(96)
    {
        return Ipv4Net::new(address, prefix).map(IpNet::V4).map_err(|_| "is not a network");
    }
    Ok(network)
}

/// Reads an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`. Ports may be obfuscated (RFC 7239, section 6). Zone ids are refused, because they have no
/// meaning on other hosts. `0.0.0.0` and `::` are refused, because no host has them.
fn address(text: &str) -> Option<IpAddr> {
    address_or_any(text).filter(|address| !address.is_unspecified())
}

fn address_or_any(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
    } else {
        let (address, _) = text.split_once(':')?;
        (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), &text[address.len()..])
    };
    let valid = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    valid.then(|| address.to_canonical())
}

fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        None => port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}

/// The one `for` of an element of Forwarded (RFC 7239, section 4), without its quotes. Addresses contain no escapes.
fn node(element: &str) -> Option<&str> {
    let mut nodes = RSplit::new(element, b';').filter_map(|pair| {
        let (name, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    let node = nodes.next().filter(|_| nodes.next().is_none())?;
    node.strip_prefix('"').map_or(Some(node), |rest| rest.strip_suffix('"'))
}

/// Splits from the right at a separator that is not within a quoted string (RFC 9110, section 5.6.4).
///
/// It reads from the right, because a client may send a quote that it does not close. Read from the left, this quote
/// would swallow the proxy's entry.
struct RSplit<'t> {
    rest: Option<&'t str>,
    separator: u8,
}

impl<'t> RSplit<'t> {
    fn new(text: &'t str, separator: u8) -> Self {
        Self { rest: Some(text), separator }
    }
}

impl<'t> Iterator for RSplit<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let text = self.rest.take()?;
        let bytes = text.as_bytes();
        let mut quoted = false;
        for (i, &byte) in bytes.iter().enumerate().rev() {
            let escapes = || bytes[..i].iter().rev().take_while(|&&byte| byte == b'\\').count();
            if byte == b'"' && escapes() % 2 == 0 {
                quoted = !quoted;
            } else if byte == self.separator && !quoted {
                self.rest = Some(&text[..i]);
                return Some(&text[i + 1..]);
            }
        }
        Some(text)
    }
}

/// How much of an address an event keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpPolicy {
    /// The whole address.
    #[default]
    Full,
    /// The network: the first 24 bits of IPv4, or the first 48 of IPv6. For 6to4 (RFC 3056), they contain the first 24
    /// bits of IPv4.
    Truncated,
    /// Nothing.
    None,
}

impl IpPolicy {
    /// The part of an address that is kept.
    #[must_use]
    pub fn apply(self, address: IpAddr) -> Option<IpAddr> {
        match (self, address.to_canonical()) {
            (Self::Full, address) => Some(address),
            (Self::Truncated, IpAddr::V4(address)) => Some(Ipv4Addr::from_bits(address.to_bits() & (!0 << 8)).into()),
            (Self::Truncated, IpAddr::V6(address)) => {
                let kept = if address.segments()[0] == 0x2002 { 40 } else { 48 };
                Some(Ipv6Addr::from_bits(address.to_bits() & (!0 << (128 - kept))).into())
            }
            (Self::None, _) => None,
        }
    }
}
