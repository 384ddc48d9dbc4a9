//! A journal's events in the forwarder's batches: what the instructions of one event on its way out are counted of.
//!
//!     reader <journal>
//!
//! It prints how many events there were, and how many of them had a key. To count, under `valgrind --tool=callgrind`, take
//! the difference of two journals' runs.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

use pixelcore::journal::Reader;

fn main() -> ExitCode {
    let Some(journal) = std::env::args().nth(1) else { return ExitCode::FAILURE };
    let mut reader = Reader::new(Path::new(&journal), 0);
    let (mut events, mut keys) = (0, 0);
    loop {
        match reader.read(2500, 2 << 20) {
            Ok(batch) if batch.is_empty() => break,
            Ok(batch) => {
                events += batch.len();
                keys += batch.iter().filter(|(line, key)| black_box(line).len() > 1 && key.is_some()).count();
            }
            Err(_) => return ExitCode::FAILURE,
        }
    }
    println!("{events} {keys}");
    ExitCode::SUCCESS
}
