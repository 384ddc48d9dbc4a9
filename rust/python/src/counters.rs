//! The counters, and the one mapping of memory.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use memmap2::MmapRaw;
use pixelcore::counters;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

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
    let mapping = MmapRaw::map_raw(&file)?;
    let end = offset.saturating_add(count.saturating_mul(size_of::<AtomicU64>()));
    if !offset.is_multiple_of(align_of::<AtomicU64>()) || end > mapping.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let first = mapping.as_mut_ptr().wrapping_add(offset);
    // Neither is ever let go of: the words are counted in, and the lock is held, as long as the process lives.
    std::mem::forget((mapping, file));
    // SAFETY: the words lie within the mapping and are aligned, since a mapping begins at a page; both was checked.
    // The mapping is never undone, so 'static holds. Any bits are a u64, and other processes only read them. Atomics
    // may change under a shared reference. Whoever cuts the file short stops this process with SIGBUS: the file
    // is made by this process, in the gateway's own directory, where nobody does that.
    #[expect(clippy::cast_ptr_alignment, reason = "checked above")]
    let words = unsafe { slice::from_raw_parts(first.cast::<AtomicU64>(), count) };
    Ok(words)
}
