//! Finds the crawlers of two public lists: <https://github.com/monperrus/crawler-user-agents>, which changes monthly,
//! and <https://github.com/JayBizzle/Crawler-Detect>. Each knows crawlers that the other lacks (`make clients`).

use std::io;
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use hashbrown::HashSet;
use regex::bytes::{RegexSet, RegexSetBuilder};
use serde::Deserialize;

use super::words::{self, Verdict};
use super::{Client, agents};

/// An entry of crawler-user-agents. Only its regular expression is used, and is compared with case.
#[derive(Deserialize)]
struct Crawler {
    pattern: String,
}

/// The patterns of a list.
struct List {
    /// The patterns that are plain text, which are nearly all. One automaton finds them in one pass.
    literals: AhoCorasick,
    names: Vec<String>,
    /// The other patterns.
    patterns: RegexSet,
    /// The indices of patterns that also match people's agents.
    of_people: (HashSet<usize>, HashSet<usize>),
}

static LISTS: OnceLock<[List; 2]> = OnceLock::new();

/// Sets the lists of crawlers: the JSON of crawler-user-agents, and the patterns of Crawler-Detect, which are compared
/// without case. Call it once, before the first event; later lists change nothing. Patterns with unsupported syntax are
/// left out, and so are patterns that match an agent of `people` in `clients.json`.
pub fn know(json: &[u8], caseless: &[&str]) -> io::Result<()> {
    let crawlers: Vec<Crawler> = serde_json::from_slice(json)?;
    let cased: Vec<_> = crawlers.iter().map(|crawler| &*crawler.pattern).collect();
    // Earlier lists stay.
    let _ = LISTS.set([List::new(&cased, false)?, List::new(caseless, true)?]);
    Ok(())
}

impl List {
    fn new(all: &[&str], caseless: bool) -> io::Result<Self> {
        let (mut literals, mut names, mut patterns) = (Vec::new(), Vec::new(), Vec::new());
        for pattern in all {
            if let Some(literal) = literal(pattern) {
                names.push(name(&literal));
                literals.push(literal);
            } else if set(&[pattern], caseless).is_ok() {
                patterns.push(*pattern);
            }
        }
        let mut builder = AhoCorasick::builder();
        let literals = builder.ascii_case_insensitive(caseless).build(literals).map_err(io::Error::other)?;
        let patterns = set(&patterns, caseless).map_err(io::Error::other)?;
        let mut list = Self { literals, names, patterns, of_people: Default::default() };
        for agent in agents::people() {
            let text = words::searched(agent);
            list.of_people.0.extend(list.words(&text).map(|(index, ..)| index).collect::<Vec<_>>());
            list.of_people.1.extend(list.patterns.matches(text.as_bytes()));
        }
        Ok(list)
    }

    /// The literals that are words of a text, or begin and end with a non-letter: their places and indices.
    fn words<'l>(&'l self, text: &'l str) -> impl Iterator<Item = (usize, usize, usize)> + 'l {
        let bytes = text.as_bytes();
        let is_whole = |begin: usize, end: usize| {
            let before = begin.checked_sub(1).map_or(b' ', |at| bytes[at]);
            let after = bytes.get(end).copied().unwrap_or(b' ');
            let goes_before = before.is_ascii_alphabetic() && bytes[begin].is_ascii_alphabetic();
            let goes_on = after.is_ascii_lowercase() && bytes[end - 1].is_ascii_lowercase();
            !goes_before && !goes_on
        };
        let found = self.literals.find_overlapping_iter(text);
        found
            .filter(move |found| is_whole(found.start(), found.end()))
            .map(|found| (found.pattern().as_usize(), found.start(), found.end()))
    }

    /// The name of the crawler whose text comes first, and of those the longest; `crawler` for a pattern that is not
    /// plain text.
    fn find(&self, text: &str) -> Option<&str> {
        let (literals, patterns) = &self.of_people;
        let named = self.words(text).filter(|(index, ..)| !literals.contains(index));
        let first = named.min_by_key(|&(_, begin, end)| (begin, usize::MAX - end));
        let named = first.map(|(index, ..)| &*self.names[index]).filter(|name| !name.is_empty());
        let other =
            || self.patterns.matches(text.as_bytes()).iter().find(|index| !patterns.contains(index)).map(|_| GENERIC);
        named.or_else(|| first.map(|_| GENERIC)).or_else(other)
    }
}

/// The name of a crawler without a name.
const GENERIC: &str = "crawler";

