//! Append-only NDJSON segments (contract, section 6).
//!
//! ```text
//! events/                                  the root: all journals of one kind
//!   019a3c1e-…/                            one journal, one worker's life; a UUIDv7
//!     lock                                 the writer's flock, held while it lives
//!     00000000000000000000.ndjson          a segment, named by the offset that it begins at
//!     00000000000067108914.ndjson
//! ```

mod batch;
mod commit;
mod message_key;
mod reader;
mod scan;
mod segment;
mod sync;
mod writer;

use std::path::Path;
use std::{fmt, io};

pub use batch::Batch;
pub use commit::{Committer, Flush};
pub use reader::Reader;
pub use writer::{Journal, WhenFull, end_line};

/// Why a journal could not be written or read.
#[derive(Debug)]
pub enum Error {
    /// The byte budget or the file system is used up.
    Full(String),
    /// The journal is closed.
    Closed,
    /// A line has a newline in it.
    Newline,
    /// Anything else that the operating system said.
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
            Self::Newline => f.write_str("a line must not have a newline in it"),
            Self::Io(path, error) => write!(f, "{path}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// Attaches the path to what the operating system said.
trait At<T> {
    fn at(self, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::io(path, error))
    }
}
