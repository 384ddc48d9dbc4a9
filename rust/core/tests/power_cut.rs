//! Section 6 of the contract: a power cut at any byte after the last flush, with any state of the rest.
#![expect(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use pixelcore::journal::{Journal, Reader, WhenFull};
use tempfile::TempDir;

const LINES: usize = 16;
const SEGMENT_BYTES: u64 = 100;
/// Devices lose and keep whole sectors. Small ones make many cases.
const SECTOR: usize = 16;

/// The segments of a journal by offset, complete or after a cut.
type Image = Vec<(usize, Vec<u8>)>;

fn line(number: usize) -> Vec<u8> {
    format!(r#"{{"n":{number},"x":"{}"}}"#, "x".repeat(number * 7 % 23)).into_bytes()
}

/// A complete journal, the end of each of its lines, and its directory.
fn written(root: &Path) -> (Image, Vec<usize>, Journal) {
    let journal = Journal::new(root, SEGMENT_BYTES, u64::MAX, WhenFull::Refuse).unwrap();
    let ends = (0..LINES).map(|number| usize::try_from(journal.append(&line(number)).unwrap()).unwrap()).collect();
    journal.close().unwrap();
    let mut image: Image = fs::read_dir(journal.directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().parse().unwrap(), fs::read(&path).unwrap()))
        .collect();
    image.sort();
    (image, ends, journal)
}

/// The directory for thousands of journals, in memory if possible.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The change of a segment with these kept bytes and those unflushed ones. None deletes it.
type Change<'c> = &'c dyn Fn(&[u8], &[u8]) -> Option<Vec<u8>>;

/// The states of the device after a cut that kept everything before `cut`, for every way in which a file system may
/// leave the rest. Pages reach the device in any order, and so do sizes and names.
fn remains(whole: &Image, cut: usize) -> Vec<(&'static str, Image)> {
    let split = |segment: &(usize, Vec<u8>)| cut.saturating_sub(segment.0).min(segment.1.len());
    let of_each = |change: Change| -> Image {
        let keep = |segment: &(usize, Vec<u8>)| {
            let (kept, rest) = segment.1.split_at(split(segment));
            if rest.is_empty() { Some(kept.to_vec()) } else { change(kept, rest) }.map(|bytes| (segment.0, bytes))
        };
        whole.iter().filter_map(keep).collect()
    };
    let followed = |behind: &dyn Fn(&[u8]) -> Vec<u8>| {
        of_each(&|kept, rest| Some(if kept.is_empty() { behind(rest) } else { kept.to_vec() }))
    };
    vec![
        ("cut short", followed(&|_| Vec::new())),
        ("cut short, and later names gone", of_each(&|kept, _| (!kept.is_empty()).then(|| kept.to_vec()))),
        ("cut short, and later segments whole", followed(&<[u8]>::to_vec)),
        ("cut short, and later segments zeros", followed(&|rest| vec![0; rest.len()])),
        ("zeros", of_each(&|kept, rest| Some([kept, &vec![0; rest.len()]].concat()))),
        (
            "zeros, and later names gone",
            of_each(&|kept, rest| (!kept.is_empty()).then(|| [kept, &vec![0; rest.len()]].concat())),
        ),
        (
            "a sector of zeros, and the rest whole",
            of_each(&|kept, rest| {
                let lost = (SECTOR - kept.len() % SECTOR).min(rest.len());
                Some(if kept.is_empty() { rest.to_vec() } else { [kept, &vec![0; lost], &rest[lost..]].concat() })
            }),
        ),
        (
            "the segment of the cut gone, which no flush had covered",
            of_each(&|kept, rest| Some([kept, rest].concat()))
                .into_iter()
                .filter(|(start, bytes)| *start != cut || bytes.is_empty())
                .collect(),
        ),
    ]
}

/// The expected findings of a reader: lines, bytes of torn lines, corrupt lines, bytes of missing segments.
fn oracle(image: &Image, known: &HashSet<Vec<u8>>) -> (Vec<Vec<u8>>, u64, u64, u64) {
    let (mut lines, mut torn, mut corrupt, mut missing, mut end) = (Vec::new(), 0, 0, 0, 0);
    for (start, bytes) in image {
        missing += start - end;
        end = start + bytes.len();
        let (whole, tail) = bytes.split_at(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1));
        torn += tail.len();
        for line in whole.split_inclusive(|&byte| byte == b'\n').map(|line| &line[..line.len() - 1]) {
            if known.contains(line) { lines.push(line.to_vec()) } else { corrupt += 1 }
        }
    }
    (lines, torn as u64, corrupt, missing as u64)
}

fn read(reader: &mut Reader) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    loop {
        let batch = reader.read(7, 100).unwrap();
        if batch.is_empty() {
            return lines;
        }
        lines.extend(batch.iter().map(|message| message.line.to_vec()));
    }
}

