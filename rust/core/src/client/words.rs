//! Judges an agent by its own words, without a list: it is a robot, it is software without a reader, or it runs on a
//! person's device.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// Words for software that reads by itself, in an agent without a device or a window.
const ITS_OWN: &str = concat!(
    r"(?:scraper|checker|monitor[a-z]*|validator|fetch[a-z]*|scanner|analyzer|preview[a-z]*|archiver?|indexer|headless[a-z]*",
    r"|extractor|uptime|parser|downloader|detector|scanning|searcher|finder|lookup|research|survey|transcoder|wkhtmlto[a-z]*",
    r"|health ?[a-z]*|[a-z]agent|worker|webhooks?|callback|integration services|search(?: ?engine)?|scan|recon|feed ?reader",
    r"|dcv|checks?|inspector|external-?[a-z]+)(?:[^a-z]|$)",
    // An agent that nobody has named.
    r"|user[-_ ]agent",
    // Addresses, and domains.
    r"|(?:[^a-z0-9 ] ?|^|^[^m(][^ ]* )https?://|[a-z]@[a-z][a-z0-9-]*\.[a-z]|^[a-z0-9-]+\.(?:io|ai|dev)(?:[/ ]|$)",
    r"|[a-z]-https?(?:[^a-z:]|$)|http-?client",
    // Monitoring, and sites that fetch from other sites.
    r"|munin|nagios|hobbit|xymon|grafana|^(?:matomo|discourse|castopod|invision community|drupal|joomla|moodle|mediawiki",
    r"|phpbb|ghost|gitlab|jenkins|zabbix|phpmyadmin)(?:[/ ]|$)",
);

/// An agent with nothing but a name after the first word of all browsers.
const BARE: &str = r"^Mozilla/[56]\.0 *(?:\((?:compatible; *)?\+?[a-z][^()+]*\)|[a-z][\w.-]*(?:/[\w.-]+)?)$";

/// Platforms, engines and browsers. An agent with one of them is not bare.
const PLATFORM: &str = r"webkit|gecko|trident|msie|presto|opera|khtml|windows|linux|mac|x11|office|bsd|sunos|haiku|os/2|beos|amiga|risc|nokia|samsung|sonyericsson|palmos|konqueror|java|j2me|teleca|serenityos|firefox|thunderbird|chrome|safari|tv|\[";

/// Devices that people hold or sit at, and their apps.
const DEVICE: &str = r"android|iphone|ipad|ipod|\bios\b|cfnetwork/|darwin/|dalvik/|symbian|s60|midp|windows phone|wp7|blackberry|bb10|tizen|webos|web0s|electron/|smart-?tv|hbbtv|kindle|silk/|opera m|ucweb|ucbrowser|roku|watchos|tvos|mac os/|macos|build/|playstation|nintendo|xbox|profile/|configuration/| device/|viber/|embedded web browser|\bhtc\b|samsung|nokia|huawei|lenovo|sonyericsson|podcast app|coc_coc|coccoc|microsoft office|ms-office";

static PLATFORMS: LazyLock<Option<Regex>> = LazyLock::new(|| regex(PLATFORM));

static WORDS: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    let patterns = [
        DEVICE,
        r"^mozilla/",
        r"mac os x|macintosh",
        "compatible",
        r"\+ ?https?://",
        r"^[a-z]+[,|] ?mozilla/|\$\{|\{\{|\$\(|<\?|synthetic|burpcollaborator|pageburst|dejaclick",
        ITS_OWN,
        BARE,
    ];
    RegexSetBuilder::new(patterns).unicode(false).case_insensitive(true).dfa_size_limit(1 << 18).build().ok()
});

/// Words for a robot, each with the letters before it. `CUBOT` is a maker of telephones.
static ROBOT: LazyLock<Option<Regex>> =
    LazyLock::new(|| regex(r"([a-z]*)(?:bots?|crawl|crawlers?|crawling|spiders?)(?:[^a-z]|$)"));

fn regex(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).unicode(false).case_insensitive(true).dfa_size_limit(1 << 18).build().ok()
}

