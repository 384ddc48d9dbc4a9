//! `pixelcore._core`: conversions between Python and the core, nothing else. `_core.pyi` is its reference.

#![allow(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over by value")]

mod collector;
mod commit;
mod counters;
mod journal;
mod query;

#[pyo3::pymodule]
mod _core {
    use pixelcore::reason::Reason;
    use pixelcore::request::HEADERS;
    use pyo3::prelude::*;
    use pyo3::types::PyTuple;

    #[pymodule_export]
    use super::collector::{Collector, check_keys, check_proxies};
    #[pymodule_export]
    use super::commit::Committer;
    #[pymodule_export]
    use super::counters::Counters;
    #[pymodule_export]
    use super::journal::{Journal, JournalReader};
    #[pymodule_export]
    use super::query::{event, know_crawlers, nest, pairs};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("HEADERS", PyTuple::new(module.py(), HEADERS)?)?;
        module.add("REASONS", PyTuple::new(module.py(), Reason::ALL.map(Reason::as_str))?)?;
        module.add("__version__", pixelcore::VERSION)
    }
}
