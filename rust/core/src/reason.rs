//! The reasons of rejection (contract, section 5).

/// A reason of rejection. If several apply, the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The last part of the path is not one of the four types.
    UnknownType,
    /// The query is longer than [`Limits::query_bytes`](crate::options::Limits::query_bytes).
    QueryTooLong,
    /// The query has more parameters than [`Limits::parameters`](crate::options::Limits::parameters).
    TooManyParameters,
    /// With [`Compat`](crate::options::Compat): Segment's `data` is not base64 of a JSON object, or a known member has
    /// an unusable value.
    MalformedData,
    /// No `wk`, or an empty one.
    MissingKey,
    /// `wk` is not `[A-Za-z0-9_-]{1,64}`.
    MalformedKey,
    /// No pipeline has this key.
    UnknownKey,
    /// `enabled = false`.
    DisabledKey,
    /// The page that loads the image is not on one of the key's domains.
    DomainNotAllowed,
    /// The query was not signed or sealed with a secret of its pipeline, or was changed afterwards.
    BadSignature,
    /// The query is neither signed nor sealed, but its pipeline requires it.
    Unsigned,
    /// The key was used more often than its limit allows. A rejected request takes no token.
    RateLimited,
    /// A name or a value looks like a mail address, which the pipeline refuses.
    AddressInUrl,
    /// A track request without `e`.
    MissingEvent,
    /// A path has more segments than [`Limits::depth`](crate::options::Limits::depth).
    TooDeep,
    /// A program fetched the image without a person, and such requests are rejected.
    Automated,
}

impl Reason {
    /// All reasons, in order of precedence.
    pub const ALL: [Self; 16] = [
        Self::UnknownType,
        Self::QueryTooLong,
        Self::TooManyParameters,
        Self::MalformedData,
        Self::MissingKey,
        Self::MalformedKey,
        Self::UnknownKey,
        Self::DisabledKey,
        Self::DomainNotAllowed,
        Self::BadSignature,
        Self::Unsigned,
        Self::RateLimited,
        Self::AddressInUrl,
        Self::MissingEvent,
        Self::TooDeep,
        Self::Automated,
    ];

    /// The contract's word for it. `malformed_data`, `automated` and `address_in_url` are pixelcore's own.
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
            Self::BadSignature => "bad_signature",
            Self::Unsigned => "unsigned",
            Self::RateLimited => "rate_limited",
            Self::MissingEvent => "missing_event",
            Self::TooDeep => "too_deep",
            Self::Automated => "automated",
            Self::AddressInUrl => "address_in_url",
        }
    }
}
