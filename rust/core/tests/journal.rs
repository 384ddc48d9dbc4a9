//! The journal against a list of lines: rotation, tails, and cuts at every byte (contract, section 6).
#![expect(clippy::unwrap_used)]

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
        lines.extend(batch.iter().map(|(line, _)| line.to_vec()));
    }
}

fn filled(root: &std::path::Path, lines: usize, segment_bytes: u64) -> Journal {
    let journal = Journal::new(root, segment_bytes, u64::MAX, WhenFull::Refuse).unwrap();
    for i in 0..lines {
        journal.append(&line(i)).unwrap();
    }
    journal
}

#[test]
fn keys_are_user_id_then_anonymous_id() {
    let root = tempfile::tempdir().unwrap();
    let journal = Journal::new(root.path(), 1 << 20, u64::MAX, WhenFull::Refuse).unwrap();
    let cases = [
        (r#"{"userId":"u","anonymousId":"a"}"#, Some("u")),
        (r#"{"anonymousId":"a","properties":{"userId":"no"}}"#, Some("a")),
        (r#"{"type":"track"}"#, None),
        (r#"{"userId":"\u00e9\n\"é"}"#, Some("é\n\"é")),
    ];
    for (line, _) in cases {
        journal.append(line.as_bytes()).unwrap();
    }
    let batch = Reader::new(journal.directory(), 0).read(10, 1 << 20).unwrap();
    let keys: Vec<_> = batch.iter().map(|(_, key)| key).collect();
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
        // Any line's offset is a place to go on from, and segments before it may go.
        let from = from.min(count);
        let offset = (0..from).map(|i| line(i).len() as u64 + 1).sum();
        reader.delete_before(offset, Duration::ZERO).unwrap();
        let mut later = Reader::new(journal.directory(), offset);
        prop_assert_eq!(read(&mut later), (from..count).map(line).collect::<Vec<_>>());
        prop_assert_eq!((later.torn(), later.corrupt(), later.missing()), (0, 0, 0));
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
