//! The options for reading requests, which may differ between gateways.

use std::num::NonZeroU32;

use crate::consent::Mode;

/// The options for reading requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The limits of a query.
    pub limits: Limits,
    /// Whether values that look like JSON literals are written as such.
    pub typed_values: bool,
    /// Whether `Sec-GPC: 1` leaves out the person: ip, userAgent, userId, anonymousId and traits.
    pub respect_gpc: bool,
    /// With [`respect_gpc`](Self::respect_gpc), the most that is kept of a request with `Sec-GPC: 1`.
    pub gpc: Mode,
    /// The length of a window of counts, in milliseconds; an hour if it is not set.
    pub window_ms: Option<NonZeroU32>,
    /// Whether requests of [automated](crate::client::Client::automated) clients are rejected.
    pub reject_automated: bool,
    /// The vendors whose pixel URLs are also accepted.
    pub compat: Compat,
}

/// The limits of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of the query.
    pub query_bytes: usize,
    /// The most non-empty sequences between `&`.
    pub parameters: usize,
    /// The most segments of a dotted name.
    pub depth: usize,
}

impl Default for Limits {
    /// The limits of the contract.
    fn default() -> Self {
        Self { query_bytes: 8192, parameters: 256, depth: 32 }
    }
}

/// The vendors whose pixel URLs are also accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compat {
    /// `data`, base64 of a JSON object, and the long names.
    pub segment: bool,
    /// The long names.
    pub rudderstack: bool,
}

impl Compat {
    /// Reads the names `segment` and `rudderstack`. The error is the first unknown name.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, &'n str> {
        let mut found = Self::default();
        for name in names {
            match name {
                "segment" => found.segment = true,
                "rudderstack" => found.rudderstack = true,
                _ => return Err(name),
            }
        }
        Ok(found)
    }

    /// Whether there is any vendor.
    #[must_use]
    pub fn any(self) -> bool {
        self.segment || self.rudderstack
    }
}
