//! Decides whether a line is an event, that is, a JSON object.
//!
//! `serde_json` decides. For lines as a gateway writes them, a [`Scan`] finds the answer in a fraction of the time:
//! without white space and exponents, and not very deep. It accepts nothing that `serde_json` refuses. It gives up on
//! all other lines, so that it need not be a complete second parser.

use std::borrow::Cow;

use wide::u8x16;

use super::record::{Record, text};

/// The record of a line; None if it is not a JSON object.
pub(crate) fn record(line: &[u8]) -> Option<Record<'_>> {
    let text = std::str::from_utf8(line).ok().filter(|text| text.starts_with('{'))?;
    Scan::new(text).event().or_else(|| serde_json::from_str(text).ok())
}

/// The greatest depth of a scan. It is more than the default limit of a query's names.
const DEPTH: u32 = 40;

/// A scan of a line from its beginning to its end. None always means that it cannot decide.
struct Scan<'l> {
    text: &'l str,
    at: usize,
    /// The beginning of the block that was last searched for the ends of strings, and its result.
    block: Option<usize>,
    stops: u64,
}

impl<'l> Scan<'l> {
    fn new(text: &'l str) -> Self {
        Self { text, at: 0, block: None, stops: 0 }
    }

    /// The record of an event that fills the whole text.
    fn event(mut self) -> Option<Record<'l>> {
        let mut record = Record::default();
        self.take(b'{')?;
        if self.take(b'}').is_none() {
            self.items(b'}', |scan| {
                let begin = scan.at;
                scan.take(b'"')?;
                // Top-level names with escapes are left to `serde_json`, because their meaning counts. Nested names do
                // not count.
                let is_plain = scan.string()?;
                let name = is_plain.then(|| &scan.text[begin..scan.at])?;
                scan.take(b':')?;
                match name {
                    r#""userId""# => scan.text(&mut record.user_id)?,
                    r#""anonymousId""# => scan.text(&mut record.anonymous_id)?,
                    r#""receivedAt""# => scan.text(&mut record.received_at)?,
                    r#""pipelineId""# => scan.text(&mut record.pipeline_id)?,
                    _ => scan.value(DEPTH)?,
                }
                Some(())
            })?;
        }
        (self.at == self.text.len()).then_some(record)
    }

    /// A value. If it is a string, its text goes to `member`.
    fn text(&mut self, member: &mut Option<Cow<'l, str>>) -> Option<()> {
        let begin = self.at;
        if self.take(b'"').is_none() {
            *member = None;
            return self.value(DEPTH);
        }
        let is_plain = self.string()?;
        let raw = &self.text[begin..self.at];
        *member = if is_plain { Some(Cow::Borrowed(&raw[1..raw.len() - 1])) } else { text(raw) };
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

    /// At least one item, and the closing bracket.
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

    /// The rest of a string, and whether it has no escapes.
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

    /// Moves to the next byte that ends a string, begins an escape, or is not allowed in a string.
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

/// The bytes of the block at `start` that end a string, begin an escape, or are not allowed in a string: bit `i` is
/// byte `i`. The end of the text counts as one, as if a `"` followed.
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

    use super::{Record, Scan, record};

    const EVENT: &str = concat!(
        r#"{"type":"track","event":"Email \"Opened\"","userId":"user_1","anonymousId":"b\u00e9\/","properties":{"#,
        r#""a":[1,-0.5,{"b":null},[],{}],"é":"\ud800","long":"0123456789012345678901234567890123456789012345678901234567"},"#,
        r#""context":{"ip":"203.0.113.7","gpc":true,"no":false,"n":120}}"#
    );

    fn asked(line: &[u8]) -> Option<Record<'_>> {
        serde_json::from_str(std::str::from_utf8(line).ok().filter(|text| text.starts_with('{'))?).ok()
    }

    #[test]
    fn an_event_is_judged_without_asking() {
        assert_eq!(Scan::new(EVENT).event().as_ref().and_then(Record::key), Some("user_1"));
    }

    #[test]
    fn any_depth_is_an_object() {
        // Recursion to the end of the stack would end the process.
        for (open, close) in [("[", "]"), (r#"{"b":"#, "}"), (r#"[{"b":"#, "}]")] {
            for depth in [19, 20, 21, 39, 40, 41, 100, 200_000] {
                for (inside, is_object) in [("0", true), ("", open == "[")] {
                    let (begin, end) = (open.repeat(depth), close.repeat(depth));
                    let line = format!(r#"{{"userId":"u","a":{begin}{inside}{end}}}"#);
                    assert_eq!(record(line.as_bytes()).is_some(), is_object, "{depth} {open}{inside}");
                    let cut = &line.as_bytes()[..line.len() - 1];
                    assert!(record(cut).is_none(), "{depth} {open}{inside}, cut off");
                }
            }
        }
    }

    #[test]
    fn what_is_nested_is_looked_at_down_to_a_depth() {
        let own = |line: &str| Scan::new(line).event().is_some();
        for (open, close) in [("[", "]"), (r#"{"b":"#, "}")] {
            for (depth, is_seen) in [(0, true), (1, true), (40, true), (41, false)] {
                let value = format!("{}0{}", open.repeat(depth), close.repeat(depth));
                assert_eq!(own(&format!(r#"{{"a":{value}}}"#)), is_seen, "{depth} {open}");
                assert_eq!(own(&format!(r#"{{"userId":{value}}}"#)), is_seen, "{depth} {open}");
            }
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
            prop_assert_eq!(record(&line), asked(&line));
        }

        #[test]
        fn a_text_of_tokens_is_what_serde_json_takes_it_for(
            text in "(\\{|\\}|\\[|\\]|,|:|\"userId\":|\"anonymousId\":|\"u\"|\"\\\\(u00e9|ud83d\\\\ude00|ud800|u12|x|n)\"|\"[a-z]{0,70}\"|\"a\":|-?0|12|\\.5|e9|-|true|null|nul| |é|\t){0,12}",
        ) {
            for line in [format!("{{{text}"), format!("{{{text}}}"), format!(r#"{{"userId":{text}}}"#), format!(r#"{{"a":[{text}]}}"#)] {
                prop_assert_eq!(record(line.as_bytes()), asked(line.as_bytes()));
            }
        }
    }
}
