//! Reads a journal's events in the forwarder's batches, for counting the instructions of one event.
//!
//!     reader <journal>
//!
//! It prints the number of events, and of those with a key. To count, run it under `valgrind --tool=callgrind` for two
//! journals, and take the difference.

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
                keys +=
                    batch.iter().filter(|message| black_box(message.line).len() > 1 && message.key.is_some()).count();
            }
            Err(_) => return ExitCode::FAILURE,
        }
    }
    println!("{events} {keys}");
    ExitCode::SUCCESS
}
