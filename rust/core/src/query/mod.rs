//! A query: splitting and decoding it, what its names mean, and the JSON that its dotted names nest to (contract, sections 2
//! and 3). Knows nothing of headers, keys, limits of a pipeline or journals.
//!
//! [`form`] splits and decodes, `parameters` keeps where each parameter is, `fields` has the reserved names, `tree` nests dotted
//! names, and [`layout`] caches what the names of a template say.

pub(crate) mod fields;
pub mod form;
pub mod layout;
mod parameters;
mod tree;
