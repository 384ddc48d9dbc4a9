//! Reads a query: splits and decodes it, interprets its names, and nests dotted names into JSON (contract, sections 2
//! and 3).
//!
//! - [`form`] splits and decodes. `parameters` keeps the place of each parameter.
//! - `fields` has the reserved names. `tree` nests dotted names.
//! - [`layout`] caches the interpretation of a template's names.
//!
//! No input is an error, and no depth can exhaust the stack. This module does not know headers, keys, pipelines or
//! journals.

pub(crate) mod fields;
pub mod form;
pub mod layout;
pub(crate) mod parameters;
mod tree;
