//! The class Committer: group commit for an event loop.

use std::sync::Arc;

use pixelcore::collector::Group;
use pixelcore::journal;
use pixelcore::reason::Reason;
use pyo3::prelude::*;

use crate::collector::{Collector, Who};
use crate::journal::raise;

#[pyclass(frozen, module = "pixelcore._core")]
pub struct Committer(journal::Committer<Group<Who>>);

/// The objects that waited, each with the reason of rejection if any.
type Waited = Vec<(Py<PyAny>, Option<&'static str>)>;

#[pymethods]
impl Committer {
    #[new]
    fn new(collector: &Collector) -> PyResult<Self> {
        let (gathers, flushes) = (Arc::clone(&collector.0), Arc::clone(&collector.0));
        Ok(Self(journal::Committer::start(move || gathers.take_group(), move |group| flushes.commit(group))?))
    }

    fn fileno(&self) -> i32 {
        self.0.descriptor()
    }

    fn ask(&self) {
        self.0.ask();
    }

    fn take(&self, py: Python<'_>) -> Vec<(Waited, f64, Option<PyErr>)> {
        let waited = |(who, reason): (Who, Option<Reason>)| Some((who?, reason.map(Reason::as_str)));
        self.0
            .take()
            .into_iter()
            .map(|flush| {
                let error = flush.outcome.err().map(|error| raise(py, &error));
                (flush.group.into_waiting().filter_map(waited).collect(), flush.took.as_secs_f64(), error)
            })
            .collect()
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }
}