/// The verdict on the words of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is a robot.
    Robot,
    /// It is a person's, whatever the lists contain.
    Person,
    /// The words decide nothing, so the lists decide.
    Unknown,
}

/// The verdict on an agent. `searched` is the result of [`searched`] for it.
pub fn judge(agent: &str, searched: &str) -> Verdict {
    let Some(words) = &*WORDS else { return Verdict::Unknown };
    let (all, left) = (words.matches(agent.as_bytes()), words.matches(searched.as_bytes()));
    let [device, mozilla, mac] = [0, 1, 2].map(|index| all.matched(index));
    let [compatible, address, template, its_own, bare] = [3, 4, 5, 6, 7].map(|index| left.matched(index));
    if is_robot(searched) || template || mozilla && address {
        Verdict::Robot
    } else if device || mac && !mozilla && !its_own {
        if compatible { Verdict::Unknown } else { Verdict::Person }
    } else if its_own || bare && !has_platform(searched) {
        Verdict::Robot
    } else {
        Verdict::Unknown
    }
}

/// Whether an agent names a person's device.
pub fn has_device(agent: &str) -> bool {
    WORDS.as_ref().is_some_and(|words| words.matches(agent.as_bytes()).matched(0))
}

/// Whether there is more than a name after the first word.
fn has_platform(agent: &str) -> bool {
    let name = agent.as_bytes().get("Mozilla/5.0".len()..).unwrap_or_default();
    PLATFORMS.as_ref().is_none_or(|platforms| platforms.is_match(name))
}

fn is_robot(text: &str) -> bool {
    let Some(robot) = &*ROBOT else { return false };
    robot.captures_iter(text.as_bytes()).any(|found| !found[1].eq_ignore_ascii_case(b"cu"))
}

/// An agent without Android's comment, whose model name may be the same as a crawler's.
pub fn searched(agent: &str) -> Cow<'_, str> {
    match android_comment(agent) {
        Some((begin, end)) if !agent[begin..end].contains("compatible") => {
            Cow::Owned([&agent[..begin], &agent[end..]].concat())
        }
        _ => Cow::Borrowed(agent),
    }
}

/// The place of the first comment with Android, parentheses included. Comments may nest.
fn android_comment(agent: &str) -> Option<(usize, usize)> {
    let (mut depth, mut begin) = (0_usize, 0);
    for (at, byte) in agent.bytes().enumerate() {
        match byte {
            b'(' => {
                if depth == 0 {
                    begin = at;
                }
                depth += 1;
            }
            b')' if depth > 0 => {
                depth -= 1;
                if depth == 0 && is_android(&agent[begin..=at]) {
                    return Some((begin, at + 1));
                }
            }
            _ => {}
        }
    }
    (depth > 0 && is_android(&agent[begin..])).then_some((begin, agent.len()))
}

fn is_android(comment: &str) -> bool {
    comment.as_bytes().windows(7).any(|part| part.eq_ignore_ascii_case(b"android"))
}

#[cfg(test)]
mod tests {
    use super::{android_comment, searched};

    #[test]
    fn comments() {
        for (agent, expected) in [
            ("", None),
            ("Android", None),
            ("A (Linux; Android 9; Robot)", Some("(Linux; Android 9; Robot)")),
            ("A (Linux) (aNDROID 9) B", Some("(aNDROID 9)")),
            ("A (Linux (KHTML) Android 9) B", Some("(Linux (KHTML) Android 9)")),
            ("A (Linux (Android) 9) B", Some("(Linux (Android) 9)")),
            ("A (Android 9", Some("(Android 9")),
            ("A (Linux", None),
            (") A) (Android 9) B", Some("(Android 9)")),
            ("A) (Linux) Android", None),
            ("A (Android 9) (Android 10)", Some("(Android 9)")),
        ] {
            let found = android_comment(agent).map(|(begin, end)| &agent[begin..end]);
            assert_eq!(found, expected, "{agent}");
            assert_eq!(searched(agent), agent.replacen(expected.unwrap_or("-"), "", 1), "{agent}");
        }
        let crawler = "A (compatible; Android 9; Robot)";
        assert_eq!(searched(crawler), crawler);
    }
}
