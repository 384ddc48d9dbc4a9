//! The files of a journal: their names, what is there, and whether a writer lives.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{At as _, Error};

pub const LOCK: &str = "lock";

/// A segment by its name.
#[derive(Debug)]
pub struct Segment {
    pub path: PathBuf,
    /// The offset of its first byte in the journal.
    pub start: u64,
}

impl Segment {
    /// How long it is; 0 where another process has deleted it.
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }
}

pub fn path(journal: &Path, start: u64) -> PathBuf {
    journal.join(format!("{start:020}.ndjson"))
}

/// The segments of a journal by offset; none where the directory is missing. They are not looked at, since a forwarder lists
/// them after each batch, and a long backlog has many.
pub fn list(journal: &Path) -> Result<Vec<Segment>, Error> {
    let named = |path: PathBuf| start_of(&path).map(|start| Segment { path, start });
    let mut segments: Vec<_> = entries(journal)?.into_iter().filter_map(named).collect();
    segments.sort_by_key(|segment| segment.start);
    Ok(segments)
}

/// The journals under a root, oldest first. Any name but a UUID is somebody else's, or a journal in the making.
pub fn journals(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut journals = entries(root)?;
    let identity = |path: &PathBuf| Uuid::try_parse_ascii(path.file_name()?.as_encoded_bytes()).ok();
    journals.retain(|path| identity(path).is_some());
    journals.sort();
    Ok(journals)
}

/// Flushes the names in a directory.
pub fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|file| file.sync_all()).at(directory)
}

/// Flushes the name of a root of journals, and those of `made` directories above it at least: of the directory that it
/// is in and of the one above that, too, which a sibling may have made a moment ago.
pub fn sync_above(root: &Path, made: usize) -> Result<(), Error> {
    for directory in root.ancestors().skip(1).take(made.max(2)) {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        match sync_directory(directory) {
            // One that is not ours to read was there before.
            Err(Error::Io(_, error)) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Whether the writer of a journal lives, that is holds its lock.
pub fn is_live(journal: &Path) -> bool {
    let Ok(lock) = File::open(journal.join(LOCK)) else { return false };
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Whether an open file is the one that has the name.
pub fn is_named(file: &File, path: &Path) -> Result<bool, Error> {
    let open = file.metadata().at(path)?;
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        named => named.at(path).map(|named| (named.dev(), named.ino()) == (open.dev(), open.ino())),
    }
}

fn start_of(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    // Digits alone, since parsing takes a sign, and no more than any journal reaches, so that sums fit.
    let digits = stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = path.extension() == Some(OsStr::new("ndjson")) && digits;
    is_name.then(|| stem.parse().ok()).flatten().filter(|start| *start <= u64::MAX / 2)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).at(directory),
    }
}
