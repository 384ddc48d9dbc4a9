//! Group commit, from requests to journals, counters, and answers.
#![expect(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use pixelcore::address::{IpPolicy, TrustedProxies};
use pixelcore::collector::{Collector, Group};
use pixelcore::counters::Counters;
use pixelcore::journal::{Journal, Reader, WhenFull};
use pixelcore::options::Options;
use pixelcore::reason::Reason;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;

struct Gateway {
    collector: Collector<&'static str>,
    journals: [Arc<Journal>; 2],
    counters: Arc<Counters>,
}

/// A gateway whose journals of events and of rejections have budgets of so many bytes.
fn gateway(root: &Path, event_bytes: u64, rejection_bytes: u64) -> Gateway {
    let journal = |name, bytes| Arc::new(Journal::new(&root.join(name), 1 << 20, bytes, WhenFull::Refuse).unwrap());
    let journals = [journal("events", event_bytes), journal("rejections", rejection_bytes)];
    let counters = Arc::new(Counters::in_memory(&[]));
    let [events, rejections] = journals.clone();
    let (proxies, counted) = (TrustedProxies::default(), Arc::clone(&counters));
    let collector = Collector::new(events, rejections, Options::default(), proxies, IpPolicy::Full, counted, true);
    Gateway { collector, journals, counters }
}

impl Gateway {
    fn ask(&self, kind: &str, query: &str, who: &'static str) -> Option<Reason> {
        let request = Request { received_at: UnixMillis::now(), ..Request::default() };
        self.collector.collect(kind, query.as_bytes(), &request, who).unwrap()
    }

    /// The numbers of lines of events and of rejections.
    fn lines(&self) -> [usize; 2] {
        self.journals
            .each_ref()
            .map(|journal| Reader::new(journal.directory(), 0).read(100, 1 << 20).unwrap().iter().len())
    }

    fn counted(&self) -> Vec<(&'static str, u64)> {
        self.counters.outcomes().into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// name, bytes of both journals, lines in them then, and what is counted, when two events and a rejection were committed
type Row = (&'static str, [u64; 2], [usize; 2], &'static [(&'static str, u64)]);

const AMPLE: u64 = 1 << 30;

const ROWS: &[Row] = &[
    ("room for all", [AMPLE, AMPLE], [2, 1], &[("accepted", 2), ("missing_key", 1)]),
    ("no room for events", [10, AMPLE], [0, 1], &[("lost", 2), ("missing_key", 1)]),
    ("no room for rejections", [AMPLE, 10], [2, 0], &[("accepted", 2), ("lost", 1)]),
];

#[test]
fn a_group_is_written_and_counted_when_it_is_committed() {
    for (name, [events, rejections], lines, counted) in ROWS {
        let root = tempfile::tempdir().unwrap();
        let gateway = gateway(root.path(), *events, *rejections);
        assert_eq!(gateway.ask("track", "wk=dk_1&e=E", "a"), None);
        assert_eq!(gateway.ask("track", "e=E", "b"), Some(Reason::MissingKey));
        let group = gateway.collector.take_group();
        assert_eq!(gateway.ask("page", "wk=dk_1", "late"), None);
        gateway.collector.commit(&Group::default()).unwrap();
        assert_eq!((gateway.lines(), gateway.counted()), ([0, 0], vec![]), "{name}");

        let ample = [*events, *rejections] == [AMPLE, AMPLE];
        let late = gateway.collector.take_group();
        let outcomes = [gateway.collector.commit(&group), gateway.collector.commit(&late)];
        assert_eq!(outcomes.iter().all(Result::is_ok), ample, "{name}");
        assert_eq!((gateway.lines(), &gateway.counted()[..]), (*lines, *counted), "{name}");
        assert_eq!(group.into_waiting().collect::<Vec<_>>(), [("a", None), ("b", Some(Reason::MissingKey))]);
        assert_eq!(late.into_waiting().collect::<Vec<_>>(), [("late", None)]);
    }
}
