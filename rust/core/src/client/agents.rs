//! Finds the clients of `clients.json` by a purpose header, by the whole User-Agent, or by a part of it.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use hashbrown::HashMap;
use serde::Deserialize;

use super::{Client, words};

/// `clients.json`.
#[derive(Deserialize, Default)]
struct Table<'t> {
    #[serde(borrow)]
    clients: Vec<Entry<'t>>,
    /// Agents of people that a list takes for crawlers. Patterns that match one of them are ignored.
    people: Vec<Person<'t>>,
}

/// A client, and the source of its entry.
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

/// The sign of a client.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Sign<'t> {
    /// The first token of a purpose header, compared without case.
    Purpose(&'t str),
    /// The whole User-Agent.
    Is(&'t str),
    /// The first word of an agent without a device, compared without case.
    Begins(&'t str),
    /// A part of the User-Agent, compared without case. If several match, the leftmost counts, and then the first in
    /// the table.
    Contains(&'t str),
}

#[derive(Deserialize)]
struct Person<'t> {
    example: &'t str,
    #[cfg(test)]
    source: &'t str,
}

/// Empty if the file were malformed, which a test rules out.
static TABLE: LazyLock<Table<'static>> =
    LazyLock::new(|| serde_json::from_str(include_str!("clients.json")).unwrap_or_default());

struct Matcher {
    whole: HashMap<&'static str, Client>,
    begins: Vec<(&'static [u8], Client)>,
    parts: Option<AhoCorasick>,
    clients: Vec<Client>,
}

static MATCHER: LazyLock<Matcher> = LazyLock::new(|| {
    let (mut whole, mut begins, mut parts, mut clients) = (HashMap::new(), Vec::new(), Vec::new(), Vec::new());
    for entry in &TABLE.clients {
        let client = entry.client();
        match entry.sign {
            Sign::Purpose(_) => {}
            Sign::Is(agent) => drop(whole.insert(agent, client)),
            Sign::Begins(word) => begins.push((word.as_bytes(), client)),
            Sign::Contains(part) => {
                parts.push(part);
                clients.push(client);
            }
        }
    }
    let mut builder = AhoCorasick::builder();
    builder.ascii_case_insensitive(true).match_kind(MatchKind::LeftmostFirst);
    Matcher { whole, begins, parts: builder.build(parts).ok(), clients }
});

impl Entry<'static> {
    fn client(&self) -> Client {
        Client { name: self.name, automated: self.automated }
    }
}

/// The client that a purpose header announces.
pub fn announced(purpose: &str) -> Option<Client> {
    let token = purpose.split(';').next().unwrap_or_default().trim();
    let announces = |entry: &&Entry<'_>| matches!(entry.sign, Sign::Purpose(word) if token.eq_ignore_ascii_case(word));
    TABLE.clients.iter().find(announces).map(Entry::client)
}

/// The client of a User-Agent.
pub fn find(user_agent: &str) -> Option<Client> {
    let matcher = &*MATCHER;
    let part = || Some(matcher.clients[matcher.parts.as_ref()?.find(user_agent)?.pattern().as_usize()]);
    matcher.whole.get(user_agent).copied().or_else(part).or_else(|| matcher.begun(user_agent))
}

impl Matcher {
    fn begun(&self, user_agent: &str) -> Option<Client> {
        let agent = user_agent.as_bytes();
        let is_first_word = |word: &[u8]| {
            let (Some(begin), after) = (agent.get(..word.len()), agent.get(word.len())) else { return false };
            begin.eq_ignore_ascii_case(word) && (word.ends_with(b"-") || !after.is_some_and(u8::is_ascii_alphabetic))
        };
        let (_, client) = self.begins.iter().find(|(word, _)| is_first_word(word))?;
        (!words::has_device(user_agent)).then_some(*client)
    }
}

/// Agents of people that a list takes for crawlers.
pub fn people() -> impl Iterator<Item = &'static str> {
    TABLE.people.iter().map(|person| person.example)
}

#[cfg(test)]
mod tests {
    use super::{Sign, TABLE, find};
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
                Sign::Begins(word) => {
                    for agent in [entry.example, &entry.example.to_uppercase(), &format!("{word}/1.0")] {
                        assert_eq!(client(agent, &[]), expected, "{agent}");
                    }
                    for agent in [format!("{word}/1.0 (Android 15)"), format!("x{word}/1.0")] {
                        assert_eq!(find(&agent), None, "{agent}");
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
    fn people_are_no_clients() {
        for person in &TABLE.people {
            assert!(person.source.starts_with("https://"));
            assert_eq!(client(person.example, &[]), None, "{}", person.example);
        }
    }
}
