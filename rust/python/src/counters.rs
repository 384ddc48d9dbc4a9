//! The class Counters: named counters, in a file or in memory.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use pixelcore::counters;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

use crate::mapping;

#[pyclass(frozen, module = "pixelcore._core")]
pub struct Counters(pub Arc<counters::Counters>);

#[pymethods]
impl Counters {
    #[new]
    #[pyo3(signature = (names = Vec::new(), path = None))]
    fn new(names: Vec<String>, path: Option<PathBuf>) -> PyResult<Self> {
        let counters = match path {
            Some(path) => counters::Counters::in_file(&path, &names, map)?,
            None => counters::Counters::in_memory(&names),
        };
        Ok(Self(Arc::new(counters)))
    }

    #[pyo3(signature = (name, by = 1))]
    fn add(&self, name: &str, by: u64) -> PyResult<()> {
        known(name, self.0.add(name, by))
    }

    fn set(&self, name: &str, value: u64) -> PyResult<()> {
        known(name, self.0.set(name, value))
    }

    fn outcomes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.0.outcomes().into_py_dict(py)
    }

    fn slots<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.0.iter().into_py_dict(py)
    }
}

fn known(name: &str, found: bool) -> PyResult<()> {
    if found { Ok(()) } else { Err(PyKeyError::new_err(name.to_owned())) }
}

/// Maps `count` words of a file from `offset` on, for the rest of the process's life.
fn map(file: File, offset: usize, count: usize) -> io::Result<&'static [AtomicU64]> {
    // Both are leaked, because the words are in use and the lock is held until the process ends.
    let words: &'static [AtomicU64] = Box::leak(mapping::map(&file)?);
    std::mem::forget(file);
    let first = offset / size_of::<AtomicU64>();
    let range = first..first.saturating_add(count);
    words.get(range).filter(|_| offset.is_multiple_of(size_of::<AtomicU64>())).ok_or(io::ErrorKind::InvalidInput.into())
}
