//! The class Committer.

use std::sync::Arc;

use pixelcore::journal;
use pyo3::prelude::*;

use crate::collector::Collector;
use crate::journal::raise;

#[pyclass(frozen, module = "pixelcore._core")]
pub struct Committer(journal::Committer<Py<PyAny>>);

#[pymethods]
impl Committer {
    #[new]
    fn new(collector: &Collector) -> PyResult<Self> {
        let collector = Arc::clone(&collector.0);
        Ok(Self(journal::Committer::start(move || collector.commit())?))
    }

    fn fileno(&self) -> i32 {
        self.0.descriptor()
    }

    fn wait(&self, who: Py<PyAny>) {
        self.0.wait(who);
    }

    fn take(&self, py: Python<'_>) -> Vec<(Vec<Py<PyAny>>, f64, Option<PyErr>)> {
        let ended = self.0.take().into_iter();
        ended
            .map(|flush| (flush.waited, flush.took.as_secs_f64(), flush.outcome.err().map(|error| raise(py, &error))))
            .collect()
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }
}