fn set(patterns: &[impl AsRef<str>], caseless: bool) -> Result<RegexSet, regex::Error> {
    // Agents are ASCII, and the tables of Unicode would be the larger part of the automaton.
    RegexSetBuilder::new(patterns).unicode(false).case_insensitive(caseless).dfa_size_limit(1 << 18).build()
}

/// A name for a literal's match, which needs no escapes in JSON.
fn name(literal: &str) -> String {
    let name = literal.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    name.replace(|c: char| c.is_control() || matches!(c, '"' | '\\'), "-")
}

/// The text that a pattern matches, if it is plain: only literal or escaped characters.
fn literal(pattern: &str) -> Option<String> {
    let mut chars = pattern.chars();
    let mut literal = String::with_capacity(pattern.len());
    while let Some(c) = chars.next() {
        literal.push(match c {
            '\\' => chars.next().filter(|escaped| !escaped.is_ascii_alphanumeric())?,
            '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => return None,
            plain => plain,
        });
    }
    (!literal.is_empty()).then_some(literal)
}

/// The crawler of a User-Agent: its name in lower case, or `crawler` without a name.
#[must_use]
pub fn find(user_agent: &str) -> Option<Client> {
    let text = words::searched(user_agent);
    let verdict = words::judge(user_agent, &text);
    let listed = || {
        let mut found = LISTS.get()?.iter().filter_map(|list| list.find(&text));
        let first = found.next()?;
        // The second list may have a name where the first one has only a pattern.
        Some(if first == GENERIC { found.next().unwrap_or(first) } else { first })
    };
    let name = match verdict {
        Verdict::Person => None,
        Verdict::Unknown => listed(),
        Verdict::Robot => listed().or(Some(GENERIC)),
    };
    name.map(|name| Client { name, automated: true })
}

#[cfg(test)]
mod tests {
    use super::{Client, find, know, literal};

    #[test]
    fn literals() {
        for (pattern, expected) in [
            ("Slurp", Some("Slurp")),
            (r"Googlebot\/", Some("Googlebot/")),
            (r"developers\.google\.com\/\+\/web", Some("developers.google.com/+/web")),
            ("Y!J", Some("Y!J")),
            ("^curl", None),
            ("a.b", None),
            ("[wW]get", None),
            (r"\d", None),
            ("Ahrefs(Bot|SiteAudit)", None),
            ("Chirp|gotosocial", None),
            ("a\\", None),
            ("", None),
        ] {
            assert_eq!(literal(pattern).as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn a_list() {
        assert!(know(b"[{}]", &[]).is_err());
        let list = br#"[{"pattern": "Zbo"}, {"pattern": "Zbot\\/", "tags": ["seo"]}, {"pattern": "Zbot-Image"}, {"pattern": "^[zZ]url"},
            {"pattern": "(?=no)"}, {"pattern": "Viber"}, {"pattern": "!!"}]"#;
        assert!(know(list, &["zlurp", r"^zed\/\d", r"zend\\http", "[a-z]*(bot|reader)"]).is_ok());
        for (agent, expected) in [
            ("Mozilla/5.0 (compatible; Zbot/2.1)", Some("zbot")),
            ("Zbot-Image/1.0", Some("zbot-image")),
            ("zbot/2.1", Some("crawler")),
            ("Zbotany/2.1", None),
            ("a ZLURP b", Some("zlurp")),
            ("Zed/2", Some("crawler")),
            ("Zend\\Http", Some("zend-http")),
            ("zbot/2 zlurp", Some("zlurp")),
            ("a Reader", None),
            ("zurl/8.0", Some("crawler")),
            ("a zurl/8.0", None),
            ("no", None),
            ("Mozilla/5.0 (Linux; Android 16; Zbot/2 zlurp) AppleWebKit/537.36", None),
            ("Mozilla/5.0 (Windows NT 10.0) Chrome/122.0.6261.156 Safari/537.36 Viber/24", None),
            ("Mozilla/5.0 (iPhone) Safari/604.1 Zlurp/1", None),
            ("Mozilla/5.0 (iPhone) Safari/604.1 (compatible; Zlurp/1)", Some("zlurp")),
            ("", None),
        ] {
            assert_eq!(find(agent), expected.map(|name| Client { name, automated: true }), "{agent}");
        }
        // The first list counts.
        assert!(know(b"[]", &[]).is_ok() && find("Zbot/2.1").is_some());
    }
}
