//! The pure functions, and the conversion of queries and errors.

use std::borrow::Cow;

use pixelcore::client;
use pixelcore::collector::with_line;
use pixelcore::consent::Mode;
use pixelcore::event::Judged;
use pixelcore::notice::{self, Doubt};
use pixelcore::options::{Compat, Limits, Options};
use pixelcore::protect::Guard;
use pixelcore::query::form::{self, Raw};
use pixelcore::query::layout;
use pixelcore::reason::Reason;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyList, PyString, PyTuple, PyType};

use crate::protect::read_secret;

/// `str | bytes`.
#[derive(FromPyObject)]
pub enum Query<'py> {
    #[pyo3(transparent)]
    Text(Bound<'py, PyString>),
    #[pyo3(transparent)]
    Bytes(Bound<'py, PyBytes>),
}

impl Query<'_> {
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Bytes(bytes) => Cow::Borrowed(bytes.as_bytes()),
            Self::Text(text) => match text.to_cow() {
                Ok(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
                Ok(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
                // A lone surrogate, which UTF-8 cannot represent.
                Err(_) => Cow::Owned(scalar_values(text).into_bytes()),
            },
        }
    }
}

/// Each lone surrogate becomes one U+FFFD, like in the Web's `USVString`.
fn scalar_values(text: &Bound<'_, PyString>) -> String {
    let utf16 = text.call_method1("encode", ("utf-16-le", "surrogatepass"));
    let bytes: Vec<u8> = utf16.and_then(|bytes| bytes.extract()).unwrap_or_default();
    let units = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[pyfunction]
pub fn know_crawlers(list: &[u8], patterns: Vec<PyBackedStr>) -> PyResult<()> {
    let patterns: Vec<_> = patterns.iter().map(|pattern| &**pattern).collect();
    client::crawlers::know(list, &patterns).map_err(|error| PyValueError::new_err(error.to_string()))
}

#[pyfunction]
#[pyo3(signature = (r#type, query, compat = Vec::new()))]
pub fn ignored_names(r#type: &str, query: Query<'_>, compat: Vec<PyBackedStr>) -> PyResult<Vec<String>> {
    let options = Options { compat: read_compat(&compat)?, ..Options::default() };
    Ok(notice::ignored(r#type, &query.bytes(), &options))
}

#[pyfunction]
pub fn doubt(id: &str) -> Option<&'static str> {
    Doubt::about(id.as_bytes()).map(Doubt::as_str)
}

#[pyfunction]
pub fn take_ignored_names() -> Vec<String> {
    notice::take_ignored()
}

#[pyfunction]
pub fn pairs<'py>(py: Python<'py>, query: Query<'_>) -> PyResult<Bound<'py, PyList>> {
    let query = query.bytes();
    let mut decoded = Vec::new();
    let mut text = |raw: Raw<'_>| {
        if raw.plain {
            return PyString::from_bytes(py, raw.bytes);
        }
        decoded.clear();
        raw.decode_into(&query, &mut decoded);
        PyString::from_bytes(py, &decoded)
    };
    // The pairs are collected first, because a list of known length is filled without a call of `append` for each.
    let mut pairs = Vec::with_capacity(32);
    for (name, value) in form::pairs(&query) {
        pairs.push(PyTuple::new(py, [text(name)?, text(value)?])?);
    }
    PyList::new(py, pairs)
}

#[pyfunction]
#[pyo3(signature = (query, prefix = "p.", *, typed_values = false))]
pub fn nest<'py>(py: Python<'py>, query: Query<'_>, prefix: &str, typed_values: bool) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &layout::nest(&query.bytes(), prefix, typed_values))
}

#[pyfunction]
#[pyo3(signature = (
    r#type, query, *, ip = None, user_agent = None, referer = None, locale = None, gpc = None, dnt = None, purpose = None,
    received_at = None, typed_values = false, max_query_bytes = 8192, max_parameters = 256, max_depth = 32,
    compat = Vec::new(), secrets = Vec::new(), require_signature = false,
))]
#[expect(clippy::too_many_arguments, reason = "they are keywords")]
pub fn event<'py>(
    py: Python<'py>,
    r#type: &str,
    query: Query<'_>,
    ip: Option<&str>,
    user_agent: Option<&str>,
    referer: Option<&str>,
    locale: Option<&str>,
    gpc: Option<&str>,
    dnt: Option<&str>,
    purpose: Option<&str>,
    received_at: Option<Bound<'_, PyInt>>,
    typed_values: bool,
    max_query_bytes: usize,
    max_parameters: usize,
    max_depth: usize,
    compat: Vec<PyBackedStr>,
    secrets: Vec<PyBackedStr>,
    require_signature: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    let received_at = match received_at {
        None => UnixMillis::now(),
        Some(millis) => millis
            .extract()
            .ok()
            .and_then(UnixMillis::new)
            .ok_or_else(|| PyValueError::new_err("received_at must be Unix milliseconds before the year 10000"))?,
    };
    let purposes = [purpose, None, None, None];
    let request = Request { received_at, ip, user_agent, referer, locale, gpc, dnt, purposes, ..Request::default() };
    let limits = Limits { query_bytes: max_query_bytes, parameters: max_parameters, depth: max_depth };
    let compat = read_compat(&compat)?;
    let options = Options { limits, typed_values, compat, ..Options::default() };
    let secrets = secrets.iter().map(|text| read_secret(text)).collect::<PyResult<_>>()?;
    let guard = Guard::new(secrets, require_signature);
    let written = |line: &mut Vec<u8>| {
        pixelcore::event::write(line, r#type, &query.bytes(), &request, &options, |claim| {
            claim.settle(guard.as_ref()).map(|()| Judged::default())
        })
    };
    with_line(|line| match written(line) {
        // The mode of a URL may allow less than the event, which this function does not return.
        Ok(notices) if notices.mode != Mode::Individual => Ok(PyBytes::new(py, b"")),
        Ok(_) => Ok(PyBytes::new(py, line)),
        Err(refusal) => Err(rejected(py, refusal.reason)),
    })
}

/// Raises the `ValueError` of an unknown name.
pub fn read_compat(names: &[PyBackedStr]) -> PyResult<Compat> {
    Compat::of(names.iter().map(|name| &**name))
        .map_err(|name| PyValueError::new_err(format!("compat must be 'segment', 'rudderstack' or both, not '{name}'")))
}

pub fn rejected(py: Python<'_>, reason: Reason) -> PyErr {
    static REJECTED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    error(py, &REJECTED, "Rejected", reason.as_str().to_owned())
}

/// An exception of `pixelcore.errors`.
pub fn error(py: Python<'_>, class: &'static PyOnceLock<Py<PyType>>, name: &str, argument: String) -> PyErr {
    match class.import(py, "pixelcore.errors", name) {
        Ok(class) => PyErr::from_type(class.clone(), argument),
        Err(error) => error,
    }
}
