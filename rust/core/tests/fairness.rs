//! A full journal of rejections: no key and no reason displaces all others (contract, section 5).
#![expect(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pixelcore::address::{IpPolicy, TrustedProxies};
use pixelcore::collector::Collector;
use pixelcore::counters::Counters;
use pixelcore::journal::{Journal, Reader, WhenFull};
use pixelcore::keys::Keys;
use pixelcore::options::Options;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;

const BUDGET: u64 = 256 << 10;
const KEYS: &str = r#"
[[pipeline]]
id = "pip_a"
key = "dk_live_a"
enabled = false

[[pipeline]]
id = "pip_b"
key = "dk_live_b"
enabled = false
"#;

struct Gateway {
    collector: Collector<()>,
    rejections: Arc<Journal>,
    sent: u64,
}

impl Gateway {
    fn new(root: &Path) -> Self {
        let journal =
            |name: &str| Arc::new(Journal::new(&root.join(name), 1 << 20, BUDGET, WhenFull::DropOldest).unwrap());
        let (events, rejections) = (journal("events"), journal("rejections"));
        let (options, proxies, counters) =
            (Options::default(), TrustedProxies::default(), Arc::new(Counters::in_memory(&[])));
        let collector =
            Collector::new(events, Arc::clone(&rejections), options, proxies, IpPolicy::Full, counters, false);
        collector.set_keys(Keys::parse(KEYS).unwrap());
        Self { collector, rejections, sent: 0 }
    }

    fn send(&mut self, query: &str, user_agent: &str) {
        let user_agent = Some(user_agent);
        let request = Request { received_at: UnixMillis::now(), user_agent, ..Request::default() };
        assert!(self.collector.collect("track", query.as_bytes(), &request, ()).unwrap().is_some());
        self.sent += 1;
        if self.sent.is_multiple_of(16) {
            self.rejections.measure().unwrap(); // what a worker does once a second
        }
    }

    /// The remaining records, by the first 20 bytes of the query.
    fn left(root: &Path) -> BTreeMap<String, u64> {
        let mut left = BTreeMap::new();
        for journal in std::fs::read_dir(root.join("rejections")).unwrap() {
            let mut reader = Reader::new(journal.unwrap().path(), 0);
            loop {
                let batch = reader.read(1000, 1 << 20).unwrap();
                if batch.is_empty() {
                    break;
                }
                for line in batch.iter().map(|message| message.line) {
                    let record: serde_json::Value = serde_json::from_slice(line).unwrap();
                    let query = record["query"].as_str().unwrap();
                    *left.entry(query.chars().take(14).collect()).or_default() += 1;
                }
            }
        }
        left
    }
}

#[test]
fn floods_leave_the_records_of_others() {
    // the floods, by the beginning of their queries and their number; all of them have one reason, or one key
    for (name, floods) in [
        ("no key", &["e=flood"][..]),
        ("keys that are made up", &["wk=made_up_"]),
        ("a public key", &["wk=dk_live_b&e=f"]),
        ("all of them", &["e=flood", "wk=made_up_", "wk=dk_live_b&e=f"]),
    ] {
        let root = tempfile::tempdir().unwrap();
        let mut gateway = Gateway::new(root.path());
        for genuine in 0..20 {
            gateway.send(&format!("wk=dk_live_a&e=genuine{genuine}"), "Mozilla/5.0");
        }
        let agent = "x".repeat(120_000);
        for i in 0..600 {
            for flood in floods {
                gateway.send(&format!("{flood}{i}"), &agent);
            }
        }
        let left = Gateway::left(root.path());
        assert_eq!(left.get("wk=dk_live_a&e"), Some(&20), "{name}: {left:?}");
        let kept: u64 = left.values().sum();
        assert!(gateway.collector.refused() > 0, "{name}");
        assert_eq!(
            kept + gateway.collector.refused() + gateway.rejections.dropped(),
            gateway.sent,
            "{name}: each is counted"
        );
        for genuine in 0..20 {
            gateway.send(&format!("wk=dk_live_a&e=later{genuine}"), "Mozilla/5.0");
        }
        assert!(Gateway::left(root.path())["wk=dk_live_a&e"] >= 40, "{name}: others are kept as ever");
    }
}

#[test]
fn who_is_alone_has_all_of_it() {
    let root = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::new(root.path());
    for i in 0..1_000 {
        gateway.send(&format!("wk=dk_live_a&e=outage{i}"), &"x".repeat(1000));
    }
    assert_eq!(gateway.collector.refused(), 0, "the oldest go, as long as they are of nobody else");
    let left: u64 = Gateway::left(root.path()).values().sum();
    assert!(left > 150, "{left}");
    assert_eq!(left + gateway.rejections.dropped(), gateway.sent);
}
