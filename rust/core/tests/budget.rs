//! The byte budget of a root of journals, and the errors of a journal that cannot be written (contract, section 6).
#![expect(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use pixelcore::journal::{Error, Journal, Reader, WhenFull, end_line};

const LINE: &[u8] = b"{\"a\":\"0123\"}"; // 13 bytes with its newline

fn journal(root: &Path, segment_bytes: u64, max_bytes: u64, when_full: WhenFull) -> Journal {
    Journal::new(root, segment_bytes, max_bytes, when_full).unwrap()
}

/// Appends lines until one is refused. Returns their number and the error.
fn fill(journal: &Journal) -> (usize, String) {
    for lines in 0..1000 {
        match journal.append(LINE) {
            Ok(end) => assert_eq!(end, (lines as u64 + 1) * 13),
            Err(error) => {
                assert!(matches!(error, Error::Full(_)), "{error}");
                return (lines, error.to_string());
            }
        }
    }
    panic!("it never is full");
}

#[test]
fn a_budget_is_used_to_the_last_byte_and_no_further() {
    for (name, max_bytes, expected) in [("all of it", 130, 10), ("a byte less", 129, 9), ("a byte more", 131, 10)] {
        let root = tempfile::tempdir().unwrap();
        let journal = journal(root.path(), 1 << 20, max_bytes, WhenFull::Refuse);
        let (lines, why) = fill(&journal);
        assert_eq!(lines, expected, "{name}");
        let used = 13 * expected;
        assert_eq!(why, format!("{}: {used} of {max_bytes} bytes are used", root.path().display()), "{name}");
        assert_eq!((journal.end(), journal.measure().unwrap()), (used as u64, used as u64), "{name}");
        assert_eq!(journal.dropped(), 0, "{name}: nothing that was accepted gives way");
        // Shipped segments make room again, after the next measurement.
        let reader = Reader::new(journal.directory(), 0);
        reader.delete_before(journal.end(), std::time::Duration::ZERO).unwrap();
        let left = journal.measure().unwrap();
        assert!(left < used as u64 && left > 0, "{name}: the segment that is written to stays");
        journal.append(LINE).unwrap();
    }
}

#[test]
fn siblings_share_a_budget() {
    let root = tempfile::tempdir().unwrap();
    let one = journal(root.path(), 1 << 20, 130, WhenFull::Refuse);
    for _ in 0..6 {
        one.append(LINE).unwrap();
    }
    let other = journal(root.path(), 1 << 20, 130, WhenFull::Refuse);
    assert_eq!(fill(&other).0, 4, "what was there when it began counts");
    assert_eq!(one.append(LINE).unwrap(), 7 * 13, "what came since is seen at the next look");
    assert_eq!(one.measure().unwrap(), 11 * 13);
    assert!(matches!(one.append(LINE), Err(Error::Full(_))));
    // A renewed journal counts the bytes of its predecessor.
    one.renew().unwrap();
    assert!(matches!(one.append(LINE), Err(Error::Full(_))));
    fs::remove_dir_all(other.directory()).unwrap();
    one.measure().unwrap();
    assert_eq!(one.append(LINE).unwrap(), 13);
}

#[test]
fn the_oldest_give_way_where_they_may() {
    let root = tempfile::tempdir().unwrap();
    let before = journal(root.path(), 26, 1 << 20, WhenFull::Refuse);
    for _ in 0..4 {
        before.append(LINE).unwrap();
    }
    before.close().unwrap();
    let now = journal(root.path(), 26, 208, WhenFull::DropOldest);
    for _ in 0..12 {
        now.append(LINE).unwrap();
        assert!(now.measure().unwrap() <= 208);
    }
    assert_eq!((before.directory().exists(), now.dropped()), (true, 0));
    now.append(LINE).unwrap();
    assert_eq!(now.dropped(), 2, "a segment of the oldest journal");
    for _ in 0..8 {
        now.append(LINE).unwrap();
    }
    assert!(!before.directory().exists(), "of which nothing is left, and its directory goes");
    // Lines below the committed offset do not count as dropped.
    fs::write(now.directory().join("committed"), format!("{:020}\n", now.end())).unwrap();
    let dropped = now.dropped();
    for _ in 0..2 {
        now.append(LINE).unwrap();
    }
    assert_eq!(now.dropped(), dropped);
    let error = now.append(&[b'x'; 209]).unwrap_err();
    assert!(matches!(error, Error::Full(_)), "one that is larger than all: {error}");
}

#[test]
fn what_a_journal_says() {
    let root = tempfile::tempdir().unwrap();
    let journal = journal(&root.path().join("a/b"), 1 << 20, 1 << 20, WhenFull::Refuse);
    journal.append(LINE).unwrap();
    assert_eq!(journal.append(b"{}\n").unwrap_err().to_string(), "a line must not contain a newline");
    assert_eq!(end_line(&mut b"\n".to_vec()).unwrap_err().to_string(), "a line must not contain a newline");
    journal.close().unwrap();
    let closed = journal.append(LINE).unwrap_err();
    assert_eq!((closed.to_string(), matches!(closed, Error::Closed)), ("the journal is closed".to_owned(), true));
    assert!(matches!(journal.renew(), Err(Error::Closed)));

    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Journal::new(&file.join("journals"), 1, 100, WhenFull::Refuse).err().unwrap();
    assert!(matches!(error, Error::Io(..)), "{error}");
    assert!(error.to_string().starts_with(&format!("{}: ", file.join("journals").display())), "{error}");
}
