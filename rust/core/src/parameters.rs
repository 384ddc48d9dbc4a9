//! The parameters of one query that mean something (contract, section 2).

use std::borrow::Cow;

use crate::form::{self, Raw};
use crate::options::Limits;
use crate::reason::Reason;
use crate::text;
use crate::tree::{self, Path, Root, Tree};

/// A campaign's parameters, and what comes before their texts in an event.
pub const CAMPAIGN: [(&[u8], &[u8]); 5] = [
    (b"utm_source", b"\"source\":\""),
    (b"utm_medium", b"\"medium\":\""),
    (b"utm_campaign", b"\"name\":\""),
    (b"utm_term", b"\"term\":\""),
    (b"utm_content", b"\"content\":\""),
];

/// What was found. An absent text is empty.
#[derive(Default)]
pub struct Parameters<'q> {
    pub e: Raw<'q>,
    pub ts: Raw<'q>,
    pub campaign: [Raw<'q>; CAMPAIGN.len()],
    pub wk: Trimmed<'q>,
    pub uid: Trimmed<'q>,
    pub aid: Trimmed<'q>,
    pub gid: Trimmed<'q>,
    pub mid: Trimmed<'q>,
    pub too_deep: bool,
}

/// A text as UTF-8. A borrowed one is plain, see [`Raw::plain`].
pub type Trimmed<'q> = Cow<'q, [u8]>;

impl<'q> Parameters<'q> {
    /// Reads a query; what is nested goes into `tree`.
    pub fn read(&mut self, query: &'q [u8], tree: &mut Tree, limits: &Limits) -> Result<(), Reason> {
        let mut decoded = Vec::new();
        for (count, (name, value)) in form::pairs(query).enumerate() {
            if count == limits.parameters {
                return Err(Reason::TooManyParameters);
            }
            if name.plain {
                self.take(query, tree, Path::InQuery, name.bytes, value, limits);
            } else {
                decoded.clear();
                name.decode_into(query, &mut decoded);
                self.take(query, tree, Path::Decoded, &decoded, value, limits);
            }
        }
        Ok(())
    }

    fn take<'n>(
        &mut self,
        query: &[u8],
        tree: &mut Tree,
        path: impl Fn(&'n [u8]) -> Path<'n>,
        name: &'n [u8],
        value: Raw<'q>,
        limits: &Limits,
    ) {
        match tree::unescape_amp(name) {
            [root @ (b'p' | b't'), b'.', rest @ ..] => {
                let root = if *root == b'p' { Root::Properties } else { Root::Traits };
                // Not even entered, so that 8 kB of dots cost no more than other names.
                if is_deeper(rest, limits.depth) {
                    self.too_deep = true;
                } else {
                    tree.add(query, root, path(rest), value);
                }
            }
            b"wk" => first_trimmed(&mut self.wk, value, text::trim),
            b"uid" => first_trimmed(&mut self.uid, value, text::trim),
            b"aid" => first_trimmed(&mut self.aid, value, |text| text::trim(text::unquote(text::trim(text)))),
            b"gid" => first_trimmed(&mut self.gid, value, text::trim),
            b"mid" => first_trimmed(&mut self.mid, value, text::trim),
            b"e" => first(&mut self.e, value),
            b"ts" => first(&mut self.ts, value),
            other => {
                if let Some(i) = CAMPAIGN.iter().position(|(utm, _)| *utm == other) {
                    first(&mut self.campaign[i], value);
                }
            }
        }
    }
}

/// Whether a path has more than `depth` segments.
fn is_deeper(path: &[u8], depth: usize) -> bool {
    path.len() >= depth && memchr::memchr_iter(b'.', path).count() >= depth
}

/// Of a repeated reserved name the first value counts that is not empty.
fn first<'q>(slot: &mut Raw<'q>, value: Raw<'q>) {
    if slot.bytes.is_empty() {
        *slot = value;
    }
}

fn first_trimmed<'q>(slot: &mut Trimmed<'q>, value: Raw<'q>, trim: impl Fn(&[u8]) -> &[u8]) {
    if slot.is_empty() {
        *slot = match value.decode() {
            Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
            Cow::Owned(text) => Cow::Owned(trim(&text).to_vec()),
        };
    }
}
