//! `application/x-www-form-urlencoded`, as the WHATWG URL standard parses it (section 5.1): split before decoding,
//! and never an error.

use std::borrow::Cow;

/// The raw, still encoded names and values of a query, in order.
pub struct Pairs<'q> {
    rest: Option<&'q [u8]>,
}

/// Splits a query on `&`, and every sequence that is not empty on its first `=`.
#[must_use]
pub fn pairs(query: &[u8]) -> Pairs<'_> {
    Pairs { rest: Some(query) }
}

impl<'q> Iterator for Pairs<'q> {
    type Item = (&'q [u8], &'q [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (sequence, rest) = split(self.rest?, b'&');
            self.rest = rest;
            if !sequence.is_empty() {
                let (name, value) = split(sequence, b'=');
                return Some((name, value.unwrap_or_default()));
            }
        }
    }
}

fn split(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, bytes) {
        Some(i) => (&bytes[..i], Some(&bytes[i + 1..])),
        None => (bytes, None),
    }
}

/// Decodes `+` and percent escapes; borrows where there is nothing to decode. What is not UTF-8 becomes U+FFFD.
#[must_use]
pub fn decode(raw: &[u8]) -> Cow<'_, str> {
    if memchr::memchr2(b'%', b'+', raw).is_none() {
        return String::from_utf8_lossy(raw);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = decode_byte(rest) {
        bytes.push(byte);
        rest = after;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Cow::Owned(text),
        Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

/// The first decoded byte and what follows it. An escape that is none stays as it is.
#[inline]
#[must_use]
pub fn decode_byte(raw: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, rest) = raw.split_first()?;
    Some(match first {
        b'+' => (b' ', rest),
        b'%' => match rest {
            [high, low, after @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (first, rest),
            },
            _ => (first, rest),
        },
        _ => (first, rest),
    })
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
