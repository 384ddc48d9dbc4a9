//! The clients of `clients.json`: by a purpose header, by the whole of a User-Agent, or by a part of it.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use hashbrown::HashMap;
use serde::Deserialize;

use super::Client;

/// `clients.json`.
#[derive(Deserialize, Default)]
struct Table<'t> {
    #[serde(borrow)]
    clients: Vec<Entry<'t>>,
    /// Entries of the library's list that people's agents match too.
    people: Vec<Exception<'t>>,
}

/// A client, and its source, which says so.
#[derive(Deserialize)]
struct Entry<'t> {
    name: &'t str,
    automated: bool,
    #[serde(flatten, borrow)]
    sign: Sign<'t>,
    #[cfg(test)]
    source: &'t str,
    #[cfg(test)]
    example: &'t str,
}

/// What a client is recognised by.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Sign<'t> {
    /// The first token of a purpose header, compared without case.
    Purpose(&'t str),
    /// The whole User-Agent.
    Is(&'t str),
    /// A part of the User-Agent, compared without case. Of several, the leftmost counts, then the first of the table.
    Contains(&'t str),
}

#[derive(Deserialize)]
struct Exception<'t> {
    /// Owned where it has an escape.
    #[serde(borrow)]
    pattern: Cow<'t, str>,
    #[cfg(test)]
    source: &'t str,
    #[cfg(test)]
    example: &'t str,
}

/// Empty if it were malformed, which a test rules out.
static TABLE: LazyLock<Table<'static>> =
    LazyLock::new(|| serde_json::from_str(include_str!("clients.json")).unwrap_or_default());

struct Matcher {
    whole: HashMap<&'static str, Client>,
    parts: Option<AhoCorasick>,
    clients: Vec<Client>,
}

static MATCHER: LazyLock<Matcher> = LazyLock::new(|| {
    let (mut whole, mut parts, mut clients) = (HashMap::new(), Vec::new(), Vec::new());
    for entry in &TABLE.clients {
        let client = entry.client();
        match entry.sign {
            Sign::Purpose(_) => {}
            Sign::Is(agent) => drop(whole.insert(agent, client)),
            Sign::Contains(part) => {
                parts.push(part);
                clients.push(client);
            }
        }
    }
    let mut builder = AhoCorasick::builder();
    builder.ascii_case_insensitive(true).match_kind(MatchKind::LeftmostFirst);
    Matcher { whole, parts: builder.build(parts).ok(), clients }
});

impl Entry<'static> {
    fn client(&self) -> Client {
        Client { name: self.name, automated: self.automated }
    }
}

/// The client that the value of a purpose header announces.
pub fn announced(purpose: &str) -> Option<Client> {
    let token = purpose.split(';').next().unwrap_or_default().trim();
    let announces = |entry: &&Entry<'_>| matches!(entry.sign, Sign::Purpose(word) if token.eq_ignore_ascii_case(word));
    TABLE.clients.iter().find(announces).map(Entry::client)
}

/// The client of a User-Agent.
pub fn find(user_agent: &str) -> Option<Client> {
    let matcher = &*MATCHER;
    let part = || Some(matcher.clients[matcher.parts.as_ref()?.find(user_agent)?.pattern().as_usize()]);
    matcher.whole.get(user_agent).copied().or_else(part)
}

/// Whether people's agents match this pattern of the library's list, too.
pub fn is_of_people(pattern: &str) -> bool {
    TABLE.people.iter().any(|exception| exception.pattern == pattern)
}

#[cfg(test)]
mod tests {
    use super::{Sign, TABLE, find, is_of_people};
    use crate::client::client;

    #[test]
    fn every_entry_is_recognised_by_its_example() {
        assert!(!TABLE.clients.is_empty(), "clients.json is malformed");
        for entry in &TABLE.clients {
            let expected = Some(entry.client());
            match entry.sign {
                Sign::Purpose(_) => assert_eq!(client("", &[entry.example]), expected, "{}", entry.example),
                Sign::Is(agent) => {
                    assert_eq!(client(entry.example, &[]), expected, "{}", entry.example);
                    for other in [format!("{agent} "), format!("{agent} (X11)"), agent.to_uppercase()] {
                        assert_eq!(find(&other), None, "{other}");
                    }
                }
                Sign::Contains(part) => {
                    let upper = entry.example.to_uppercase();
                    for agent in [entry.example, &upper, part, &format!("Mozilla/5.0 ({part}/1.0)")] {
                        assert_eq!(client(agent, &[]), expected, "{agent}");
                    }
                }
            }
            assert!(entry.source.starts_with("https://"), "{}", entry.name);
        }
    }

    #[test]
    fn exceptions_are_no_clients_themselves() {
        for exception in &TABLE.people {
            assert!(is_of_people(&exception.pattern) && exception.source.starts_with("https://"));
            assert_eq!(find(exception.example), None, "{}", exception.example);
        }
        assert!(!is_of_people("Googlebot"));
    }
}
