//! A quick look at a line that is a JSON object as a gateway writes it: without white space and exponents, and not very deep.
//!
//! It takes nothing for an object that `serde_json` does not, which the tests of `line` see to. What is unlike our own lines
//! is not judged here, so that there need not be a second parser that is right about everything.

use std::borrow::Cow;

use wide::u8x16;

use super::line::{Keys, text};

/// How deep it looks: deeper than a query's names may nest by default.
const DEPTH: u32 = 40;

/// A look at a line from its beginning to its end. Whatever it meets, None means that it does not know.
pub struct Scan<'l> {
    text: &'l str,
    at: usize,
    /// Where the block begins that was looked at last for what ends strings, and what was found.
    block: Option<usize>,
    stops: u64,
}

impl<'l> Scan<'l> {
    pub fn new(text: &'l str) -> Self {
        Self { text, at: 0, block: None, stops: 0 }
    }

    /// The keys of an event that is all of the text.
    pub fn event(mut self) -> Option<Keys<'l>> {
        let mut keys = Keys::default();
        self.take(b'{')?;
        if self.take(b'}').is_none() {
            self.items(b'}', |scan| {
                let begin = scan.at;
                scan.take(b'"')?;
                // Of the names of an event, unlike those that are nested, `serde_json` checks what their escapes mean.
                let is_plain = scan.string()?;
                let name = is_plain.then(|| &scan.text[begin..scan.at])?;
                scan.take(b':')?;
                match name {
                    r#""userId""# => scan.id(&mut keys.user_id)?,
                    r#""anonymousId""# => scan.id(&mut keys.anonymous_id)?,
                    _ => scan.value(DEPTH)?,
                }
                Some(())
            })?;
        }
        (self.at == self.text.len()).then_some(keys)
    }

    /// A value, whose text goes to `id`, if it is one.
    fn id(&mut self, id: &mut Option<Cow<'l, str>>) -> Option<()> {
        let begin = self.at;
        if self.take(b'"').is_none() {
            *id = None;
            return self.value(DEPTH);
        }
        let is_plain = self.string()?;
        let raw = &self.text[begin..self.at];
        *id = if is_plain { Some(Cow::Borrowed(&raw[1..raw.len() - 1])) } else { text(raw) };
        Some(())
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        match self.next()? {
            b'"' => self.string().map(drop),
            b'{' if self.take(b'}').is_some() => Some(()),
            b'{' if depth > 0 => self.items(b'}', |scan| {
                scan.take(b'"')?;
                scan.string()?;
                scan.take(b':')?;
                scan.value(depth - 1)
            }),
            b'[' if self.take(b']').is_some() => Some(()),
            b'[' if depth > 0 => self.items(b']', |scan| scan.value(depth - 1)),
            b't' => self.word(b"rue"),
            b'f' => self.word(b"alse"),
            b'n' => self.word(b"ull"),
            b'-' => self.next().and_then(|first| self.number(first)),
            first => self.number(first),
        }
    }

    /// At least one item, and what closes them.
    #[inline]
    fn items(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        loop {
            item(self)?;
            match self.next()? {
                b',' => {}
                byte => return (byte == close).then_some(()),
            }
        }
    }

    /// The rest of a string, and whether nothing is escaped in it.
    #[inline]
    fn string(&mut self) -> Option<bool> {
        let mut is_plain = true;
        loop {
            self.skip();
            match self.next()? {
                b'"' => return Some(is_plain),
                b'\\' => self.escape()?,
                _ => return None,
            }
            is_plain = false;
        }
    }

    /// Goes to the next byte that ends a string, escapes, or may not be in one.
    #[inline]
    fn skip(&mut self) {
        loop {
            let block = self.at - self.at % BLOCK;
            if self.block != Some(block) {
                (self.block, self.stops) = (Some(block), stops(self.text.as_bytes(), block));
            }
            let stops = self.stops >> (self.at % BLOCK);
            if stops != 0 {
                self.at += stops.trailing_zeros() as usize;
                return;
            }
            self.at = block + BLOCK;
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => (0..4).try_for_each(|_| self.next().filter(u8::is_ascii_hexdigit).map(drop)),
            _ => None,
        }
    }

    /// The rest of a number without an exponent, from its first digit on.
    fn number(&mut self, first: u8) -> Option<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.take(b'.').is_some() {
            self.next().filter(u8::is_ascii_digit)?;
            self.digits();
        }
        Some(())
    }

    fn digits(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        rest.iter().try_for_each(|&byte| self.take(byte))
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.as_bytes().get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        let is_next = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next.then_some(())
    }
}

const BLOCK: usize = 64;

/// Where in the block that begins at `start` a byte ends a string, escapes, or may not be in one: bit `i` is byte `i`. As if
/// a `"` followed, the end of the text is one.
#[inline]
fn stops(text: &[u8], start: usize) -> u64 {
    let rest = text.get(start..).unwrap_or_default();
    let mut padded = [b'"'; BLOCK];
    let block = if let Some(block) = rest.first_chunk::<BLOCK>() {
        block
    } else {
        padded[..rest.len()].copy_from_slice(rest);
        &padded
    };
    let (vectors, _) = block.as_chunks::<16>();
    vectors.iter().enumerate().fold(0, |stops, (i, vector)| {
        let vector = u8x16::from(*vector);
        let is = |byte| vector.simd_eq(u8x16::splat(byte));
        let control = vector.min(u8x16::splat(0x1f)).simd_eq(vector);
        stops | u64::from((is(b'"') | is(b'\\') | control).to_bitmask()) << (16 * i)
    })
}
