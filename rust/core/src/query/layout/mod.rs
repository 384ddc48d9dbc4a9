//! The layout of a query, which its names determine (contract, sections 2 and 3): the member of each value, and the
//! JSON around the values.
//!
//! The queries of a template have the same names and different values. So a layout is computed from the names alone,
//! and cached (`cache.rs`). A query with known names costs little more than splitting it and copying its values.

mod cache;

use crate::notice;
use crate::query::fields::{Field, Fields};
use crate::query::parameters::Parameters;
use crate::query::tree::{Object, Path, Tree};

pub use crate::query::tree::Root;
pub use cache::nest;
pub(crate) use cache::with;

/// The layout of one query.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is looked at by itself")]
pub(crate) struct Layout {
    fields: Vec<(Field, u32)>,
    objects: [Object; Root::ALL.len()],
    /// Whether a path has too many segments.
    pub too_deep: bool,
    /// Whether there is an `s` or an `x`.
    pub has_claim: bool,
    /// Whether there is an `m`.
    pub has_mode: bool,
    /// Whether these names are new, so that unknown ones may be logged.
    pub is_new: bool,
    /// The parameters with unknown names.
    ignored: Vec<u32>,
    /// Whether a mailer may have decoded a name as quoted-printable.
    pub may_be_decoded: bool,
}

impl Layout {
    /// Computes the layout of names. `tree` is a buffer.
    fn read(&mut self, tree: &mut Tree, parameters: &Parameters<'_, '_>, depth: usize, typed: bool) {
        tree.clear();
        self.fields.clear();
        (self.too_deep, self.has_claim, self.has_mode, self.is_new) = (false, false, false, true);
        self.may_be_decoded = false;
        self.ignored.clear();
        each_decoded(parameters, |index, name, in_query| match name {
            [root @ (b'p' | b't'), b'.', bytes @ ..] => {
                self.may_be_decoded |= !in_query && notice::is_odd(bytes);
                let root = if *root == b'p' { Root::Properties } else { Root::Traits };
                // The tree skips it, so that 8 kB of dots cost no more than other names.
                if is_deeper(bytes, depth) {
                    self.too_deep = true;
                } else {
                    tree.add(parameters.query, root, Path { bytes, in_query }, index);
                }
            }
            b"cb" => {}
            name => {
                self.may_be_decoded |= !in_query;
                if let Some(field) = Field::named(name) {
                    self.has_claim |= matches!(field, Field::Claim);
                    self.has_mode |= matches!(field, Field::Mode);
                    self.fields.push((field, index));
                } else {
                    self.ignored.push(index);
                }
            }
        });
        for root in Root::ALL {
            tree.write(parameters.query, root, &mut self.objects[root as usize], typed);
        }
    }

    /// The values of the reserved parameters.
    pub(crate) fn fields<'q>(&self, parameters: &Parameters<'q, '_>) -> Fields<'q> {
        let mut found = Fields::default();
        for &(field, index) in &self.fields {
            found.take(field, parameters.value(index));
        }
        found
    }

    /// The number of unknown names.
    pub(crate) fn ignored(&self) -> u32 {
        u32::try_from(self.ignored.len()).unwrap_or(u32::MAX)
    }

    /// The value of `m`, decoded and trimmed; empty if there is none.
    #[cold]
    pub(crate) fn mode(&self, parameters: &Parameters<'_, '_>) -> Vec<u8> {
        let values = self.fields.iter().filter(|(field, _)| matches!(field, Field::Mode));
        let mut values = values.map(|(_, index)| parameters.value(*index).trim().decode().into_owned());
        values.find(|value| !value.is_empty()).unwrap_or_default()
    }

    /// Keeps the unknown names for the log.
    #[cold]
    pub(crate) fn keep_ignored(&self, parameters: &Parameters<'_, '_>) {
        if notice::has_room() {
            let names = parameters
                .names()
                .enumerate()
                .filter(|(index, _)| self.ignored.iter().any(|at| *at as usize == *index));
            names.for_each(|(_, name)| notice::keep_ignored(unescape_amp(&name.decode())));
        }
    }

    /// The decoded value of the first parameter with a name.
    #[cold]
    pub(crate) fn value_of(parameters: &Parameters<'_, '_>, wanted: &[u8]) -> Option<Vec<u8>> {
        let mut found = None;
        each_decoded(parameters, |index, name, _| {
            if found.is_none() && name == wanted {
                found = Some(parameters.value(index).decode().into_owned());
            }
        });
        found
    }

    /// The object of a root.
    pub(crate) fn object(&self, root: Root) -> &Object {
        &self.objects[root as usize]
    }
}

/// Passes each name to `take`: decoded, and without every leading `amp;`, which a template leaves if it escapes `&`
/// twice or more. Also passes whether the name is a part of the query.
fn each_decoded(parameters: &Parameters<'_, '_>, mut take: impl FnMut(u32, &[u8], bool)) {
    let mut decoded = Vec::new();
    for (index, name) in (0..).zip(parameters.names()) {
        let bytes = if name.plain {
            name.bytes
        } else {
            decoded.clear();
            name.decode_into(parameters.query, &mut decoded);
            &decoded
        };
        take(index, unescape_amp(bytes), name.plain);
    }
}

/// A decoded name without every leading `amp;`.
#[must_use]
pub fn unescape_amp(mut name: &[u8]) -> &[u8] {
    while let Some(rest) = name.strip_prefix(b"amp;") {
        name = rest;
    }
    name
}

/// Whether a path has more than `depth` segments.
fn is_deeper(path: &[u8], depth: usize) -> bool {
    path.len() >= depth && memchr::memchr_iter(b'.', path).count() >= depth
}
