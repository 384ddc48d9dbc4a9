//! The parts of a request besides its query: the time, the client's address, and the headers that pixelcore reads.

use crate::client::{Client, client};
use crate::consent::Mode;
use crate::options::Options;
use crate::text;
use crate::time::UnixMillis;

/// The names of the headers that pixelcore reads, in the order of the values for [`Request::new`]. Origin is the last,
/// because it is read only if keys have domains.
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

/// The part of a User-Agent that is read and kept, in bytes of UTF-8.
pub const USER_AGENT_BYTES: usize = 1024;

/// The headers of proxies. Their numbers follow those of [`HEADERS`].
pub const PROXY_HEADERS: [&str; 2] = ["x-forwarded-for", "forwarded"];

/// Headers that were sent, but that the server did not hand over because of their bytes (contract, section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unreadable(u16);

impl Unreadable {
    /// Adds a header by its place in [`HEADERS`] followed by [`PROXY_HEADERS`].
    pub fn add(&mut self, header: usize) {
        self.0 |= 1 << header;
    }

    /// Adds a header by its name. Other names are ignored.
    pub fn add_named(&mut self, name: &str) {
        if let Some(header) = Self::names_of_all().position(|known| known == name) {
            self.add(header);
        }
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::names_of_all().enumerate().filter(move |(header, _)| self.has(*header)).map(|(_, name)| name)
    }

    fn has(self, header: usize) -> bool {
        self.0 & 1 << header != 0
    }

    fn names_of_all() -> impl Iterator<Item = &'static str> {
        HEADERS.into_iter().chain(PROXY_HEADERS)
    }
}

const REFERER: usize = 1;
const ORIGIN: usize = HEADERS.len() - 1;

/// A text that is not a page, for an unreadable header.
const NO_PAGE: &str = "\u{FFFD}";

/// The parts of a request besides its query.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'r> {
    /// The time of receipt.
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
    /// The unreadable headers. They have no value above.
    pub unreadable: Unreadable,
}

impl<'r> Request<'r> {
    /// A request with these values of [`HEADERS`]. The last values may be left out.
    #[must_use]
    pub fn new(received_at: UnixMillis, ip: Option<&'r str>, headers: &[Option<&'r str>]) -> Self {
        let mut values = [None; HEADERS.len()];
        values.iter_mut().zip(headers).for_each(|(value, header)| *value = *header);
        let [user_agent, referer, locale, gpc, dnt, sec_purpose, purpose, x_purpose, x_moz, origin] = values;
        let purposes = [sec_purpose, purpose, x_purpose, x_moz];
        let unreadable = Unreadable::default();
        Self { received_at, ip, user_agent, referer, locale, gpc, dnt, purposes, origin, unreadable }
    }

    /// Origin and Referer for the check of domains. An unreadable header is on no domain.
    pub(crate) fn pages(&self) -> (Option<&'r str>, Option<&'r str>) {
        let told = |header, value| if self.unreadable.has(header) { Some(NO_PAGE) } else { value };
        (told(ORIGIN, self.origin), told(REFERER, self.referer))
    }

    /// The client, if it is recognised.
    pub(crate) fn client(&self) -> Option<Client> {
        client(
            text::cut(self.user_agent.unwrap_or_default(), USER_AGENT_BYTES),
            &self.purposes.map(Option::unwrap_or_default),
        )
    }

    /// Whether the person must be left out of the event.
    pub(crate) fn is_private(&self, options: &Options) -> bool {
        options.respect_gpc && is_one(self.gpc)
    }

    /// The most that may be kept of it according to Sec-GPC.
    pub(crate) fn most(&self, options: &Options) -> Mode {
        if self.is_private(options) { options.gpc } else { Mode::Individual }
    }
}

/// Whether the value of a header is 1, also if several lines were joined.
pub(crate) fn is_one(value: Option<&str>) -> bool {
    value.is_some_and(|value| value == "1" || value.split(',').all(|part| part.trim_matches([' ', '\t']) == "1"))
}
