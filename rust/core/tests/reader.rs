//! The batches of a reader, its counts of lost bytes, and its deletions (contract, section 6).
#![expect(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pixelcore::journal::{Journal, Reader, WhenFull};

/// A JSON object of so many bytes.
fn line(bytes: usize) -> Vec<u8> {
    format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes - 8)).into_bytes()
}

fn journal(root: &Path, lines: &[usize], segment_bytes: u64) -> Journal {
    let journal = Journal::new(root, segment_bytes, u64::MAX, WhenFull::Refuse).unwrap();
    for bytes in lines {
        journal.append(&line(*bytes)).unwrap();
    }
    journal
}

fn segment(journal: &Journal, start: u64) -> PathBuf {
    journal.directory().join(format!("{start:020}.ndjson"))
}

/// The number of lines of each read until there are none, and the offset after it.
fn reads(reader: &mut Reader, max_events: usize, max_bytes: usize) -> Vec<(usize, u64)> {
    let mut found = Vec::new();
    loop {
        let batch = reader.read(max_events, max_bytes).unwrap();
        assert_eq!((batch.is_empty(), batch.len()), (batch.iter().len() == 0, batch.iter().len()));
        if batch.is_empty() {
            return found;
        }
        found.push((batch.len(), reader.offset()));
    }
}

#[test]
fn as_much_as_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    for (name, lines, max_events, max_bytes, expected) in [
        ("all", &[100, 100, 100][..], 9, 1000, &[(3, 303)][..]),
        ("so many", &[100, 100, 100], 2, 1000, &[(2, 202), (1, 303)]),
        ("one", &[100, 100], 1, 1000, &[(1, 101), (1, 202)]),
        ("to the byte", &[100, 100, 100], 9, 200, &[(2, 202), (1, 303)]),
        ("a byte less", &[100, 100, 100], 9, 199, &[(1, 101), (1, 202), (1, 303)]),
        ("the first is longer", &[100, 10, 10], 9, 50, &[(1, 101), (2, 123)]),
        ("a later one is longer", &[10, 100, 10], 9, 50, &[(1, 11), (1, 112), (1, 123)]),
        ("longer than what is read at once", &[10, 300_000, 10], 9, 1000, &[(1, 11), (1, 300_012), (1, 300_023)]),
        ("none", &[], 9, 1000, &[]),
    ] {
        for segment_bytes in [1 << 20, 150] {
            let journal = journal(root.path(), lines, segment_bytes);
            let mut reader = Reader::new(journal.directory(), 0);
            assert_eq!(reads(&mut reader, max_events, max_bytes), expected, "{name}");
            assert_eq!((reader.torn(), reader.corrupt(), reader.missing()), (0, 0, 0), "{name}");
            reader.seek(0);
            assert_eq!(reads(&mut reader, max_events, max_bytes), expected, "{name}, again");
        }
    }
}

#[test]
fn what_is_no_event_is_counted_and_passed_over() {
    let zeros = vec![0; 9000];
    let many_zeros = vec![0; 700_000];
    for (name, damage, corrupt, torn, lines) in [
        ("none", &b""[..], 0, 0, 2),
        ("no JSON", b"no\n", 1, 0, 2),
        ("no object", b"[]\n1\n", 2, 0, 2),
        ("no UTF-8", b"{\"a\":\"\xff\"}\n", 1, 0, 2),
        ("an empty line", b"\n", 1, 0, 2),
        ("zeros, of which nobody knows where they end", &zeros, 1, 0, 1),
        ("zeros and a newline", &[&zeros[..], b"\n"].concat(), 1, 0, 2),
        ("many zeros and a newline", &[&many_zeros[..], b"\n"].concat(), 1, 0, 2),
    ] {
        let root = tempfile::tempdir().unwrap();
        let journal = journal(root.path(), &[100], 1 << 20);
        journal.close().unwrap();
        let path = segment(&journal, 0);
        let first = fs::read(&path).unwrap();
        fs::write(&path, [&first[..], damage, &line(100), b"\n"].concat()).unwrap();
        let mut reader = Reader::new(journal.directory(), 0);
        let read: usize = reads(&mut reader, 9, 1 << 20).iter().map(|(count, _)| count).sum();
        assert!(reader.finished().unwrap(), "{name}");
        assert_eq!((read, reader.corrupt(), reader.torn(), reader.missing()), (lines, corrupt, torn, 0), "{name}");
        assert_eq!(reader.offset(), fs::metadata(&path).unwrap().len(), "{name}");
    }
}

