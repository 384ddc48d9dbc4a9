//! How requests are read: what may differ from one gateway to another.

/// How requests are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What a query may cost.
    pub limits: Limits,
    /// Whether values that are JSON literals become such.
    pub typed_values: bool,
    /// Whether `Sec-GPC: 1` leaves out who it was: ip, userAgent, userId, anonymousId and traits.
    pub respect_gpc: bool,
    /// Whether requests of [automated](crate::client::Client::automated) clients are rejected.
    pub reject_automated: bool,
    /// Whose pixel URLs are understood beside the native ones.
    pub compat: Compat,
}

/// What a query may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the query.
    pub query_bytes: usize,
    /// Sequences between `&` that are not empty.
    pub parameters: usize,
    /// Segments of a dotted path.
    pub depth: usize,
}

impl Default for Limits {
    /// Those of the contract.
    fn default() -> Self {
        Self { query_bytes: 8192, parameters: 256, depth: 32 }
    }
}

/// Whose pixel URLs are understood beside the native ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compat {
    /// `data`, base64 of a JSON object, and the long names.
    pub segment: bool,
    /// The long names.
    pub rudderstack: bool,
}

impl Compat {
    /// Reads names, of which there are `segment` and `rudderstack`. The error is the first that is none of them.
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

    /// Whether there is any.
    #[must_use]
    pub fn any(self) -> bool {
        self.segment || self.rudderstack
    }
}
