//! Why a request becomes no event (contract, section 5).

/// Where several apply, the first in this order is it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The last part of the path is none of the four types.
    UnknownType,
    /// The query is longer than [`Limits::query_bytes`](crate::options::Limits::query_bytes).
    QueryTooLong,
    /// The query has more parameters than [`Limits::parameters`](crate::options::Limits::parameters).
    TooManyParameters,
    /// With [`Compat`](crate::options::Compat): Segment's `data` is no base64 of a JSON object, or a member that means
    /// something has a value that means nothing.
    MalformedData,
    /// No `wk`, or an empty one.
    MissingKey,
    /// `wk` is not `[A-Za-z0-9_-]{1,64}`.
    MalformedKey,
    /// No pipeline has this key.
    UnknownKey,
    /// `enabled = false`.
    DisabledKey,
    /// The page that asks is on none of the key's domains.
    DomainNotAllowed,
    /// The key was used more often than its limit allows. Costs no token.
    RateLimited,
    /// A track request without `e`.
    MissingEvent,
    /// A path has more segments than [`Limits::depth`](crate::options::Limits::depth).
    TooDeep,
    /// No person looked, and such requests are not wanted.
    Automated,
}

impl Reason {
    /// All reasons, in order of precedence.
    pub const ALL: [Self; 13] = [
        Self::UnknownType,
        Self::QueryTooLong,
        Self::TooManyParameters,
        Self::MalformedData,
        Self::MissingKey,
        Self::MalformedKey,
        Self::UnknownKey,
        Self::DisabledKey,
        Self::DomainNotAllowed,
        Self::RateLimited,
        Self::MissingEvent,
        Self::TooDeep,
        Self::Automated,
    ];

    /// The contract's word for it; `malformed_data` and `automated` are ours.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown_type",
            Self::QueryTooLong => "query_too_long",
            Self::TooManyParameters => "too_many_parameters",
            Self::MalformedData => "malformed_data",
            Self::MissingKey => "missing_key",
            Self::MalformedKey => "malformed_key",
            Self::UnknownKey => "unknown_key",
            Self::DisabledKey => "disabled_key",
            Self::DomainNotAllowed => "domain_not_allowed",
            Self::RateLimited => "rate_limited",
            Self::MissingEvent => "missing_event",
            Self::TooDeep => "too_deep",
            Self::Automated => "automated",
        }
    }
}