#[test]
fn what_is_cut_off_or_gone_is_counted_in_bytes() {
    // lines of 101 bytes in segments of 2: 0, 202, 404, 606
    type Damage = fn(&Journal);
    let cases: [(&str, Damage, usize, u64, u64); 6] = [
        ("nothing", |_| {}, 7, 0, 0),
        (
            "the last line",
            |journal| File::options().write(true).open(segment(journal, 606)).unwrap().set_len(40).unwrap(),
            6,
            40,
            0,
        ),
        (
            "a line in between",
            |journal| File::options().write(true).open(segment(journal, 202)).unwrap().set_len(150).unwrap(),
            6,
            49,
            52,
        ),
        ("the first segment", |journal| fs::remove_file(segment(journal, 0)).unwrap(), 5, 0, 202),
        ("one in between", |journal| fs::remove_file(segment(journal, 404)).unwrap(), 5, 0, 202),
        ("the last one", |journal| fs::remove_file(segment(journal, 606)).unwrap(), 6, 0, 0),
    ];
    for (name, damage, lines, torn, missing) in cases {
        let root = tempfile::tempdir().unwrap();
        let journal = journal(root.path(), &[100; 7], 202);
        journal.close().unwrap();
        damage(&journal);
        let mut reader = Reader::new(journal.directory(), 0);
        let read: usize = reads(&mut reader, 9, 1 << 20).iter().map(|(count, _)| count).sum();
        assert!(reader.finished().unwrap());
        assert_eq!((read, reader.torn(), reader.missing(), reader.corrupt()), (lines, torn, missing, 0), "{name}");
    }
}

#[test]
fn shipped_segments_go_when_they_are_old_enough() {
    let hour = Duration::from_secs(3600);
    for (name, offset, age, old, left) in [
        ("nothing is shipped", 0, Duration::ZERO, 4, &[0, 202, 404, 606][..]),
        ("a part of the first", 201, Duration::ZERO, 4, &[0, 202, 404, 606]),
        ("the first", 202, Duration::ZERO, 4, &[202, 404, 606]),
        ("more than the first", 403, Duration::ZERO, 4, &[202, 404, 606]),
        ("all, but the last stays", 707, Duration::ZERO, 4, &[606]),
        ("all, and none is old enough", 707, hour * 3, 4, &[0, 202, 404, 606]),
        ("all, and two are old enough", 707, hour, 2, &[404, 606]),
        ("one, and two are old enough", 202, hour, 2, &[202, 404, 606]),
    ] {
        let root = tempfile::tempdir().unwrap();
        let journal = journal(root.path(), &[100; 7], 202);
        for start in [0, 202, 404, 606].into_iter().take(old) {
            let file = File::options().write(true).open(segment(&journal, start)).unwrap();
            file.set_modified(SystemTime::now() - hour * 2).unwrap();
        }
        let reader = Reader::new(journal.directory(), 0);
        let deleted = reader.delete_before(offset, age).unwrap();
        let there: Vec<u64> =
            [0, 202, 404, 606].into_iter().filter(|start| segment(&journal, *start).exists()).collect();
        assert_eq!((&there[..], deleted), (left, 4 - left.len()), "{name}");
    }
}

#[test]
fn a_segment_of_the_future_is_not_old() {
    let root = tempfile::tempdir().unwrap();
    let journal = journal(root.path(), &[100; 3], 202);
    let first = segment(&journal, 0);
    File::options()
        .write(true)
        .open(&first)
        .unwrap()
        .set_modified(SystemTime::now() + Duration::from_secs(60))
        .unwrap();
    let reader = Reader::new(journal.directory(), 0);
    assert_eq!(reader.delete_before(303, Duration::from_secs(1)).unwrap(), 0);
    assert_eq!(reader.delete_before(303, Duration::ZERO).unwrap(), 1);
}

#[test]
fn files_of_others_are_left() {
    let root = tempfile::tempdir().unwrap();
    let ours = journal(root.path(), &[100; 3], 202);
    ours.close().unwrap();
    for name in ["committed", "forward.lock", "shipped"] {
        fs::write(ours.directory().join(name), "").unwrap();
    }
    Reader::new(ours.directory(), 0).delete_journal().unwrap();
    assert!(!ours.directory().exists());
    Reader::new(ours.directory(), 0).delete_journal().unwrap();

    let odd = journal(root.path(), &[100], 202);
    fs::create_dir(odd.directory().join("committed")).unwrap();
    assert!(Reader::new(odd.directory(), 0).delete_journal().is_err(), "what cannot be deleted is said");

    let theirs = journal(root.path(), &[100], 202);
    theirs.close().unwrap();
    for name in ["notes.txt", "1.ndjson", "+0000000000000000001.ndjson", "00000000000000000001.json"] {
        fs::write(theirs.directory().join(name), "mine").unwrap();
    }
    Reader::new(theirs.directory(), 0).delete_journal().unwrap();
    assert!(!theirs.directory().exists());
    let left = fs::read_dir(theirs.directory().with_extension("not-pixelcore")).unwrap();
    assert_eq!(left.count(), 4);
}

#[test]
fn who_waits_is_told_of_a_new_segment_and_of_the_end() {
    let root = tempfile::tempdir().unwrap();
    let journal = journal(root.path(), &[100; 2], 202);
    let mut reader = Reader::new(journal.directory(), 0);
    assert!(reader.is_live());
    assert!(reader.wait(Duration::ZERO).unwrap(), "what is there need not be waited for");
    assert_eq!(reads(&mut reader, 9, 1000), [(2, 202)]);
    assert!(!reader.wait(Duration::from_millis(1)).unwrap());
    journal.append(&line(100)).unwrap();
    assert!(reader.wait(Duration::from_secs(10)).unwrap(), "in a segment that was not there");
    assert_eq!(reads(&mut reader, 9, 1000), [(1, 303)]);
    journal.close().unwrap();
    assert!(!reader.is_live());
    assert!(reader.finished().unwrap());
}
