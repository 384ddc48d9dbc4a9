//! What the names of a query say (contract, sections 2 and 3): which value belongs to which member, and the JSON around the values.
//!
//! The names of a template are the same in every query that it makes; only the values differ. So a layout is worked out from the
//! names alone and cached (`cache.rs`): a query with known names costs little more than splitting it and copying its values.

mod cache;

use crate::query::fields::{Field, Fields};
use crate::query::parameters::Parameters;
use crate::query::tree::{Object, Path, Tree};

pub use crate::query::tree::Root;
pub use cache::nest;
pub(crate) use cache::with;

/// What the names of one query say.
#[derive(Default)]
pub(crate) struct Layout {
    fields: Vec<(Field, u32)>,
    objects: [Object; Root::ALL.len()],
    /// Whether a path has more segments than it may have.
    pub too_deep: bool,
}

impl Layout {
    /// Works out what names say. `tree` is a buffer.
    fn read(&mut self, tree: &mut Tree, parameters: &Parameters<'_, '_>, depth: usize, typed: bool) {
        tree.clear();
        self.fields.clear();
        self.too_deep = false;
        each_decoded(parameters, |index, name, in_query| match name {
            [root @ (b'p' | b't'), b'.', bytes @ ..] => {
                let root = if *root == b'p' { Root::Properties } else { Root::Traits };
                // Not even entered, so that 8 kB of dots cost no more than other names.
                if is_deeper(bytes, depth) {
                    self.too_deep = true;
                } else {
                    tree.add(parameters.query, root, Path { bytes, in_query }, index);
                }
            }
            name => self.fields.extend(Field::named(name).map(|field| (field, index))),
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

    /// What is below a root.
    pub(crate) fn object(&self, root: Root) -> &Object {
        &self.objects[root as usize]
    }
}

/// Hands over each name, decoded and without the `amp;` that a template leaves there when it escapes `&` twice, and whether
/// it is a part of the query.
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

/// A decoded name without its `amp;`.
#[must_use]
pub fn unescape_amp(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"amp;").unwrap_or(name)
}

/// Whether a path has more than `depth` segments.
fn is_deeper(path: &[u8], depth: usize) -> bool {
    path.len() >= depth && memchr::memchr_iter(b'.', path).count() >= depth
}
