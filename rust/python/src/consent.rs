//! The classes of the consent list: look-ups, changes, and the keys of persons.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pixelcore::consent::ceilings::{self, Ceiling, Person};
use pixelcore::consent::{Malformed, Record, Secrets, Writer};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyList};

use crate::mapping::map;

#[pyclass(frozen, module = "pixelcore._core")]
pub struct Ceilings(pub Arc<ceilings::Ceilings>);

#[pymethods]
impl Ceilings {
    #[new]
    #[pyo3(signature = (directory, secrets, max_age = None))]
    fn new(directory: PathBuf, secrets: &str, max_age: Option<Duration>) -> PyResult<Self> {
        Ok(Self(Arc::new(ceilings::Ceilings::new(&directory, read(secrets)?, max_age, map))))
    }

    fn refresh(&self, py: Python<'_>) {
        py.detach(|| self.0.refresh());
    }

    fn ceiling(
        &self,
        scope: &str,
        kind: &str,
        id: &[u8],
    ) -> PyResult<(&'static str, Option<&'static str>, Option<u64>)> {
        Ok(match self.0.ceiling(scope, person(kind)?, id) {
            Ceiling::Of { mode, since } => ("of", Some(mode.as_str()), Some(since)),
            Ceiling::Stale { mode, since } => ("stale", Some(mode.as_str()), Some(since)),
            Ceiling::Unknown => ("unknown", None, None),
            Ceiling::Unreadable => ("unreadable", None, None),
        })
    }

    fn withholds(&self, py: Python<'_>, scope: &str, kind: &str, line: &[u8]) -> PyResult<bool> {
        let kind = person(kind)?;
        Ok(py.detach(|| self.0.withholds(scope, kind, line)))
    }

    #[getter]
    fn heard(&self) -> u64 {
        self.0.heard()
    }

    #[getter]
    fn count(&self) -> usize {
        self.0.count()
    }

    #[getter]
    fn key_ids(&self) -> Vec<(String, bool)> {
        self.0.key_ids()
    }
}

#[pyclass(frozen, module = "pixelcore._core")]
pub struct CeilingsWriter(Mutex<Writer>);

impl CeilingsWriter {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record of the topic: its key, its value, and Kafka's time of it.
type Sent = (Option<PyBackedBytes>, Option<PyBackedBytes>, Option<u64>);

/// The number of malformed records, the error of the last one, and the pairs of key id and scope that are new.
type Applied = (usize, Option<&'static str>, Vec<(String, String)>);

#[pymethods]
impl CeilingsWriter {
    #[new]
    fn new(py: Python<'_>, directory: PathBuf) -> PyResult<Self> {
        Ok(Self(Mutex::new(py.detach(|| Writer::open(&directory, map))?)))
    }

    #[getter]
    fn damaged(&self) -> bool {
        self.writer().has_replaced_a_damaged_one()
    }

    /// Reads and applies without the GIL.
    fn apply(&self, py: Python<'_>, records: Vec<Sent>) -> PyResult<Applied> {
        py.detach(|| {
            let (mut read, mut malformed, mut why) = (Vec::with_capacity(records.len()), 0, None);
            for (key, value, written_at) in &records {
                match Record::parse(key.as_deref().unwrap_or_default(), value.as_deref(), *written_at) {
                    Ok(record) => read.push(record),
                    Err(error) => (malformed, why) = (malformed + 1, Some(Malformed::as_str(error))),
                }
            }
            let scopes = self.writer().apply(&read)?.new_scopes;
            Ok((malformed, why, scopes.into_iter().map(|(id, scope)| (id.to_string(), scope)).collect()))
        })
    }

    fn offsets(&self, py: Python<'_>, topic: u128) -> PyResult<Vec<u64>> {
        Ok(py.detach(|| self.writer().offsets(topic))?)
    }

    fn begin(&self, py: Python<'_>, topic: u128) -> PyResult<()> {
        Ok(py.detach(|| self.writer().begin(topic))?)
    }

    fn sync(&self, py: Python<'_>, offsets: Vec<(usize, u64)>) -> PyResult<()> {
        Ok(py.detach(|| self.writer().sync(&offsets))?)
    }

    fn heard(&self, py: Python<'_>, millis: u64) -> PyResult<()> {
        Ok(py.detach(|| self.writer().heard(millis))?)
    }
}

/// The keys of persons' records, made with the first of the secrets.
#[pyfunction]
pub fn consent_keys<'py>(
    py: Python<'py>,
    secrets: &str,
    scope: &str,
    kind: &str,
    ids: Vec<PyBackedBytes>,
) -> PyResult<Bound<'py, PyList>> {
    let (secrets, kind) = (read(secrets)?, person(kind)?);
    let keys: Vec<_> = py.detach(|| secrets.record_keys(scope, kind, ids.iter().map(|id| &**id)).collect());
    PyList::new(py, keys.iter().map(|key: &String| PyBytes::new(py, key.as_bytes())))
}

/// The ids of secrets. Raises the `ValueError` of a malformed text.
#[pyfunction]
pub fn consent_key_ids(secrets: PyBackedStr) -> PyResult<Vec<String>> {
    Ok(read(&secrets)?.ids().map(|id| id.to_string()).collect())
}

fn read(secrets: &str) -> PyResult<Secrets> {
    Secrets::parse(secrets).map_err(PyValueError::new_err)
}

fn person(kind: &str) -> PyResult<Person> {
    Person::parse(kind).ok_or_else(|| PyValueError::new_err("kind must be 'uid' or 'aid'"))
}
