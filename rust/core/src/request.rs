//! What a request brings besides its query: the time, the client's address, and the headers that are read.

use crate::client::{Client, client};
use crate::options::Options;
use crate::time::UnixMillis;

/// The headers that are read, by their names, in the order in which [`Request::new`] takes their values. Origin is the last,
/// since it is asked for only where there are keys with domains.
pub const HEADERS: [&str; 10] = [
    "user-agent",
    "referer",
    "accept-language",
    "sec-gpc",
    "dnt",
    "sec-purpose",
    "purpose",
    "x-purpose",
    "x-moz",
    "origin",
];

/// What a request brings besides its query.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'r> {
    /// When it came.
    pub received_at: UnixMillis,
    /// The client's address.
    pub ip: Option<&'r str>,
    /// User-Agent.
    pub user_agent: Option<&'r str>,
    /// Referer.
    pub referer: Option<&'r str>,
    /// Accept-Language.
    pub locale: Option<&'r str>,
    /// Sec-GPC.
    pub gpc: Option<&'r str>,
    /// DNT.
    pub dnt: Option<&'r str>,
    /// Sec-Purpose, and its forerunners Purpose, X-Purpose and X-Moz.
    pub purposes: [Option<&'r str>; 4],
    /// Origin.
    pub origin: Option<&'r str>,
}

impl<'r> Request<'r> {
    /// A request with these values of [`HEADERS`]. Missing ones at the end are absent.
    #[must_use]
    pub fn new(received_at: UnixMillis, ip: Option<&'r str>, headers: &[Option<&'r str>]) -> Self {
        let mut values = [None; HEADERS.len()];
        values.iter_mut().zip(headers).for_each(|(value, header)| *value = *header);
        let [user_agent, referer, locale, gpc, dnt, sec_purpose, purpose, x_purpose, x_moz, origin] = values;
        let purposes = [sec_purpose, purpose, x_purpose, x_moz];
        Self { received_at, ip, user_agent, referer, locale, gpc, dnt, purposes, origin }
    }

    /// Who asks, where that is known.
    pub(crate) fn client(&self) -> Option<Client> {
        client(self.user_agent.unwrap_or_default(), &self.purposes.map(Option::unwrap_or_default))
    }

    /// Whether the one who asks must not be told from others.
    pub(crate) fn is_private(&self, options: &Options) -> bool {
        options.respect_gpc && self.gpc == Some("1")
    }
}
