//! A reader on a directory with any damage.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pixelcore::journal::Reader;
use serde::de::IgnoredAny;

/// A reader terminates, returns the lines that are JSON objects in order, and counts the others.
///
/// The input is a list of segments, each with its bytes, the missing bytes before it, and the surplus bytes in it.
#[expect(clippy::zero_sized_map_values, reason = "that it can be read is what counts")]
pub fn journal(data: &[u8]) {
    let root = tempfile::tempdir_in(memory()).expect("a directory");
    let (mut expected, mut corrupt) = (Vec::new(), 0);
    let (mut rest, mut start, mut overlapped) = (data, 0_u64, false);
    while let [length, gap, overlap, tail @ ..] = rest {
        let (content, after) = tail.split_at(tail.len().min(usize::from(*length)));
        // An overlapping segment has no missing bytes before it.
        start += if overlapped { 0 } else { u64::from(gap % 8) };
        fs::write(root.path().join(format!("{start:020}.ndjson")), content).expect("a segment");
        // The next segment begins where this one ends, minus the overlap.
        let is_last = after.len() < 3;
        let overlap = if is_last { 0 } else { usize::from(overlap % 4).min(content.len().saturating_sub(1)) };
        overlapped = overlap > 0;
        let seen = &content[..content.len() - overlap];
        for line in seen.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            let event = &line[..line.len() - 1];
            // Objects of any depth, with numbers of any size, and with repeated members.
            let is_object = |text: &str| serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text).is_ok();
            if event.starts_with(b"{") && str::from_utf8(event).is_ok_and(is_object) {
                expected.push(event.to_vec());
            } else {
                corrupt += 1;
            }
        }
        // Two segments cannot have the same offset, because they would have the same file.
        start += (seen.len() as u64).max(1);
        rest = after;
    }
    let mut reader = Reader::new(root.path(), 0);
    let mut found = Vec::new();
    loop {
        let batch = reader.read(2, 64).expect("what is there can be read");
        if batch.is_empty() {
            break;
        }
        found.extend(batch.iter().map(|message| message.line.to_vec()));
    }
    assert!(reader.finished().expect("it can be looked at"), "nobody writes, and all is read");
    assert_eq!(found, expected);
    assert_eq!(reader.corrupt(), corrupt);
}

/// A directory in memory, if there is one.
fn memory() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}
