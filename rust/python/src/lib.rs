//! `pixelcore._core`: conversions between Python and the core, and the mapping of memory. It makes no decisions.
//! `_core.pyi` is its reference.

#![allow(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over by value")]

mod allocator;
mod buckets;
mod collector;
mod commit;
mod consent;
mod counters;
mod journal;
mod mapping;
mod protect;
mod query;
mod scheduling;

#[pyo3::pymodule]
mod _core {
    use pixelcore::reason::Reason;
    use pixelcore::request::HEADERS;
    use pyo3::prelude::*;
    use pyo3::types::PyTuple;

    #[pymodule_export]
    use super::allocator::release_memory;
    #[pymodule_export]
    use super::buckets::Buckets;
    #[pymodule_export]
    use super::collector::{Collector, check_keys, check_proxies, key_terms, key_topics};
    #[pymodule_export]
    use super::commit::Committer;
    #[pymodule_export]
    use super::consent::{Ceilings, CeilingsWriter, consent_key_ids, consent_keys};
    #[pymodule_export]
    use super::counters::Counters;
    #[pymodule_export]
    use super::journal::{Journal, JournalReader};
    #[pymodule_export]
    use super::protect::{seal, sign};
    #[pymodule_export]
    use super::query::{doubt, event, ignored_names, know_crawlers, nest, pairs, take_ignored_names};
    #[pymodule_export]
    use super::scheduling::set_slice;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("HEADERS", PyTuple::new(module.py(), HEADERS)?)?;
        module.add("REASONS", PyTuple::new(module.py(), Reason::ALL.map(Reason::as_str))?)?;
        module.add("__version__", pixelcore::VERSION)
    }
}
