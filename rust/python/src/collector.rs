//! The class Collector: what a request handler calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pixelcore::address::{IpPolicy, TrustedProxies};
use pixelcore::collector::{self, Group};
use pixelcore::counters;
use pixelcore::keys::Keys;
use pixelcore::keys::rate;
use pixelcore::options::{Limits, Options};
use pixelcore::reason::Reason;
use pixelcore::replay::Record;
use pixelcore::request::{HEADERS, Request};
use pixelcore::time::UnixMillis;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple, PyType};

use crate::counters::Counters;
use crate::journal::{Journal, detached, raise};
use crate::query::{error, read_compat, rejected};

#[pyclass(frozen, module = "pixelcore")]
pub struct Collector(pub Arc<collector::Collector<Who>>);

/// Who waits for a flush, if anybody does.
pub type Who = Option<Py<PyAny>>;

#[pymethods]
impl Collector {
    #[new]
    #[pyo3(signature = (
        events, rejections, counters = None, *, typed_values = false, max_query_bytes = 8192, max_parameters = 256, max_depth = 32,
        trusted_proxies = "", ip = "full", respect_gpc = false, reject_automated = false, compat = Vec::new(),
        group_commit = false,
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
        reject_automated: bool,
        compat: Vec<PyBackedStr>,
        group_commit: bool,
    ) -> PyResult<Self> {
        let limits = Limits { query_bytes: max_query_bytes, parameters: max_parameters, depth: max_depth };
        let compat = read_compat(&compat)?;
        let options = Options { limits, typed_values, respect_gpc, reject_automated, compat };
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
        Ok(Self(Arc::new(collector)))
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
        x_forwarded_for: Option<Vec<PyBackedStr>>,
        forwarded: Option<Vec<PyBackedStr>>,
        waiting: Who,
    ) -> PyResult<Option<&'static str>> {
        static FAULT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let mut values = [None; HEADERS.len()];
        for (value, header) in values.iter_mut().zip(0..headers.len()) {
            *value = headers.get_borrowed_item(header)?.extract()?;
        }
        let work = || {
            let ip = self.0.client_ip(peer, &lines(x_forwarded_for.as_deref()), &lines(forwarded.as_deref()));
            let request = Request::new(UnixMillis::now(), ip.as_deref(), &values);
            self.0.collect(r#type, query.as_bytes(), &request, waiting)
        };
        // A fault of ours must cost one request, not the worker.
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(reason)) => Ok(reason.map(Reason::as_str)),
            Ok(Err(error)) => Err(raise(py, &error)),
            Err(_) => {
                self.0.count_lost(r#type);
                Err(error(py, &FAULT, "PixelcoreError", "a panic in the core".to_owned()))
            }
        }
    }

    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.commit(&Group::default()))
    }

    fn replay<'py>(&self, py: Python<'py>, record: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let record = Record::parse(record).map_err(|error| PyValueError::new_err(error.to_string()))?;
        collector::with_line(|line| match self.0.judge_again(line, &record) {
            Ok(_) => Ok(PyBytes::new(py, line)),
            Err(reason) => Err(rejected(py, reason)),
        })
    }

    /// Parses without the GIL, since 100,000 keys take half a second.
    fn set_keys(&self, py: Python<'_>, toml: &str, share: f64) -> PyResult<usize> {
        py.detach(|| {
            let keys = Keys::parse(toml).map_err(|error| error.to_string())?;
            let count = keys.count();
            keys.set_shares(share, std::time::Duration::ZERO);
            self.0.set_keys(keys);
            Ok(count)
        })
        .map_err(PyValueError::new_err::<String>)
    }

    fn demand<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let demand = PyDict::new(py);
        self.0
            .with_keys(|keys, _| keys.demand().try_for_each(|(key, count)| demand.set_item(key, count)))
            .transpose()?;
        Ok(demand)
    }

    fn divide(&self, key: &str, mine: u64, others: Vec<u64>, seconds: f64) {
        self.0.with_keys(|keys, now| {
            if let Some(limit) = keys.limit(key) {
                keys.set_share(key, rate::share(mine, &others, limit * seconds), now);
            }
        });
    }

    fn set_shares(&self, share: f64) {
        self.0.with_keys(|keys, now| keys.set_shares(share, now));
    }
}

fn lines(header: Option<&[PyBackedStr]>) -> Vec<&str> {
    header.unwrap_or_default().iter().map(|line| &**line).collect()
}

fn proxies(list: &str) -> PyResult<TrustedProxies> {
    TrustedProxies::parse(list).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Raises the `ValueError` of a list that cannot be read.
#[pyfunction]
pub fn check_proxies(list: &str) -> PyResult<()> {
    proxies(list).map(drop)
}

/// The number of keys. Raises the `ValueError` of a file that cannot be read.
#[pyfunction]
pub fn check_keys(py: Python<'_>, toml: &str) -> PyResult<usize> {
    py.detach(|| Keys::parse(toml)).map(|keys| keys.count()).map_err(|error| PyValueError::new_err(error.to_string()))
}
