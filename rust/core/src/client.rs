//! Who fetched the pixel, where its own words say that it was no ordinary reader (contract, section 4).

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

/// A client that says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its short name.
    pub name: &'static str,
    /// Whether no person looked: a prefetch, a preview, a crawler. Mail proxies fetch when a person opens the mail.
    pub automated: bool,
}

/// What the `User-Agent` of a client has in it, compared without case. Sources: the operators' own documentation.
const AGENTS: [(&str, Client); 12] = [
    ("GoogleImageProxy", Client { name: "gmail", automated: false }),
    ("YahooMailProxy", Client { name: "yahoo", automated: false }),
    ("BingPreview", Client { name: "bing", automated: true }),
    ("bingbot", Client { name: "bing", automated: true }),
    ("Discordbot", Client { name: "discord", automated: true }),
    ("facebookexternalhit", Client { name: "facebook", automated: true }),
    ("Googlebot", Client { name: "google", automated: true }),
    ("LinkedInBot", Client { name: "linkedin", automated: true }),
    ("Slackbot", Client { name: "slack", automated: true }),
    ("Slack-ImgProxy", Client { name: "slack", automated: true }),
    ("TelegramBot", Client { name: "telegram", automated: true }),
    ("Twitterbot", Client { name: "twitter", automated: true }),
];

static MATCHER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let mut builder = AhoCorasick::builder();
    builder.ascii_case_insensitive(true).match_kind(MatchKind::LeftmostFirst);
    builder.build(AGENTS.map(|(token, _)| token)).ok()
});

/// The client of a request; None for an ordinary one.
///
/// `purpose` is Sec-Purpose (Fetch standard, section 3.7), which begins with `prefetch` where nobody has looked yet.
#[must_use]
pub fn client(user_agent: &str, purpose: &str) -> Option<Client> {
    if purpose.trim_start().get(..8).is_some_and(|token| token.eq_ignore_ascii_case("prefetch")) {
        return Some(Client { name: "prefetch", automated: true });
    }
    let found = MATCHER.as_ref()?.find(user_agent)?;
    Some(AGENTS[found.pattern().as_usize()].1)
}

#[cfg(test)]
mod tests {
    use super::{AGENTS, Client, client};

    #[test]
    fn every_agent_is_known_by_its_token_in_any_case() {
        for (token, expected) in AGENTS {
            for token in [token.to_owned(), token.to_lowercase(), token.to_uppercase()] {
                assert_eq!(client(&format!("Mozilla/5.0 (compatible; {token}/1.0)"), ""), Some(expected), "{token}");
            }
        }
    }

    #[test]
    fn purposes() {
        let prefetch = Some(Client { name: "prefetch", automated: true });
        let gmail = Some(Client { name: "gmail", automated: false });
        for (agent, purpose, expected) in [
            ("Mozilla/5.0 Firefox/140.0", "", None),
            ("", "", None),
            ("", "prefetch;prerender", prefetch),
            ("Mozilla/5.0", "Prefetch", prefetch),
            ("via ggpht.com GoogleImageProxy", "prefetch", prefetch),
            ("via ggpht.com GoogleImageProxy", "navigate", gmail),
            ("", "pre", None),
        ] {
            assert_eq!(client(agent, purpose), expected, "{agent} {purpose}");
        }
    }
}
