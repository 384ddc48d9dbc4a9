//! The class Buckets: the token buckets of the keys' rate limits, which all workers of a gateway share.

use std::path::PathBuf;

use pixelcore::keys::rate;
use pyo3::prelude::*;

use crate::mapping::map;

#[pyclass(frozen, module = "pixelcore._core")]
pub struct Buckets(pub rate::Buckets);

#[pymethods]
impl Buckets {
    #[new]
    #[pyo3(signature = (keys, path = None))]
    fn new(keys: usize, path: Option<PathBuf>) -> PyResult<Self> {
        Ok(Self(match path {
            Some(path) => rate::Buckets::in_file(&path, keys, map)?,
            None => rate::Buckets::in_memory(keys),
        }))
    }
}
