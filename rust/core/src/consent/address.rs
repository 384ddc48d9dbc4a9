//! Finds texts that look like mail addresses. A pipeline may refuse them in its URLs, because every log on the way
//! records URLs.

use crate::query::form::{self, Raw};

/// The most layers of percent-encoding that are decoded.
const LAYERS: usize = 4;

/// Whether a name or a value of a query looks like a mail address, also if it was percent-encoded more than once.
#[must_use]
pub fn is_in(query: &[u8]) -> bool {
    form::pairs(query)
        .any(|(name, value)| [name, value].into_iter().any(|raw| looks_like_one(raw.decode().into_owned())))
}

fn looks_like_one(mut text: Vec<u8>) -> bool {
    for _ in 0..LAYERS {
        if has_one(&text) {
            return true;
        }
        if !text.contains(&b'%') {
            return false;
        }
        text = Raw::new(&text).decode().into_owned();
    }
    has_one(&text)
}

/// Whether a text has a `@` after a local part and before a domain with a dot.
fn has_one(text: &[u8]) -> bool {
    memchr::memchr_iter(b'@', text).any(|at| {
        let is_local = at > 0
            && (text[at - 1].is_ascii_alphanumeric()
                || !text[at - 1].is_ascii()
                || b"._+-'\"/=!#$&*".contains(&text[at - 1]));
        let domain = text[at + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b".-[]:".contains(byte));
        let domain: Vec<u8> = domain.copied().collect();
        let inner = domain.len() - domain.iter().rev().take_while(|byte| **byte == b'.').count();
        is_local && (domain.first() == Some(&b'[') || memchr::memchr(b'.', &domain[..inner]).is_some_and(|dot| dot > 0))
    })
}
