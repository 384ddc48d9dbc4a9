//! JSON strings (RFC 8259, section 7), decoded and escaped in one go, straight into the output.

use crate::form;

/// Appends `text` as a JSON string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        if ESCAPES[byte as usize] != 0 {
            out.extend_from_slice(&bytes[copied..i]);
            escape(out, byte);
            copied = i + 1;
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// Appends a form-encoded value as a JSON string, without a copy in between.
pub fn form_string(out: &mut Vec<u8>, raw: &[u8]) {
    out.push(b'"');
    let mut rest = raw;
    loop {
        // Most bytes stand for themselves: copy them by the run.
        let plain = rest.iter().position(|&byte| !PLAIN[byte as usize]).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        let Some((byte, after)) = form::decode_byte(&rest[plain..]) else { break };
        if byte < 0x80 {
            if ESCAPES[byte as usize] == 0 {
                out.push(byte);
            } else {
                escape(out, byte);
            }
            rest = after;
        } else {
            rest = non_ascii(out, &rest[plain..]);
        }
    }
    out.push(b'"');
}

/// Appends the run of decoded bytes over 0x7F that `raw` begins with, and returns what follows it.
///
/// No UTF-8 sequence reaches beyond such a run, so it can be checked by itself. What is not UTF-8 becomes U+FFFD.
fn non_ascii<'r>(out: &mut Vec<u8>, raw: &'r [u8]) -> &'r [u8] {
    let begin = out.len();
    let mut rest = raw;
    while let Some((byte, after)) = form::decode_byte(rest) {
        if byte < 0x80 {
            break;
        }
        out.push(byte);
        rest = after;
    }
    if std::str::from_utf8(&out[begin..]).is_err() {
        let text = String::from_utf8_lossy(&out[begin..]).into_owned();
        out.truncate(begin);
        out.extend_from_slice(text.as_bytes());
    }
    rest
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match ESCAPES[byte as usize] {
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

/// The bytes of a form-encoded value that stand for themselves in a JSON string.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x80 {
        table[byte] = ESCAPES[byte] == 0 && byte != b'%' as usize && byte != b'+' as usize;
        byte += 1;
    }
    table
};