fn lay_out(image: &Image, directory: &Path) {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).unwrap();
    for (start, bytes) in image {
        fs::write(directory.join(format!("{start:020}.ndjson")), bytes).unwrap();
    }
}

#[test]
fn what_a_flush_covered_is_read_once_wherever_the_rest_is_cut() {
    let root = scratch();
    let (whole, ends, journal) = written(root.path());
    assert!(whole.len() > 4, "several segments");
    let known: HashSet<_> = (0..LINES).map(line).collect();
    for cut in 0..=*ends.last().unwrap() {
        // The last flush may have been at any line before the cut. The nearest one is enough, because it covers all
        // others.
        let covered = ends.iter().filter(|&&end| end <= cut).count();
        for (how, image) in remains(&whole, cut) {
            lay_out(&image, &journal.directory());
            let mut reader = Reader::new(journal.directory(), 0);
            let lines = read(&mut reader);
            let told = format!("cut at {cut}: {how}");
            assert!(reader.finished().unwrap(), "{told}");
            let found = (lines, reader.torn(), reader.corrupt(), reader.missing());
            assert_eq!(found, oracle(&image, &known), "{told}");
            assert!(found.0.starts_with(&(0..covered).map(line).collect::<Vec<_>>()), "{told}");
            assert_eq!(found.0.iter().collect::<HashSet<_>>().len(), found.0.len(), "{told}");
        }
    }
}

#[test]
fn what_was_shipped_before_the_cut_is_not_read_again() {
    let root = scratch();
    let (whole, ends, journal) = written(root.path());
    for cut in (0..=*ends.last().unwrap()).step_by(9) {
        for (how, image) in remains(&whole, cut) {
            lay_out(&image, &journal.directory());
            for (shipped, &committed) in ends.iter().enumerate().filter(|(_, end)| **end > cut) {
                let mut reader = Reader::new(journal.directory(), committed as u64);
                let unshipped: HashSet<_> = (shipped + 1..LINES).map(line).collect();
                let lines = read(&mut reader);
                let told = format!("cut at {cut}, shipped to {committed}: {how}");
                assert!(lines.iter().all(|line| unshipped.contains(line)), "{told}");
                assert!(lines.is_sorted_by_key(|line| ends[(0..LINES).find(|&n| &self::line(n) == line).unwrap()]));
                assert!(reader.finished().unwrap(), "{told}");
            }
        }
    }
}

#[test]
fn a_new_life_is_no_part_of_the_cut_one() {
    let root = scratch();
    let (whole, _, old) = written(root.path());
    for (_, image) in remains(&whole, 150) {
        lay_out(&image, &old.directory());
        let before: Vec<_> = fs::read_dir(old.directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let new = Journal::new(root.path(), SEGMENT_BYTES, u64::MAX, WhenFull::Refuse).unwrap();
        new.append(&line(0)).unwrap();
        assert!(new.id() > old.id());
        assert_eq!(read(&mut Reader::new(new.directory(), 0)), [line(0)]);
        assert!(before.iter().all(|path| path.exists()));
        let mut reader = Reader::new(old.directory(), 0);
        read(&mut reader);
        assert!(reader.finished().unwrap());
        reader.delete_journal().unwrap();
        assert!(!old.directory().exists() && new.directory().exists());
    }
}

/// More zeros than one read covers cost only their own line, and the lines after them are found.
#[test]
fn megabytes_of_zeros() {
    let root = scratch();
    let zeros = vec![0; 3 << 20];
    let (first, last) = ([line(1), b"\n".to_vec()].concat(), [line(2), b"\n".to_vec()].concat());
    let cases = [
        ("to the end", [&first[..], &zeros].concat(), vec![line(1)], zeros.len() as u64, 0),
        ("within a line", [&first[..], &zeros, b"\n", &last].concat(), vec![line(1), line(2)], 0, 1),
        ("at the beginning", [&zeros[..], &first, &last].concat(), vec![line(2)], 0, 1),
    ];
    for (name, bytes, lines, torn, corrupt) in cases {
        for next in [None, Some(bytes.len())] {
            let mut image = vec![(0, bytes.clone())];
            let mut expected = lines.clone();
            if let Some(start) = next {
                image.push((start, [line(3), b"\n".to_vec()].concat()));
                expected.push(line(3));
            }
            lay_out(&image, root.path());
            let mut reader = Reader::new(root.path(), 0);
            assert_eq!(read(&mut reader), expected, "{name}");
            assert!(reader.finished().unwrap());
            assert_eq!((reader.torn(), reader.corrupt(), reader.missing()), (torn, corrupt, 0), "{name}");
        }
    }
}
