//! The classes `Journal` and `JournalReader`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pixelcore::journal::{Batch, Error, Journal as Writer, Reader, WhenFull};
use pixelcore::time::UnixMillis;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyType};

use crate::query::error;

pub fn raise(py: Python<'_>, cause: &Error) -> PyErr {
    static FULL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static OTHER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match cause {
        Error::Full(_) => error(py, &FULL, "JournalFull", cause.to_string()),
        _ => error(py, &OTHER, "JournalError", cause.to_string()),
    }
}

/// Runs work without the GIL, because it may wait for a device.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    py.detach(work).map_err(|error| raise(py, &error))
}

#[pyclass(frozen, module = "pixelcore")]
pub struct Journal(pub Arc<Writer>);

#[pymethods]
impl Journal {
    #[new]
    #[pyo3(signature = (root, *, segment_bytes = 67_108_864, max_bytes = 10_737_418_240, when_full = "refuse"))]
    fn new(py: Python<'_>, root: PathBuf, segment_bytes: u64, max_bytes: u64, when_full: &str) -> PyResult<Self> {
        let when_full = match when_full {
            "refuse" => WhenFull::Refuse,
            "drop_oldest" => WhenFull::DropOldest,
            _ => return Err(PyValueError::new_err("when_full must be 'refuse' or 'drop_oldest'")),
        };
        detached(py, || Writer::new(&root, segment_bytes, max_bytes, when_full)).map(|writer| Self(Arc::new(writer)))
    }

    #[getter]
    fn id(&self) -> String {
        self.0.id()
    }

    #[getter]
    fn path(&self) -> String {
        self.0.directory().to_string_lossy().into_owned()
    }

    #[getter]
    fn end(&self) -> u64 {
        self.0.end()
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    fn append(&self, py: Python<'_>, line: &[u8]) -> PyResult<u64> {
        self.0.append(line).map_err(|error| raise(py, &error))
    }

    fn sync(&self, py: Python<'_>) -> PyResult<u64> {
        detached(py, || self.0.sync())
    }

    fn measure(&self, py: Python<'_>) -> PyResult<u64> {
        detached(py, || self.0.measure())
    }

    fn repair(&self, py: Python<'_>) -> PyResult<Option<String>> {
        detached(py, || self.0.repair())
    }

    fn renew(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.renew())
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.close())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _exc_type: Option<Py<PyAny>>,
        _exc: Option<Py<PyAny>>,
        _traceback: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        self.close(py)
    }
}

#[pyclass(frozen, module = "pixelcore")]
pub struct JournalReader(Mutex<Reader>);

impl JournalReader {
    /// Runs `work` on the reader without the GIL.
    fn with<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Reader) -> Result<T, Error> + Send) -> PyResult<T> {
        detached(py, || work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn read(&self, py: Python<'_>, max_events: usize, max_bytes: usize) -> PyResult<Batch> {
        self.with(py, |reader| reader.read(max_events, max_bytes))
    }
}

#[pymethods]
impl JournalReader {
    #[new]
    #[pyo3(signature = (path, offset = 0))]
    fn new(path: PathBuf, offset: u64) -> Self {
        Self(Mutex::new(Reader::new(path, offset)))
    }

    #[getter]
    fn live(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |reader| Ok(reader.is_live()))
    }

    #[getter]
    fn offset(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |reader| Ok(reader.offset()))
    }

    #[getter]
    fn torn(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |reader| Ok(reader.torn()))
    }

    #[getter]
    fn corrupt(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |reader| Ok(reader.corrupt()))
    }

    #[getter]
    fn missing(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |reader| Ok(reader.missing()))
    }

    #[pyo3(signature = (max_events = 1000, max_bytes = 1_048_576))]
    fn messages<'py>(&self, py: Python<'py>, max_events: usize, max_bytes: usize) -> PyResult<Bound<'py, PyList>> {
        let batch = self.read(py, max_events, max_bytes)?;
        let now = UnixMillis::now().millis();
        PyList::new(
            py,
            batch.iter().map(|message| {
                let key = message.key.map(|key| PyBytes::new(py, key.as_bytes()));
                // Brokers refuse records from the future, and a clock that was set back must not stop the journal.
                let timestamp = message.received_at.map_or(now, |millis| millis.min(now));
                (PyBytes::new(py, message.line), key, timestamp, message.pipeline)
            }),
        )
    }

    #[pyo3(signature = (max_events = 1000, max_bytes = 1_048_576))]
    fn lines<'py>(&self, py: Python<'py>, max_events: usize, max_bytes: usize) -> PyResult<Bound<'py, PyList>> {
        let batch = self.read(py, max_events, max_bytes)?;
        PyList::new(py, batch.iter().map(|message| PyBytes::new(py, message.line)))
    }

    #[pyo3(signature = (max_events = 1000, max_bytes = 1_048_576))]
    fn records<'py>(&self, py: Python<'py>, max_events: usize, max_bytes: usize) -> PyResult<Bound<'py, PyList>> {
        let batch = self.read(py, max_events, max_bytes)?;
        let lines = batch.iter().map(|message| PyBytes::new(py, message.line));
        PyList::new(py, batch.offsets().zip(lines).collect::<Vec<_>>())
    }

    fn seek(&self, py: Python<'_>, offset: u64) -> PyResult<()> {
        self.with(py, |reader| {
            reader.seek(offset);
            Ok(())
        })
    }

    fn wait(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<bool> {
        self.with(py, |reader| reader.wait(Duration::from_millis(timeout_ms)))
    }

    fn finished(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, Reader::finished)
    }

    #[pyo3(signature = (offset, older_than_ms = 0))]
    fn delete_before(&self, py: Python<'_>, offset: u64, older_than_ms: u64) -> PyResult<usize> {
        self.with(py, |reader| reader.delete_before(offset, Duration::from_millis(older_than_ms)))
    }

    fn delete_journal(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |reader| reader.delete_journal())
    }
}
