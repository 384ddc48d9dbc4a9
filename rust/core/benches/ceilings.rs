//! Measures a consent list of so many persons: its size, the time to make it, and the cost of a request's look-up.
//!
//!     ceilings <directory> <persons>
//!
//! It prints one JSON object. Half of the persons that are looked up are in the list.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::process::ExitCode;
use std::slice;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use memmap2::MmapRaw;
use pixelcore::consent::ceilings::{Ceiling, Ceilings, Person};
use pixelcore::consent::{Malformed, Record, Secrets, Writer};
use pixelcore::memory::Memory;

const SECRET: &str = "k1:fRz3t8Qh2mWc6XeJ0LpVnYbA4sGdUo95";
const SCOPE: &str = "pip_newsletter";
const BATCH: usize = 10_000;
const LOOKS: usize = 1_000_000;
const ROUND: usize = 1_000;

struct Words(MmapRaw);

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the words lie within the mapping, which begins at a page and stays as long as this value.
        unsafe { slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() / size_of::<AtomicU64>()) }
    }
}

fn map(file: &File) -> io::Result<Box<dyn Memory>> {
    Ok(Box::new(Words(MmapRaw::map_raw(file)?)))
}

fn id(person: usize) -> String {
    format!("user_{person:08}")
}

fn run(directory: &Path, persons: usize) -> Result<(), Box<dyn std::error::Error>> {
    let secrets = Secrets::parse(SECRET)?;
    let mut writer = Writer::open(directory, map)?;
    let value = format!(r#"{{"scope":"{SCOPE}","mode":"individual","time":"2026-11-30T12:00:00.000Z"}}"#);
    let begun = Instant::now();
    for begin in (0..persons).step_by(BATCH) {
        let ids: Vec<String> = (begin..(begin + BATCH).min(persons)).map(id).collect();
        let keys = secrets.record_keys(SCOPE, Person::Uid, ids.iter().map(String::as_bytes));
        let records = keys.map(|key| Record::parse(key.as_bytes(), Some(value.as_bytes()), None));
        writer.apply(&records.collect::<Result<Vec<_>, _>>().map_err(Malformed::as_str)?)?;
    }
    let made = begun.elapsed();
    let begun = Instant::now();
    writer.sync(&[])?;
    let flushed = begun.elapsed();

    let ceilings = Ceilings::new(directory, secrets, None, map);
    // The ids are spread over the whole list, and made in advance, because a request has its id already.
    let ids: Vec<String> = (0..LOOKS).map(|look| id(look * 7_919 % (2 * persons))).collect();
    let (mut times, mut found) = (Vec::new(), 0);
    for ids in ids.chunks(ROUND) {
        let begun = Instant::now();
        let is_known =
            |id: &&String| matches!(black_box(ceilings.ceiling(SCOPE, Person::Uid, id.as_bytes())), Ceiling::Of { .. });
        found += ids.iter().filter(is_known).count();
        #[expect(clippy::cast_precision_loss, reason = "a thousand")]
        times.push(begun.elapsed().as_secs_f64() * 1e9 / ROUND as f64);
    }
    // Rounds are shorter than a scheduling slice. In the slowest ones, another process had the processor.
    times.sort_unstable_by(f64::total_cmp);
    let (low, median) = (times[times.len() / 10], times[times.len() / 2]);
    let bytes = directory.join("ceilings").metadata()?.len();
    println!(
        r#"{{"persons": {persons}, "bytes": {bytes}, "seconds_to_make": {:.2}, "seconds_to_flush": {:.2}, "ns_a_look": {low:.0}, "ns_a_look_median": {median:.0}, "found": {found}}}"#,
        made.as_secs_f64(),
        flushed.as_secs_f64(),
    );
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, persons, ..] = &arguments[..] else { return ExitCode::FAILURE };
    let Ok(persons) = persons.parse() else { return ExitCode::FAILURE };
    match run(Path::new(directory), persons) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
