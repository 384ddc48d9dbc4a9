//! The crawlers of the list <https://github.com/monperrus/crawler-user-agents>, which comes from outside: its
//! maintainers release it monthly, and no crate keeps up with it.

use std::io;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::bytes::{RegexSet, RegexSetBuilder};
use serde::Deserialize;

use super::{Client, agents};

/// An entry of the list, as far as it matters here: a regular expression, compared with case.
#[derive(Deserialize)]
struct Crawler {
    pattern: String,
}

struct Matcher {
    /// Nearly all patterns are plain text, which one automaton finds in one pass and in some 300 kB.
    literals: AhoCorasick,
    names: Vec<String>,
    /// The others, some forty.
    patterns: RegexSet,
}

static MATCHER: OnceLock<Matcher> = OnceLock::new();

/// Makes the crawlers of a list known, the JSON of crawler-user-agents. Meant to be called once, before the first
/// event; the first list counts. A pattern in a syntax that is not understood is left out.
pub fn know(list: &[u8]) -> io::Result<()> {
    let mut crawlers: Vec<Crawler> = serde_json::from_slice(list)?;
    crawlers.retain(|crawler| !agents::is_of_people(&crawler.pattern));
    let (mut literals, mut names, mut patterns) = (Vec::new(), Vec::new(), Vec::new());
    for Crawler { pattern } in crawlers {
        if let Some(literal) = literal(&pattern) {
            names.push(literal.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase());
            literals.push(literal);
        } else if set(&[&pattern]).is_ok() {
            patterns.push(pattern);
        }
    }
    let mut builder = AhoCorasick::builder();
    let literals = builder.match_kind(MatchKind::LeftmostLongest).build(literals).map_err(io::Error::other)?;
    let patterns = set(&patterns).map_err(io::Error::other)?;
    // An earlier list stays.
    let _ = MATCHER.set(Matcher { literals, names, patterns });
    Ok(())
}

fn set(patterns: &[impl AsRef<str>]) -> Result<RegexSet, regex::Error> {
    // Agents are ASCII, and the tables of Unicode would be the larger part of the automaton.
    RegexSetBuilder::new(patterns).unicode(false).dfa_size_limit(1 << 18).build()
}

/// The text that a pattern matches, if it is plain: any character but those that mean something, or one escaped.
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

/// The crawler of a User-Agent: its name in small letters, or `crawler` where the list's pattern is none.
pub fn find(user_agent: &str) -> Option<Client> {
    let matcher = MATCHER.get()?;
    let named = matcher.literals.find(user_agent).map(|found| &*matcher.names[found.pattern().as_usize()]);
    let name = named.or_else(|| matcher.patterns.is_match(user_agent.as_bytes()).then_some("crawler"))?;
    Some(Client { name, automated: true })
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
        assert!(know(b"[{}]").is_err());
        let list = br#"[{"pattern": "Zbo"}, {"pattern": "Zbot\\/", "tags": ["seo"]}, {"pattern": "Zbot-Image"}, {"pattern": "^[zZ]url"},
            {"pattern": "(?=no)"}, {"pattern": "MetaIAB Facebook"}, {"pattern": "!!"}]"#;
        assert!(know(list).is_ok());
        for (agent, expected) in [
            ("Mozilla/5.0 (compatible; Zbot/2.1)", Some("zbot")),
            ("Zbot-Image/1.0", Some("zbot-image")),
            ("zbot/2.1", None),
            ("zurl/8.0", Some("crawler")),
            ("a zurl/8.0", None),
            ("no", None),
            ("Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) MetaIAB Facebook", None),
            ("", None),
        ] {
            assert_eq!(find(agent), expected.map(|name| Client { name, automated: true }), "{agent}");
        }
        // The first list counts.
        assert!(know(b"[]").is_ok() && find("Zbot/2.1").is_some());
    }
}
