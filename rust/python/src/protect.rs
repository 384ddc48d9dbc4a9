//! Signing and sealing, for building URLs.

use pixelcore::protect::{self, Secret};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::query::Query;

/// Raises the `ValueError` of a weak secret, without any part of it.
pub fn read_secret(text: &str) -> PyResult<Secret> {
    Secret::new(text).map_err(|weak| PyValueError::new_err(format!("secret: it {weak}")))
}

#[pyfunction]
pub fn sign(r#type: &str, query: Query<'_>, secret: &str) -> PyResult<String> {
    Ok(protect::sign(&read_secret(secret)?, r#type, &query.bytes()))
}

#[pyfunction]
pub fn seal(r#type: &str, key: &str, query: Query<'_>, secret: &str, nonce: [u8; 12]) -> PyResult<String> {
    Ok(protect::seal(&read_secret(secret)?, r#type, key.as_bytes(), &query.bytes(), nonce))
}
