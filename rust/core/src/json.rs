//! JSON strings (RFC 8259, section 7), decoded and escaped in one go, straight into the output.

use wide::u8x16;

use crate::form::{self, Raw};

/// Appends UTF-8 as a JSON string.
#[inline]
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    if needs_no_escape(text) {
        out.extend_from_slice(text);
    } else {
        escaped(out, text);
    }
    out.push(b'"');
}

#[inline]
fn needs_no_escape(text: &[u8]) -> bool {
    let (blocks, rest) = text.as_chunks::<16>();
    let plain = |block: &[u8; 16]| {
        let block = u8x16::from(*block);
        let is = |byte| block.simd_eq(u8x16::splat(byte));
        (block.simd_lt(u8x16::splat(0x20)) | is(b'"') | is(b'\\')).to_bitmask() == 0
    };
    // The last block may overlap with the one before.
    let rest_is_plain = match text.last_chunk::<16>() {
        Some(last) => plain(last),
        None => rest.iter().all(|&byte| ESCAPES[usize::from(byte)] == 0),
    };
    blocks.iter().all(plain) && rest_is_plain
}

fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut copied = 0;
    for (i, &byte) in text.iter().enumerate() {
        if ESCAPES[usize::from(byte)] != 0 {
            out.extend_from_slice(&text[copied..i]);
            escape(out, byte);
            copied = i + 1;
        }
    }
    out.extend_from_slice(&text[copied..]);
}

/// Appends a form-encoded value as a JSON string, without a copy in between.
#[inline]
pub fn form_string(out: &mut Vec<u8>, raw: Raw<'_>) {
    out.push(b'"');
    if raw.plain {
        out.extend_from_slice(raw.bytes);
    } else {
        decoded(out, raw.bytes);
    }
    out.push(b'"');
}

fn decoded(out: &mut Vec<u8>, raw: &[u8]) {
    let mut rest = raw;
    loop {
        let plain = rest.iter().position(|&byte| !form::PLAIN[usize::from(byte)]).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        if rest.is_empty() {
            return;
        }
        let (byte, length) = form::decode_byte(rest);
        if byte >= 0x80 {
            rest = &rest[non_ascii(out, rest)..];
            continue;
        }
        if ESCAPES[usize::from(byte)] == 0 {
            out.push(byte);
        } else {
            escape(out, byte);
        }
        rest = &rest[length..];
    }
}

/// Appends the run of decoded bytes over 0x7F that `raw` begins with, and returns how long it is there.
///
/// No UTF-8 sequence reaches beyond such a run, so it can be checked by itself. What is not UTF-8 becomes U+FFFD.
fn non_ascii(out: &mut Vec<u8>, raw: &[u8]) -> usize {
    let begin = out.len();
    let mut at = 0;
    while at < raw.len() {
        let (byte, length) = form::decode_byte(&raw[at..]);
        if byte < 0x80 {
            break;
        }
        out.push(byte);
        at += length;
    }
    form::repair(out, begin);
    at
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match ESCAPES[usize::from(byte)] {
        b'u' => {
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        short => out.extend_from_slice(&[b'\\', short]),
    }
}

/// For each byte the letter of its escape: 0 for none, `u` for `\u00xx`.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[0x0C] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};
