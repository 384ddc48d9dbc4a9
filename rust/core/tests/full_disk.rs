//! A journal on a full disk (contract, section 6).
//!
//! This test is alone in its process. Between fork and exec, its child also holds the locks of all open journals.
#![expect(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use pixelcore::journal::{Error, Journal, Reader, WhenFull};

/// A limit of file sizes simulates a full disk. Only another process can have such a limit.
#[test]
fn a_full_disk_is_told_and_leaves_no_trace() {
    const ROOT: &str = "PIXELCORE_TEST_FULL_DISK";
    if let Some(root) = env::var_os(ROOT) {
        return until_the_disk_is_full(Path::new(&root));
    }
    let root = tempfile::tempdir().unwrap();
    let script = "ulimit -f 8; trap '' XFSZ; exec \"$0\" --exact a_full_disk_is_told_and_leaves_no_trace";
    let child =
        Command::new("sh").args(["-c", script]).arg(env::current_exe().unwrap()).env(ROOT, root.path()).output();
    let child = child.unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

fn until_the_disk_is_full(root: &Path) {
    let journal = Journal::new(root, 1 << 20, 1 << 30, WhenFull::Refuse).unwrap();
    let line = [b"{\"a\":\"", &[b'x'; 1490][..], b"\"}"].concat();
    let mut end = 0;
    let error = loop {
        match journal.append(&line) {
            Ok(now) => end = now,
            Err(error) => break error,
        }
        assert!(end < 1 << 20, "there is no limit");
    };
    let path = journal.directory().join(format!("{:020}.ndjson", 0));
    assert!(matches!(error, Error::Full(_)), "{error}");
    assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
    assert_eq!((journal.end(), fs::metadata(&path).unwrap().len()), (end, end), "what was torn off is cut");
    assert!(end > 0 && end % (line.len() as u64 + 1) == 0);
    assert_eq!(journal.append(b"{}").unwrap(), end + 3, "a line that fits is taken");
    let read: usize = Reader::new(journal.directory(), 0).read(99, 1 << 20).unwrap().len();
    assert_eq!(read as u64, end / (line.len() as u64 + 1) + 1);
}
