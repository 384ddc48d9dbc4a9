//! Each thread caches 64 layouts, indexed by a hash of the names. A hit is verified name by name.

use std::cell::RefCell;
use std::mem;

use super::{Layout, each_decoded};
use crate::event::Refusal;
use crate::options::Limits;
use crate::query::parameters::{Names, Parameter, Parameters, beginning};
use crate::query::tree::{Path, Root, Tree};
use crate::reason::Reason;

/// The number of cached layouts. Two layouts with the same place replace each other.
const PLACES: usize = 64;

/// The most parameters of a cached layout, and the most bytes of its names. Longer queries hardly come from templates.
const MAX_PARAMETERS: usize = 128;
const MAX_NAME_BYTES: usize = 2048;

/// The cache, and the buffers of the current query.
struct Cache {
    parts: Vec<Parameter>,
    tree: Tree,
    /// The layout of uncached names.
    new: Layout,
    places: Vec<Cached>,
    /// The place of the last query with the same beginning.
    guesses: [usize; PLACES],
}

/// A cached layout, with its names and settings.
#[derive(Default)]
struct Cached {
    /// The digest of the last names that missed here. Names are cached at their second miss. So queries with random
    /// names cost no copies, and evict nothing.
    missed: u64,
    names: Names,
    /// None while the place is empty.
    limits: Option<Limits>,
    typed: bool,
    layout: Layout,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(Cache {
        parts: Vec::new(),
        tree: Tree::default(),
        new: Layout::default(),
        places: std::iter::repeat_with(Cached::default).take(PLACES).collect(),
        guesses: [0; PLACES],
    });
}

/// Splits a query, and lends its layout, cached or new.
pub(crate) fn with<'q, T>(
    query: &'q [u8],
    limits: &Limits,
    typed: bool,
    work: impl FnOnce(&Parameters<'q, '_>, &Layout) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    CACHE.with_borrow_mut(|cache| {
        let Cache { parts, tree, new, places, guesses } = cache;
        let guess = &mut guesses[place(beginning(query))];
        let guessed = &places[*guess];
        if guessed.is_for(limits, typed)
            && let Some(parameters) = guessed.names.split(query, parts)
        {
            return work(&parameters, &guessed.layout);
        }
        let parameters = Parameters::split(query, limits.parameters, parts).ok_or(Reason::TooManyParameters)?;
        *guess = place(parameters.digest);
        let cached = &mut places[*guess];
        if cached.is_for(limits, typed) && cached.names.are_of(&parameters) {
            return work(&parameters, &cached.layout);
        }
        new.read(tree, &parameters, limits.depth, typed);
        if !is_short(&parameters) {
            // The large buffers are not kept either.
            return work(&parameters, &mem::take(new));
        }
        if mem::replace(&mut cached.missed, parameters.digest) != parameters.digest {
            return work(&parameters, new);
        }
        cached.keep(&parameters, limits, typed, new);
        work(&parameters, &cached.layout)
    })
}

/// The members of the parameters whose decoded name begins with `prefix`, as one JSON object (contract, section 3).
#[must_use]
pub fn nest(query: &[u8], prefix: &str, typed: bool) -> Vec<u8> {
    CACHE.with_borrow_mut(|Cache { parts, tree, new, .. }| {
        let mut out = Vec::with_capacity(query.len());
        if let Some(parameters) = Parameters::split(query, usize::MAX, parts) {
            tree.clear();
            each_decoded(&parameters, |index, name, in_query| {
                if let Some(bytes) = name.strip_prefix(prefix.as_bytes()) {
                    tree.add(query, Root::Properties, Path { bytes, in_query }, index);
                }
            });
            let object = &mut new.objects[Root::Properties as usize];
            tree.write(query, Root::Properties, object, typed);
            object.write(&mut out, &parameters, typed);
            if !is_short(&parameters) {
                mem::take(object);
            }
        }
        out
    })
}

impl Cached {
    /// Whether the place has a layout for these settings.
    fn is_for(&self, limits: &Limits, typed: bool) -> bool {
        (self.limits, self.typed) == (Some(*limits), typed)
    }

    /// Caches a new layout. The buffers of the old one are used again.
    fn keep(&mut self, parameters: &Parameters<'_, '_>, limits: &Limits, typed: bool, new: &mut Layout) {
        (self.limits, self.typed) = (Some(*limits), typed);
        self.names.keep(parameters);
        mem::swap(&mut self.layout, new);
        self.layout.is_new = false;
    }
}

/// The place of a digest.
#[expect(clippy::cast_possible_truncation, reason = "less than PLACES")]
fn place(digest: u64) -> usize {
    (digest >> (u64::BITS - PLACES.ilog2())) as usize
}

fn is_short(parameters: &Parameters<'_, '_>) -> bool {
    parameters.len() <= MAX_PARAMETERS
        && parameters.names().map(|name| name.bytes.len()).sum::<usize>() <= MAX_NAME_BYTES
}
