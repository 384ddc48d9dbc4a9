//! Signed and sealed queries (contract, section 8). A signature proves that the author of a URL has a secret of the
//! pipeline. A seal also prevents others from reading it.
//!
//! `secret` has a secret and its derived keys, `parameters` the signed form of a query, and `seal` the contents of `x`.
//! A [`Claim`] is a request's proof, and a [`Guard`] is a pipeline's requirement. No error contains a secret or a part
//! of it.

mod parameters;
mod seal;
mod secret;

pub(crate) use secret::check;
pub use secret::{Secret, WeakSecret};

use std::mem;

use crate::reason::Reason;
use parameters::{Parameters, Role};

/// A pipeline's requirement for its URLs.
pub struct Guard {
    /// At least one secret. All of them are valid, so that one can replace another.
    secrets: Box<[Secret]>,
    /// Whether a query that is neither signed nor sealed is rejected.
    required: bool,
}

impl Guard {
    /// The guard; None if there are no secrets, so that there is nothing to check.
    #[must_use]
    pub fn new(secrets: Vec<Secret>, required: bool) -> Option<Self> {
        (!secrets.is_empty()).then(|| Self { secrets: secrets.into(), required })
    }
}

/// How an accepted query was protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// Its pipeline has no secrets.
    #[default]
    None,
    /// Its pipeline has secrets and does not require them.
    Unsigned,
    /// It is signed with a secret.
    Signed,
    /// It is sealed with a secret, so nobody else could read it.
    Sealed,
}

/// A request's claim: its key, its `s` and its `x`.
pub struct Claim<'q> {
    kind: &'q str,
    query: &'q [u8],
    key: &'q [u8],
    /// Whether there is an `s` or an `x`.
    is_made: bool,
    verdict: Verdict,
}

/// The verdict on a claim.
pub(crate) enum Verdict {
    /// The query counts as it is.
    Open(Protection),
    /// This query counts instead: the key, the sealed parameters, and the free ones next to the seal.
    Sealed(Vec<u8>),
}

impl<'q> Claim<'q> {
    #[inline]
    pub(crate) fn new(kind: &'q str, query: &'q [u8], key: &'q [u8], is_made: bool) -> Self {
        Self { kind, query, key, is_made, verdict: Verdict::Open(Protection::None) }
    }

    /// The key, `wk`.
    #[must_use]
    pub fn key(&self) -> &'q [u8] {
        self.key
    }

    /// Checks the query with the secrets of its pipeline, which may have none. Call it once.
    #[inline]
    pub fn settle(&mut self, guard: Option<&Guard>) -> Result<(), Reason> {
        // Usually there is nothing to check.
        if self.is_made || guard.is_some() {
            self.verdict = examine(self.kind, self.query, guard)?;
        }
        Ok(())
    }

    /// Rejects a sealed query that contains an `s` or `x` itself.
    pub(crate) fn settle_inside(&self) -> Result<(), Reason> {
        if self.is_made { Err(Reason::BadSignature) } else { Ok(()) }
    }

    #[inline]
    pub(crate) fn take_verdict(&mut self) -> Verdict {
        mem::replace(&mut self.verdict, Verdict::Open(Protection::None))
    }
}

/// Checks a query with the secrets of its pipeline.
#[inline(never)]
fn examine(kind: &str, query: &[u8], guard: Option<&Guard>) -> Result<Verdict, Reason> {
    let parameters = Parameters::read(query);
    let (sealed, signature) = (parameters.value(Role::Sealed), parameters.value(Role::Signature));
    let Some(guard) = guard else {
        // Without secrets, an `s` proves nothing. An `x` that is not a seal is the sender's own parameter, as before
        // there were seals. A sealed `x` cannot become an event without a secret.
        let is_seal = sealed.is_some_and(seal::is_one);
        return if is_seal { Err(Reason::BadSignature) } else { Ok(Verdict::Open(Protection::None)) };
    };
    match (sealed, signature) {
        (Some(sealed), _) => {
            let key = parameters.key_beside_seal().ok_or(Reason::BadSignature)?;
            let inside = seal::open(&guard.secrets, kind, key, sealed).ok_or(Reason::BadSignature)?;
            Ok(Verdict::Sealed(parameters.around(&inside)))
        }
        (None, Some(signature)) => {
            let message = parameters.message(kind);
            let is_signed = guard.secrets.iter().any(|secret| secret.has_signed(&message, signature));
            if is_signed { Ok(Verdict::Open(Protection::Signed)) } else { Err(Reason::BadSignature) }
        }
        (None, None) if guard.required => Err(Reason::Unsigned),
        (None, None) => Ok(Verdict::Open(Protection::Unsigned)),
    }
}

/// The `s` of a query (contract, section 8).
#[must_use]
pub fn sign(secret: &Secret, kind: &str, query: &[u8]) -> String {
    secret.sign(&Parameters::read(query).message(kind))
}

/// The `x` of a query, which must not contain `wk`, `cb` and `utm_*`. The nonce is 12 random bytes, and must never be
/// used twice.
#[must_use]
pub fn seal(secret: &Secret, kind: &str, key: &[u8], query: &[u8], nonce: [u8; 12]) -> String {
    seal::seal(secret, kind, key, query, nonce)
}
