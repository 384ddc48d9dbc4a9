//! Recognises clients that identify themselves as something other than an ordinary reader (contract, section 4).
//!
//! `clients.json` names clients, each with its source and an example. [`crawlers`] adds two public lists. `words`
//! judges the words of an agent, and `cache` remembers results.

mod agents;
mod cache;
pub mod crawlers;
mod words;

/// A client that identifies itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its short name.
    pub name: &'static str,
    /// Whether it fetches without a person: a prefetch, a preview, a crawler. Mail proxies are not automated, because
    /// they fetch when a person opens the mail.
    pub automated: bool,
}

/// The client of a request; None for an ordinary one.
///
/// `purposes` are the values of Sec-Purpose (Fetch standard, section 3.7) and of its predecessors Purpose, X-Purpose
/// and X-Moz. They come first, because a browser's User-Agent does not show a prefetch.
#[must_use]
pub fn client(user_agent: &str, purposes: &[&str]) -> Option<Client> {
    let announced =
        purposes.iter().filter(|purpose| !purpose.is_empty()).find_map(|purpose| agents::announced(purpose));
    announced.or_else(|| cache::get(user_agent, recognise))
}

fn recognise(user_agent: &str) -> Option<Client> {
    agents::find(user_agent).or_else(|| crawlers::find(user_agent))
}

#[cfg(test)]
mod tests {
    use super::{Client, client};

    #[test]
    fn purposes() {
        let prefetch = Some(Client { name: "prefetch", automated: true });
        let preview = Some(Client { name: "preview", automated: true });
        let gmail = Some(Client { name: "gmail", automated: false });
        let image_proxy = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
        for (agent, purposes, expected) in [
            ("Mozilla/5.0 Firefox/140.0", &[][..], None),
            ("", &[""], None),
            ("", &["prefetch;prerender"], prefetch),
            ("", &["prefetch;anonymous-client-ip"], prefetch),
            ("", &[" Prefetch "], prefetch),
            ("", &["preview"], preview),
            ("", &["", "", "", "prefetch"], prefetch),
            ("", &["navigate", "preview"], preview),
            (image_proxy, &["prefetch"], prefetch),
            (image_proxy, &["navigate"], gmail),
            ("", &["pre", "prefetched", ";prefetch", "é"], None),
        ] {
            assert_eq!(client(agent, purposes), expected, "{agent} {purposes:?}");
        }
    }
}
