//! Whether a line is an event: a JSON object.
//!
//! `serde_json` says so, but for lines as a gateway writes them, without white space and exponents, and not very deep: a [`Scan`]
//! sees in a fraction of the time that they are objects. It takes nothing for one that `serde_json` does not, and does not judge
//! what is unlike our own lines, so that there need not be a second parser that is right about everything.

use std::borrow::Cow;

use wide::u8x16;

use super::message_key::{Keys, text};

/// The keys of a line; None for one that is no JSON object.
pub(super) fn keys(line: &[u8]) -> Option<Keys<'_>> {
    let text = std::str::from_utf8(line).ok().filter(|text| text.starts_with('{'))?;
    Scan::new(text).event().or_else(|| serde_json::from_str(text).ok())
}

/// How deep it looks: deeper than a query's names may nest by default.
const DEPTH: u32 = 40;

/// A look at a line from its beginning to its end. Whatever it meets, None means that it does not know.
struct Scan<'l> {
    text: &'l str,
    at: usize,
    /// Where the block begins that was looked at last for what ends strings, and what was found.
    block: Option<usize>,
    stops: u64,
}

impl<'l> Scan<'l> {
    fn new(text: &'l str) -> Self {
        Self { text, at: 0, block: None, stops: 0 }
    }

    /// The keys of an event that is all of the text.
    fn event(mut self) -> Option<Keys<'l>> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Keys, Scan, keys};

    const EVENT: &str = concat!(
        r#"{"type":"track","event":"Email \"Opened\"","userId":"user_1","anonymousId":"b\u00e9\/","properties":{"#,
        r#""a":[1,-0.5,{"b":null},[],{}],"é":"\ud800","long":"0123456789012345678901234567890123456789012345678901234567"},"#,
        r#""context":{"ip":"203.0.113.7","gpc":true,"no":false,"n":120}}"#
    );

    fn asked(line: &[u8]) -> Option<Keys<'_>> {
        serde_json::from_str(std::str::from_utf8(line).ok().filter(|text| text.starts_with('{'))?).ok()
    }

    #[test]
    fn an_event_is_judged_without_asking() {
        assert_eq!(Scan::new(EVENT).event().as_ref().and_then(Keys::key), Some("user_1"));
    }

    #[test]
    fn any_depth_is_an_object() {
        for (depth, close) in [(39, "]"), (40, "]"), (41, "]"), (100, "]"), (39, ""), (40, ""), (41, ""), (100, "")] {
            let line = format!(r#"{{"userId":"u","a":{}{}}}"#, "[".repeat(depth), close.repeat(depth));
            assert_eq!(keys(line.as_bytes()).is_some(), !close.is_empty(), "{depth}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn a_damaged_event_is_what_serde_json_takes_it_for(
            damage in prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, "\\PC{0,2}|[\x00-\x7f]{0,2}|[{}\\[\\],:\"0.e-]{1,2}"), 1..3),
            shift in 0..64_usize,
        ) {
            let mut line = EVENT.replacen("track", &"t".repeat(shift), 1).into_bytes();
            for (at, cut, put) in damage {
                let at = at.index(line.len());
                line.splice(at..line.len().min(at + cut), put.bytes());
            }
            prop_assert_eq!(keys(&line), asked(&line));
        }

        #[test]
        fn a_text_of_tokens_is_what_serde_json_takes_it_for(
            text in "(\\{|\\}|\\[|\\]|,|:|\"userId\":|\"anonymousId\":|\"u\"|\"\\\\(u00e9|ud83d\\\\ude00|ud800|u12|x|n)\"|\"[a-z]{0,70}\"|\"a\":|-?0|12|\\.5|e9|-|true|null|nul| |é|\t){0,12}",
        ) {
            for line in [format!("{{{text}"), format!("{{{text}}}"), format!(r#"{{"userId":{text}}}"#), format!(r#"{{"a":[{text}]}}"#)] {
                prop_assert_eq!(keys(line.as_bytes()), asked(line.as_bytes()));
            }
        }
    }
}
