//! The class Collector, which a request handler calls.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pixelcore::address::{IpPolicy, TrustedProxies};
use pixelcore::collector::{self, Group};
use pixelcore::consent::{Journals, Mode, Terms};
use pixelcore::counters;
use pixelcore::keys::Keys;
use pixelcore::options::{Limits, Options};
use pixelcore::reason::Reason;
use pixelcore::replay::Record;
use pixelcore::request::{HEADERS, Request, Unreadable};
use pixelcore::text;
use pixelcore::time::UnixMillis;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple, PyType};

use crate::buckets::Buckets;
use crate::consent::Ceilings;
use crate::counters::Counters;
use crate::journal::{Journal, detached, raise};
use crate::query::{error, read_compat, rejected};

#[pyclass(frozen, module = "pixelcore")]
pub struct Collector(pub Arc<collector::Collector<Who>>);

/// The object that waits for a flush, if any.
pub type Who = Option<Py<PyAny>>;

#[pymethods]
impl Collector {
    #[new]
    #[pyo3(signature = (
        events, rejections, counters = None, *, typed_values = false, max_query_bytes = 8192, max_parameters = 256, max_depth = 32,
        trusted_proxies = "", ip = "full", respect_gpc = false, gpc = "individual", reject_automated = false,
        compat = Vec::new(), group_commit = false, openings = None, loads = None, window_ms = 3_600_000,
    ))]
    #[expect(clippy::too_many_arguments, clippy::fn_params_excessive_bools, reason = "they are keywords")]
    fn new(
        events: &Journal,
        rejections: &Journal,
        counters: Option<&Counters>,
        typed_values: bool,
        max_query_bytes: usize,
        max_parameters: usize,
        max_depth: usize,
        trusted_proxies: &str,
        ip: &str,
        respect_gpc: bool,
        gpc: &str,
        reject_automated: bool,
        compat: Vec<PyBackedStr>,
        group_commit: bool,
        openings: Option<&Journal>,
        loads: Option<&Journal>,
        window_ms: u32,
    ) -> PyResult<Self> {
        let limits = Limits { query_bytes: max_query_bytes, parameters: max_parameters, depth: max_depth };
        let compat = read_compat(&compat)?;
        let gpc = Mode::parse(gpc.as_bytes()).ok_or_else(|| PyValueError::new_err("gpc must be a mode"))?;
        let window_ms = NonZeroU32::new(window_ms);
        let options = Options { limits, typed_values, respect_gpc, gpc, window_ms, reject_automated, compat };
        let journal = |given: Option<&Journal>| given.map(|journal| Arc::clone(&journal.0));
        let reduced = Journals { openings: journal(openings), loads: journal(loads), ..Journals::default() };
        let ip = match ip {
            "full" => IpPolicy::Full,
            "truncated" => IpPolicy::Truncated,
            "none" => IpPolicy::None,
            _ => return Err(PyValueError::new_err("ip must be 'full', 'truncated' or 'none'")),
        };
        let (events, rejections) = (Arc::clone(&events.0), Arc::clone(&rejections.0));
        let proxies = proxies(trusted_proxies)?;
        let counters =
            counters.map_or_else(|| Arc::new(counters::Counters::in_memory(&[])), |shared| Arc::clone(&shared.0));
        let collector = collector::Collector::new(events, rejections, options, proxies, ip, counters, group_commit);
        Ok(Self(Arc::new(collector.with_reduced(reduced))))
    }

    #[pyo3(signature = (r#type, query, peer, headers, x_forwarded_for = None, forwarded = None, waiting = None))]
    #[expect(clippy::too_many_arguments, reason = "one call instead of an object a request")]
    fn collect(
        &self,
        py: Python<'_>,
        r#type: &str,
        query: &str,
        peer: &str,
        headers: &Bound<'_, PyTuple>,
        x_forwarded_for: Option<Vec<Header>>,
        forwarded: Option<Vec<Header>>,
        waiting: Who,
    ) -> PyResult<Option<&'static str>> {
        static FAULT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let mut values: [Option<&str>; HEADERS.len()] = [None; HEADERS.len()];
        let (mut decoded, mut unreadable) = (Vec::new(), Unreadable::default());
        for (header, value) in values.iter_mut().enumerate().take(headers.len()) {
            let sent = headers.get_borrowed_item(header)?;
            if sent.is_instance_of::<PyString>() {
                *value = Some(sent.extract()?);
            } else if sent.is_instance_of::<PyBytes>() {
                decoded.push((header, text::of_header(sent.extract()?)));
            } else if !sent.is_none() {
                unreadable.add(header);
            }
        }
        for (header, text) in &decoded {
            values[*header] = Some(text);
        }
        let proxies = [&x_forwarded_for, &forwarded].map(|lines| lines.as_deref().unwrap_or_default());
        for (at, lines) in proxies.iter().enumerate() {
            if lines.iter().any(|line| line.text().is_none()) {
                unreadable.add(HEADERS.len() + at);
            }
        }
        let work = || {
            let [listed, forwarded] = proxies.map(|lines| lines.iter().map(Header::text).collect::<Vec<_>>());
            let ip = self.0.client_ip(peer, &listed, &forwarded);
            let request = Request { unreadable, ..Request::new(UnixMillis::now(), ip.as_deref(), &values) };
            self.0.collect(r#type, query.as_bytes(), &request, waiting)
        };
        // A defect of pixelcore must cost one request and not the worker.
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(reason)) => Ok(reason.map(Reason::as_str)),
            Ok(Err(error)) => Err(raise(py, &error)),
            Err(_) => {
                self.0.count_lost(r#type);
                Err(error(py, &FAULT, "PixelcoreError", "a panic in the core".to_owned()))
            }
        }
    }

    #[getter]
    fn refused(&self) -> u64 {
        self.0.refused()
    }

    fn turn(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.turn(UnixMillis::now()))
    }

    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.commit(&Group::default()))
    }

    #[pyo3(signature = (record, r#type = None))]
    fn replay<'py>(&self, py: Python<'py>, record: &[u8], r#type: Option<&str>) -> PyResult<Bound<'py, PyBytes>> {
        let record = Record::parse(record).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let record = if let Some(kind) = r#type { record.with_type(kind) } else { record };
        collector::with_line(|line| match self.0.judge_again(line, &record) {
            Ok(_) => Ok(PyBytes::new(py, line)),
            Err(reason) => Err(rejected(py, reason)),
        })
    }

    /// Parses without the GIL, because 100,000 keys take half a second.
    #[pyo3(signature = (toml, buckets = None))]
    fn set_keys(&self, py: Python<'_>, toml: &str, buckets: Option<&Buckets>) -> PyResult<Option<usize>> {
        let buckets = buckets.map(|buckets| buckets.0.clone());
        py.detach(|| {
            let mut keys = Keys::parse(toml).map_err(|error| error.to_string())?;
            if buckets.is_some_and(|buckets| !keys.use_buckets(buckets)) {
                return Ok(None);
            }
            let count = keys.count();
            self.0.set_keys(keys);
            Ok(Some(count))
        })
        .map_err(PyValueError::new_err::<String>)
    }

    #[pyo3(signature = (ceilings))]
    fn set_ceilings(&self, ceilings: Option<&Ceilings>) {
        self.0.set_ceilings(ceilings.map(|ceilings| Arc::clone(&ceilings.0)));
    }
}

