//! The journal: append-only NDJSON segments (contract, section 6).
//!
//! # On the disk
//!
//! ```text
//! events/                                  the root: all journals of one kind, with one byte budget
//!   019a3c1e-…/                            one journal, one worker's life; a UUIDv7, so names sort by age
//!     lock                                 the writer's flock, held while it lives
//!     00000000000000000000.ndjson          a segment, named by the offset at which it begins
//!     00000000000067108914.ndjson
//!     committed                            the offset below which every line is in its topic, 20 digits
//!     forward.lock                         the flock of the process that ships the journal
//!     shipped                              a mark: everything is shipped, and the journal is only kept
//! ```
//!
//! An offset counts the bytes of the journal from its first line on. A segment ends where the next one begins. A record is one
//! JSON object and a newline. The last three files are the forwarder's (`pixelcore.journals` in Python). This module reads
//! `committed` to count dropped lines, and deletes all of them with the journal. Everything is for its user alone (0700, 0600).
//!
//! # Operations
//!
//! - **Begin**: [`Journal::new`] makes only the root. The first line makes the directory, under a name with a dot. It gets its
//!   real name after the lock is held, so no process can take it for an orphaned journal.
//! - **Append**: [`Journal::append_lines`] writes all lines of a segment with one `write(2)`. A failure is cut off again. If even
//!   that fails, the next line begins a segment at the offset before the failure, where readers stop.
//! - **Rotate**: a segment is full before the line that would exceed `segment_bytes`. A longer line gets its own segment.
//! - **Budget**: with [`WhenFull::Refuse`], a line that exceeds the budget of the root is refused. With
//!   [`WhenFull::DropOldest`], the oldest segments are deleted, but never the last one of a living writer.
//! - **Flush**: [`Journal::sync`] flushes full segments, the open one, and new names. A segment whose flush failed is never
//!   written or flushed again. [`Committer`] flushes for groups of requests.
//! - **Repair**: [`Journal::repair`] restores a removed lock and the open segment from the open file.
//! - **Renew**: [`Journal::renew`] releases the journal as if its writer had ended, and begins a new one.
//! - **Read**: [`Reader`] follows a journal during its writer's life and afterwards. It skips and counts torn lines, lines that
//!   are not JSON objects, and missing segments, each once.
//! - **Delete**: [`Reader::delete_before`] deletes shipped segments except the last one. [`Reader::delete_journal`] deletes a
//!   finished journal, and leaves foreign files in a directory with another name.
//!
//! # Invariants
//!
//! - One writer per journal. It holds `lock`, and the kernel releases the lock at its end.
//! - After a successful append, the end of a process cannot lose the line. After a successful flush, a power cut cannot.
//! - A reader sees only whole lines, each at one offset, in the order of writing.
//!
//! This module knows lines and bytes. It does not know requests, Kafka or the checkpoint topic.

mod batch;
mod commit;
mod reader;
mod record;
mod scan;
mod segment;
mod sync;
mod writer;

use std::path::Path;
use std::{fmt, io};

pub use batch::{Batch, Message};
pub use commit::{Committer, Flush};
pub use reader::Reader;
pub(crate) use scan::record as read_record;
pub use writer::{Journal, WhenFull, end_line};

/// Why a journal could not be written or read.
#[derive(Debug)]
pub enum Error {
    /// The byte budget or the file system is used up.
    Full(String),
    /// The journal is closed.
    Closed,
    /// A line contains a newline.
    Newline,
    /// Any other error of the operating system.
    Io(String, io::Error),
}

impl Error {
    fn io(path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full(format!("{}: {error}", path.display()))
            }
            _ => Self::Io(path.display().to_string(), error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(why) => f.write_str(why),
            Self::Closed => f.write_str("the journal is closed"),
            Self::Newline => f.write_str("a line must not contain a newline"),
            Self::Io(path, error) => write!(f, "{path}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// Attaches the path to an error of the operating system.
trait At<T> {
    fn at(self, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::io(path, error))
    }
}
