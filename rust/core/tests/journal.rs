//! The journal compared with a list of lines: rotation, tails, and cuts at every byte (contract, section 6).
#![expect(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use pixelcore::journal::{Journal, Reader, WhenFull};
use proptest::prelude::*;

fn line(i: usize) -> Vec<u8> {
    format!(r#"{{"i":{i},"userId":"u{i}"}}"#).into_bytes()
}

fn read(reader: &mut Reader) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    loop {
        let batch = reader.read(3, 200).unwrap();
        if batch.iter().len() == 0 {
            return lines;
        }
        lines.extend(batch.iter().map(|message| message.line.to_vec()));
    }
}

fn filled(root: &std::path::Path, lines: usize, segment_bytes: u64) -> Journal {
    let journal = Journal::new(root, segment_bytes, u64::MAX, WhenFull::Refuse).unwrap();
    for i in 0..lines {
        journal.append(&line(i)).unwrap();
    }
    journal
}

/// A journal's segments, by name.
fn segments(journal: &Journal) -> BTreeMap<OsString, Vec<u8>> {
    let Ok(entries) = fs::read_dir(journal.directory()) else { return BTreeMap::new() };
    entries.map(Result::unwrap).map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn keys_are_user_id_then_anonymous_id() {
    let root = tempfile::tempdir().unwrap();
    let journal = Journal::new(root.path(), 1 << 20, u64::MAX, WhenFull::Refuse).unwrap();
    let cases = [
        (r#"{"userId":"u","anonymousId":"a"}"#, Some("u")),
        (r#"{"anonymousId":"a","properties":{"userId":"no"}}"#, Some("a")),
        (r#"{"type":"track"}"#, None),
        (r#"{"userId":1,"anonymousId":[{"userId":"no"}]}"#, None),
        (r#"{"userId":1e999,"anonymousId":"a"}"#, Some("a")),
        (r#"{"userId":"\ud800","anonymousId":null}"#, None),
        (r#"{"userId":"u","userId":"v"}"#, Some("v")),
        (r#"{"userId":"\u00e9\n\"é"}"#, Some("é\n\"é")),
    ];
    for (line, _) in cases {
        journal.append(line.as_bytes()).unwrap();
    }
    let batch = Reader::new(journal.directory(), 0).read(10, 1 << 20).unwrap();
    let keys: Vec<_> = batch.iter().map(|message| message.key).collect();
    assert_eq!(keys, cases.map(|(_, key)| key));
}

#[test]
fn a_cut_at_any_byte_costs_only_the_lines_behind_it() {
    let root = tempfile::tempdir().unwrap();
    let journal = filled(root.path(), 4, 1 << 20);
    journal.close().unwrap();
    let path = journal.directory().join(format!("{:020}.ndjson", 0));
    let whole = fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        let kept = memchr::memchr_iter(b'\n', &whole[..cut]).count();
        for tail in [Vec::new(), vec![0; whole.len() - cut]] {
            fs::write(&path, [&whole[..cut], &tail].concat()).unwrap();
            let mut reader = Reader::new(journal.directory(), 0);
            assert_eq!(read(&mut reader), (0..kept).map(line).collect::<Vec<_>>(), "cut at {cut}");
            assert!(reader.finished().unwrap());
        }
    }
}

#[test]
fn oldest_segments_make_room() {
    let root = tempfile::tempdir().unwrap();
    let journal = Journal::new(root.path(), 1 << 20, 8000, WhenFull::DropOldest).unwrap();
    for i in 0..2000 {
        journal.append(&line(i)).unwrap();
        assert!(journal.measure().unwrap() <= 8000);
    }
    let mut reader = Reader::new(journal.directory(), 0);
    let lines = read(&mut reader);
    assert!(lines.len() > 100, "{}", lines.len());
    assert_eq!(lines, (2000 - lines.len()..2000).map(line).collect::<Vec<_>>());
    assert!(reader.missing() > 0);
}

#[test]
fn a_living_writer_is_not_finished() {
    let root = tempfile::tempdir().unwrap();
    let journal = filled(root.path(), 1, 100);
    let mut reader = Reader::new(journal.directory(), 0);
    assert_eq!(read(&mut reader).len(), 1);
    assert!(!reader.finished().unwrap());
    assert!(!reader.wait(Duration::from_millis(1)).unwrap());
    journal.append(&line(1)).unwrap();
    assert!(reader.wait(Duration::from_secs(10)).unwrap());
    journal.close().unwrap();
    assert!(!reader.finished().unwrap());
    assert_eq!(read(&mut reader).len(), 1);
    assert!(reader.finished().unwrap());
}

proptest! {
    #[test]
    fn what_is_written_is_read(count in 0..60_usize, segment_bytes in 1..400_u64, from in 0..60_usize) {
        let root = tempfile::tempdir().unwrap();
        let journal = filled(root.path(), count, segment_bytes);
        let mut reader = Reader::new(journal.directory(), 0);
        prop_assert_eq!(read(&mut reader), (0..count).map(line).collect::<Vec<_>>());
        prop_assert_eq!(reader.offset(), journal.end());
        // Reading can start at any line's offset, and segments before it may be deleted.
        let from = from.min(count);
        let offset = (0..from).map(|i| line(i).len() as u64 + 1).sum();
        reader.delete_before(offset, Duration::ZERO).unwrap();
        let mut later = Reader::new(journal.directory(), offset);
        prop_assert_eq!(read(&mut later), (from..count).map(line).collect::<Vec<_>>());
        prop_assert_eq!((later.torn(), later.corrupt(), later.missing()), (0, 0, 0));
    }

    /// Lines that are appended together are in the same segments as when they are appended one by one, if they fit.
    #[test]
    fn lines_together_are_lines(groups in proptest::collection::vec(0..20_usize, 0..8), segment_bytes in 1..400_u64) {
        let (together, one_by_one) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let count = groups.iter().sum();
        let journal = filled(together.path(), 0, segment_bytes);
        let mut lines = (0..count).map(line);
        for group in groups {
            let group: Vec<u8> = lines.by_ref().take(group).flat_map(|line| [line, b"\n".to_vec()].concat()).collect();
            prop_assert_eq!(journal.append_lines(&group).unwrap(), journal.end());
        }
        prop_assert_eq!(segments(&journal), segments(&filled(one_by_one.path(), count, segment_bytes)));
    }

    #[test]
    fn no_bytes_upset_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300), offset in 0..400_u64) {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(format!("{:020}.ndjson", 0)), &bytes).unwrap();
        let mut reader = Reader::new(root.path(), offset);
        read(&mut reader);
        prop_assert!(reader.finished().unwrap());
    }
}

#[test]
fn a_reader_copes_with_a_writer_that_drops_the_oldest() {
    let root = tempfile::tempdir().unwrap();
    let journal = Journal::new(root.path(), 400, 3200, WhenFull::DropOldest).unwrap();
    journal.append(&line(0)).unwrap();
    let (mut reader, mut bytes, mut numbers) = (Reader::new(journal.directory(), 0), 0, Vec::new());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..20_000).map(|i| journal.append(&line(i)).unwrap()).max());
        loop {
            let over = writer.is_finished();
            let batch = reader.read(50, 1 << 20).unwrap();
            for line in batch.iter().map(|message| message.line) {
                bytes += line.len() as u64 + 1;
                numbers.push(serde_json::from_slice::<serde_json::Value>(line).unwrap()["i"].as_u64().unwrap());
            }
            // Like a forwarder, whose deletions may coincide with the writer's.
            reader.delete_before(reader.offset(), Duration::ZERO).unwrap();
            if over && batch.iter().len() == 0 {
                break;
            }
        }
    });
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, and none twice");
    assert_eq!(numbers.last(), Some(&19_999));
    assert_eq!((bytes + reader.missing(), reader.offset()), (journal.end(), journal.end()));
    assert_eq!((reader.torn(), reader.corrupt()), (0, 0));

    // A late reader finds the remaining lines. A reader after all lines were dropped finds nothing.
    let mut late = Reader::new(journal.directory(), 0);
    late.delete_before(journal.end(), Duration::ZERO).unwrap();
    assert!(!read(&mut late).is_empty() && late.missing() > 0);
    journal.close().unwrap();
    late.delete_journal().unwrap();
    assert!(late.finished().unwrap());
}

#[test]
fn offsets_are_where_lines_begin() {
    let root = tempfile::tempdir().unwrap();
    let journal = filled(root.path(), 100, 300);
    let mut reader = Reader::new(journal.directory(), 0);
    let batch = reader.read(usize::MAX, usize::MAX).unwrap();
    assert_eq!(batch.offsets().len(), 100);
    for (line, offset) in batch.iter().map(|message| message.line).zip(batch.offsets()) {
        let mut from_here = Reader::new(journal.directory(), offset);
        assert_eq!(from_here.read(1, 1 << 20).unwrap().iter().next().unwrap().line, line);
    }
}
