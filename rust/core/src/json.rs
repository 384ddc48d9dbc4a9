//! Writes JSON strings (RFC 8259, section 7): decodes and escapes in one pass, directly into the output.

use wide::u8x16;

use crate::query::form;

/// Appends UTF-8 as a JSON string.
#[inline]
pub fn string(out: &mut Vec<u8>, utf8: &[u8]) {
    out.push(b'"');
    text(out, utf8);
    out.push(b'"');
}

/// Appends UTF-8 as a JSON string without its quotes.
#[inline]
pub fn text(out: &mut Vec<u8>, utf8: &[u8]) {
    if needs_no_escape(utf8) {
        out.extend_from_slice(utf8);
    } else {
        escaped(out, utf8);
    }
}

#[inline]
fn needs_no_escape(text: &[u8]) -> bool {
    let needs = |block: [u8; 16]| {
        let block = u8x16::from(block);
        let is = |byte| block.simd_eq(u8x16::splat(byte));
        block.min(u8x16::splat(0x1F)).simd_eq(block) | is(b'"') | is(b'\\')
    };
    // The last block may overlap with the previous one. So may the halves of a shorter text.
    if let Some(last) = text.last_chunk::<16>() {
        let (blocks, _) = text.as_chunks::<16>();
        return blocks.iter().fold(needs(*last), |found, block| found | needs(*block)).to_bitmask() == 0;
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        let mut block = [0; 16];
        block[..8].copy_from_slice(first);
        block[8..].copy_from_slice(last);
        return needs(block).to_bitmask() == 0;
    }
    text.iter().all(|&byte| ESCAPES[usize::from(byte)] == 0)
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

/// Appends a form-encoded value as a JSON string without its quotes, and without an intermediate copy. The value is the
/// first `length` bytes of `from`, [plain](form::Raw::plain) or not. More text after it makes copying cheaper.
#[inline]
pub fn form_text(out: &mut Vec<u8>, from: &[u8], length: usize, plain: bool) {
    if plain {
        form::copy(out, from, length);
    } else {
        decoded(out, from, length);
    }
}

fn decoded(out: &mut Vec<u8>, mut rest: &[u8], mut length: usize) {
    loop {
        if length == 0 {
            return;
        }
        if form::is_in_run(rest[0]) {
            let run = form::copy_run(out, rest, length);
            (rest, length) = (&rest[run..], length - run);
            continue;
        }
        let (byte, mut encoded) = form::decode_byte(&rest[..length]);
        if byte >= 0x80 {
            encoded = non_ascii(out, &rest[..length]);
        } else if ESCAPES[usize::from(byte)] == 0 {
            out.push(byte);
        } else {
            escape(out, byte);
        }
        (rest, length) = (&rest[encoded..], length - encoded);
    }
}

/// Appends the decoded run of bytes over 0x7F at the beginning of `raw`, and returns the length of the run in `raw`.
///
/// A UTF-8 sequence never extends beyond such a run, so the run is checked by itself. Invalid UTF-8 becomes U+FFFD.
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

/// The letter of each byte's escape: 0 for none, `u` for `\u00xx`.
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