/// A line of a header from the server: `str | bytes`, or anything else for an unreadable line.
pub struct Header(Option<String>);

impl Header {
    fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl<'py> FromPyObject<'_, 'py> for Header {
    type Error = PyErr;

    fn extract(line: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = line.cast::<PyString>() {
            return Ok(Self(Some(text.to_str()?.to_owned())));
        }
        Ok(Self(line.cast::<PyBytes>().ok().map(|bytes| text::of_header(bytes.as_bytes()).into_owned())))
    }
}

fn proxies(list: &str) -> PyResult<TrustedProxies> {
    TrustedProxies::parse(list).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Raises the `ValueError` of a malformed list.
#[pyfunction]
pub fn check_proxies(list: &str) -> PyResult<()> {
    proxies(list).map(drop)
}

/// The number of keys. Raises the `ValueError` of a malformed file.
#[pyfunction]
pub fn check_keys(py: Python<'_>, toml: &str) -> PyResult<usize> {
    py.detach(|| Keys::parse(toml)).map(|keys| keys.count()).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The terms of a pipeline: `(max, default, consent, unknown, scope, properties, minimum, refuse_addresses)`.
pub type Kept<'k> = (&'k str, Option<&'k str>, Option<&'k str>, &'k str, &'k str, Vec<&'k str>, u64, bool);

/// The terms of each pipeline, by id. Raises the `ValueError` of a malformed file.
#[pyfunction]
pub fn key_terms<'py>(py: Python<'py>, toml: &str) -> PyResult<Bound<'py, PyDict>> {
    let keys = py.detach(|| Keys::parse(toml)).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let (found, unsaid) = (PyDict::new(py), Terms::default());
    for (id, terms) in keys.terms() {
        let terms = terms.as_deref().unwrap_or(&unsaid);
        let lookup = terms.lookup.as_ref();
        let kind = lookup.map(|lookup| lookup.kind.as_str());
        let kept: Kept<'_> = (
            terms.max.as_str(),
            terms.default.map(Mode::as_str),
            kind,
            lookup.map_or("", |lookup| lookup.unknown.as_str()),
            lookup.map_or("", |lookup| &*lookup.scope),
            terms.properties.iter().map(|path| &**path).collect(),
            terms.minimum,
            terms.refuse_addresses,
        );
        found.set_item(&**id, kept)?;
    }
    Ok(found)
}

/// The topics of pipelines with their own topic, by id. Raises the `ValueError` of a malformed file.
#[pyfunction]
pub fn key_topics(py: Python<'_>, toml: &str) -> PyResult<BTreeMap<String, String>> {
    let keys = py.detach(|| Keys::parse(toml)).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(keys.topics().clone())
}
