//! A whole request, from HTTP's parts to a line in a journal.

use std::cell::RefCell;
use std::sync::Arc;

use pixelcore::address::{IpPolicy, TrustedProxies};
use pixelcore::collector::Collector;
use pixelcore::consent::Mode;
use pixelcore::counters::Counters;
use pixelcore::journal::{Journal, Reader, WhenFull};
use pixelcore::keys::Keys;
use pixelcore::options::{Compat, Limits, Options};
use pixelcore::query::{form, layout};
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;
use tempfile::TempDir;

use crate::object;

const KEYS: &str = r#"
[[pipeline]]
id = "pip_a"
key = "dk_test_a"

[[pipeline]]
id = "pip_b"
key = "dk_test_b"
domain_allowlist = ["shop.example", "münchen.example"]
rate_limit_rps = 5

[[pipeline]]
id = "pip_c"
key = "dk_test_c"
enabled = false
"#;

/// The core of a gateway, and readers at the ends of its journals.
pub(crate) struct Gateway {
    pub(crate) collector: Collector<()>,
    pub(crate) events: Reader,
    pub(crate) rejections: Reader,
    counters: Arc<Counters>,
    pub(crate) requests: u64,
    _root: TempDir,
}

impl Gateway {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let journal = |name: &str, when_full| {
            Arc::new(Journal::new(&root.path().join(name), 1 << 20, 8 << 20, when_full).expect("a journal"))
        };
        let (events, rejections) =
            (journal("events", WhenFull::DropOldest), journal("rejections", WhenFull::DropOldest));
        let counters = Arc::new(Counters::in_memory(&[]));
        let readers = (Reader::new(events.directory(), 0), Reader::new(rejections.directory(), 0));
        let options = Options {
            limits: Limits::default(),
            typed_values: true,
            respect_gpc: true,
            gpc: Mode::Individual,
            window_ms: None,
            reject_automated: true,
            compat: Compat { segment: true, rudderstack: true },
        };
        let proxies = TrustedProxies::parse("10.0.0.0/8, loopback").expect("networks");
        let collector =
            Collector::new(events, rejections, options, proxies, IpPolicy::Truncated, Arc::clone(&counters), false);
        collector.set_keys(Keys::parse(KEYS).expect("keys"));
        Self { collector, events: readers.0, rejections: readers.1, counters, requests: 0, _root: root }
    }

    /// The lines since the last call.
    pub(crate) fn lines(reader: &mut Reader) -> Vec<Vec<u8>> {
        let batch = reader.read(10, 1 << 20).expect("the journal can be read");
        batch.iter().map(|message| message.line.to_vec()).collect()
    }
}

thread_local!(static GATEWAY: RefCell<Gateway> = RefCell::new(Gateway::new()));

/// Any request becomes one line in one of the journals, and is counted once.
pub fn request(data: &[u8]) {
    // Granian hands over only text. Other headers are absent.
    let mut parts = data.split(|&byte| byte == b'\n').map(|part| std::str::from_utf8(part).ok());
    let mut next = || parts.next().flatten();
    let (kind, query) = (next().unwrap_or("track"), next().unwrap_or_default());
    let (peer, listed, forwarded) = (next().unwrap_or("127.0.0.1:1"), next(), next());
    GATEWAY.with_borrow_mut(|gateway| {
        // An absent header has no lines.
        let [listed, forwarded] = [listed, forwarded].map(|line| line.into_iter().map(Some).collect::<Vec<_>>());
        let ip = gateway.collector.client_ip(peer, &listed, &forwarded);
        let request = Request {
            received_at: UnixMillis::now(),
            ip: ip.as_deref(),
            user_agent: next(),
            referer: next(),
            locale: next(),
            gpc: next(),
            dnt: next(),
            purposes: [next(), next(), next(), next()],
            origin: next(),
            ..Request::default()
        };
        let reason = gateway.collector.collect(kind, query.as_bytes(), &request, ()).expect("there is room");
        gateway.requests += 1;
        let (events, rejections) = (Gateway::lines(&mut gateway.events), Gateway::lines(&mut gateway.rejections));
        match reason {
            None if events.is_empty() => {
                let is_mode = |name: form::Raw<'_>| layout::unescape_amp(&name.decode()) == b"m";
                assert!(form::pairs(query.as_bytes()).any(|(name, _)| is_mode(name)));
                assert_eq!(rejections.len(), 0);
            }
            None => {
                assert_eq!((events.len(), rejections.len()), (1, 0));
                assert_eq!(object(&events[0])["type"], kind);
            }
            Some(_) if rejections.is_empty() => assert_eq!(events.len(), 0, "its mode allows no record"),
            Some(reason) => {
                assert_eq!((events.len(), rejections.len()), (0, 1));
                let record = object(&rejections[0]);
                assert_eq!(record["reason"], reason.as_str());
                assert_eq!(record["query"], query, "the query is kept as it was sent");
            }
        }
        let counted: u64 = gateway.counters.outcomes().iter().map(|(_, count)| count).sum();
        assert_eq!(counted, gateway.requests);
        if gateway.requests == 10_000 {
            *gateway = Gateway::new();
        }
    });
}
