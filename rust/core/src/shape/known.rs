//! The shapes that a thread keeps, by the names that they are of.

use std::cell::RefCell;
use std::mem;

use super::{Shape, each_decoded};
use crate::options::Limits;
use crate::parameters::{Names, Parameter, Parameters, beginning};
use crate::reason::Reason;
use crate::tree::{Path, Root, Tree};

/// So many are kept, each where its digest says; of two that belong there the later one.
const KEPT: usize = 64;

/// Only shapes of so many parameters, and of so many bytes of names, are kept: what is longer is hardly a template's.
const KEPT_PARAMETERS: usize = 128;
const KEPT_NAMES: usize = 2048;

/// Buffers, and what is kept.
struct Shapes {
    parts: Vec<Parameter>,
    tree: Tree,
    /// Of names that are not known.
    new: Shape,
    known: Vec<Known>,
    /// Where the shape is of the last query that began alike.
    guesses: [usize; KEPT],
}

/// A shape, and what it is the shape of.
#[derive(Default)]
struct Known {
    /// The digest of the names that were seen here last and not known. What is seen once only is not kept, so queries
    /// whose names are chosen at random cost no copies, and drive nothing away.
    seen: u64,
    names: Names,
    /// None where nothing is kept.
    limits: Option<Limits>,
    typed: bool,
    shape: Shape,
}

thread_local! {
    static SHAPES: RefCell<Shapes> = RefCell::new(Shapes {
        parts: Vec::new(),
        tree: Tree::default(),
        new: Shape::default(),
        known: std::iter::repeat_with(Known::default).take(KEPT).collect(),
        guesses: [0; KEPT],
    });
}

/// Splits a query and lends its shape.
pub(crate) fn with<'q, T>(
    query: &'q [u8],
    limits: &Limits,
    typed: bool,
    work: impl FnOnce(&Parameters<'q, '_>, &Shape) -> Result<T, Reason>,
) -> Result<T, Reason> {
    SHAPES.with_borrow_mut(|shapes| {
        let Shapes { parts, tree, new, known, guesses } = shapes;
        let guess = &mut guesses[place(beginning(query))];
        let guessed = &known[*guess];
        if guessed.is_for(limits, typed)
            && let Some(parameters) = guessed.names.split(query, parts)
        {
            return work(&parameters, &guessed.shape);
        }
        let parameters = Parameters::split(query, limits.parameters, parts).ok_or(Reason::TooManyParameters)?;
        *guess = place(parameters.digest);
        let known = &mut known[*guess];
        if known.is_for(limits, typed) && known.names.are_of(&parameters) {
            return work(&parameters, &known.shape);
        }
        new.read(tree, &parameters, limits.depth, typed);
        if !is_short(&parameters) {
            // Nor is a buffer kept that is as long.
            return work(&parameters, &mem::take(new));
        }
        if mem::replace(&mut known.seen, parameters.digest) != parameters.digest {
            return work(&parameters, new);
        }
        known.keep(&parameters, limits, typed, new);
        work(&parameters, &known.shape)
    })
}

/// The members of the parameters whose decoded name begins with `prefix`, as one JSON object (contract, section 3).
#[must_use]
pub fn nest(query: &[u8], prefix: &str, typed: bool) -> Vec<u8> {
    SHAPES.with_borrow_mut(|Shapes { parts, tree, new, .. }| {
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

impl Known {
    /// Whether it is one at all, and was made with the same settings.
    fn is_for(&self, limits: &Limits, typed: bool) -> bool {
        (self.limits, self.typed) == (Some(*limits), typed)
    }

    /// Takes a new shape's place, and gives it the old one's buffers.
    fn keep(&mut self, parameters: &Parameters<'_, '_>, limits: &Limits, typed: bool, new: &mut Shape) {
        (self.limits, self.typed) = (Some(*limits), typed);
        self.names.keep(parameters);
        mem::swap(&mut self.shape, new);
    }
}

/// Where a digest says that something is kept.
#[expect(clippy::cast_possible_truncation, reason = "less than KEPT")]
fn place(digest: u64) -> usize {
    (digest >> (u64::BITS - KEPT.ilog2())) as usize
}

fn is_short(parameters: &Parameters<'_, '_>) -> bool {
    parameters.len() <= KEPT_PARAMETERS && parameters.names().map(|name| name.bytes.len()).sum::<usize>() <= KEPT_NAMES
}
