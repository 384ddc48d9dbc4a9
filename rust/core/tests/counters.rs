//! Counters: the slots that a request increases, and their contents in the file.

#![allow(clippy::unwrap_used, reason = "a test fails so")]

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::sync::atomic::{AtomicU64, Ordering};

use pixelcore::consent::Mode;
use pixelcore::counters::{Counters, Outcome};
use pixelcore::notice::{Doubt, Id, Notices, QuotedPrintable};
use pixelcore::protect::Protection;
use pixelcore::reason::Reason;

const PLAIN: Notices = Notices {
    ts: false,
    repaired: 0,
    doubtful: 0,
    ignored: 0,
    quoted_printable: None,
    protection: Protection::None,
    mode: Mode::Individual,
    fault: None,
};
const REPAIRED: Notices = Notices { ts: true, repaired: 1 << Id::Group as u8, ..PLAIN };
const NOTICED: Notices = Notices {
    ignored: 3,
    doubtful: 1 << Doubt::MergeTag as u16,
    quoted_printable: Some(QuotedPrintable::Kept),
    ..PLAIN
};

const fn protected(protection: Protection) -> Outcome {
    Outcome::Accepted(Notices { protection, ..PLAIN }, 0)
}

/// name, type and outcome of a request, the slots that are not zero then
type Row = (&'static str, &'static str, Outcome, &'static [(&'static str, u64)]);

const ROWS: &[Row] = &[
    ("accepted", "track", Outcome::Accepted(PLAIN, 7), &[("requests track accepted", 1), ("appended_bytes events", 7)]),
    (
        "repaired",
        "group",
        Outcome::Accepted(REPAIRED, 9),
        &[("requests group accepted", 1), ("repairs ts", 1), ("repairs groupId", 1), ("appended_bytes events", 9)],
    ),
    (
        "noticed",
        "page",
        Outcome::Accepted(NOTICED, 9),
        &[
            ("requests page accepted", 1),
            ("doubtful_values userId merge_tag", 1),
            ("ignored_parameters", 3),
            ("quoted_printable kept", 1),
            ("appended_bytes events", 9),
        ],
    ),
    ("unsigned", "page", protected(Protection::Unsigned), &[("requests page accepted", 1), ("protected unsigned", 1)]),
    ("signed", "page", protected(Protection::Signed), &[("requests page accepted", 1), ("protected signed", 1)]),
    ("sealed", "page", protected(Protection::Sealed), &[("requests page accepted", 1), ("protected sealed", 1)]),
    (
        "rejected",
        "page",
        Outcome::Rejected(Reason::MissingKey, 5),
        &[("requests page missing_key", 1), ("appended_bytes rejections", 5)],
    ),
    (
        "for another reason",
        "identify",
        Outcome::Rejected(Reason::TooDeep, 5),
        &[("requests identify too_deep", 1), ("appended_bytes rejections", 5)],
    ),
    ("lost", "identify", Outcome::Lost, &[("requests identify lost", 1)]),
    (
        "of no type",
        "../x,y",
        Outcome::Rejected(Reason::UnknownType, 5),
        &[("requests unknown unknown_type", 1), ("appended_bytes rejections", 5)],
    ),
];

#[test]
fn a_request_bumps_its_slots_and_no_other() {
    for (name, kind, outcome, expected) in ROWS {
        let counters = Counters::in_memory(&[]);
        counters.count(kind, *outcome);
        let bumped: Vec<_> = counters.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(bumped, *expected, "{name}");
    }
}

#[test]
fn every_reason_has_a_slot_of_its_type() {
    for reason in Reason::ALL {
        let counters = Counters::in_memory(&[]);
        counters.count("group", Outcome::Rejected(reason, 0));
        let bumped: Vec<_> = counters.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(bumped, [(format!("requests group {}", reason.as_str()).as_str(), 1)]);
    }
}

#[test]
fn outcomes_are_the_sums_over_the_types() {
    let counters = Counters::in_memory(&[]);
    assert_eq!(counters.outcomes(), [("accepted", 0), ("lost", 0)]);
    for (_, kind, outcome, _) in ROWS {
        counters.count(kind, *outcome);
    }
    counters.count("page", Outcome::Rejected(Reason::TooDeep, 1));
    assert_eq!(
        counters.outcomes(),
        [("accepted", 6), ("lost", 1), ("unknown_type", 1), ("missing_key", 1), ("too_deep", 2)]
    );
}

#[test]
fn more_slots_are_added_to_by_name() {
    let counters = Counters::in_memory(&["batches".to_owned()]);
    assert!(counters.add("batches", 2) && counters.add("batches", 3));
    assert!(!counters.add("no such", 1));
    assert_eq!(counters.iter().last(), Some(("batches", 5)));
}

#[test]
fn a_gauge_is_set_by_name() {
    let counters = Counters::in_memory(&["one".to_owned(), "two".to_owned()]);
    let others: u64 = counters.iter().map(|(_, count)| count).sum();
    assert_eq!(others, 0);
    for (name, value, is_there) in [("two", 7, true), ("two", 3, true), ("one", 9, true), ("three", 1, false)] {
        assert_eq!(counters.set(name, value), is_there, "{name}");
    }
    let found: Vec<_> = counters.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(found, [("one", 9), ("two", 3)]);
}

#[test]
fn names_are_distinct_and_can_be_split() {
    let counters = Counters::in_memory(&["batches".to_owned()]);
    let names: HashSet<_> = counters.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), counters.iter().count());
    assert!(names.iter().all(|name| !name.contains([',', '\n']) && name.trim() == *name));
}

#[test]
fn a_file_is_names_then_aligned_words_and_locked_before_it_has_its_name() {
    let directory = tempfile::tempdir().unwrap();
    // Names of all lengths, because the header is padded.
    for length in 1..=8 {
        let path = directory.path().join(format!("{length}.counters"));
        let place = Cell::new((0, 0));
        let counters = Counters::in_file(&path, &["x".repeat(length)], |file, offset, count| {
            assert!(!path.exists());
            assert!(File::open(path.with_extension("new"))?.try_lock_shared().is_err());
            place.set((offset, count));
            drop(file);
            Ok(Vec::leak((0..count).map(|_| AtomicU64::new(0)).collect()))
        })
        .unwrap();
        let (offset, count) = place.get();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(offset % 8, 0);
        assert_eq!(bytes.len(), offset + 8 * count);
        assert!(bytes[offset..].iter().all(|&byte| byte == 0));
        let header = std::str::from_utf8(&bytes[..offset]).unwrap();
        assert_eq!(header.find('\n'), Some(offset - 1));
        let names: Vec<_> = header.trim_end().split(',').collect();
        assert_eq!(names, counters.iter().map(|(name, _)| name).collect::<Vec<_>>());
    }
    assert!(Counters::in_file(&directory.path().join("no/such"), &[], |_, _, _| unreachable!()).is_err());
}

#[test]
fn threads_lose_no_count() {
    let counters = Counters::in_memory(&[]);
    let total = AtomicU64::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (_, kind, outcome, _) in ROWS.iter().cycle().take(600) {
                    counters.count(kind, *outcome);
                    total.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(counters.outcomes().iter().map(|(_, count)| count).sum::<u64>(), total.into_inner());
}
