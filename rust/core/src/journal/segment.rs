//! The files of a journal: their names, listing and deleting them, and whether a writer lives.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{At as _, Error};

pub const LOCK: &str = "lock";

/// The file with the offset below which all lines of a journal are in their topic.
const COMMITTED: &str = "committed";

/// The files of a journal besides its segments. All but the first are the forwarder's.
const OWN: [&str; 4] = [LOCK, COMMITTED, "forward.lock", "shipped"];

/// A segment, known by its name.
#[derive(Debug)]
pub struct Segment {
    pub path: PathBuf,
    /// The offset of its first byte in the journal.
    pub start: u64,
}

impl Segment {
    /// Its bytes; 0 if another process has deleted it.
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }
}

pub fn path(journal: &Path, start: u64) -> PathBuf {
    journal.join(format!("{start:020}.ndjson"))
}

/// The segments of a journal by offset; empty if the directory is missing. The files are not opened, because a
/// forwarder lists them after each batch, and a large backlog has many.
pub fn list(journal: &Path) -> Result<Vec<Segment>, Error> {
    let named = |path: PathBuf| start_of(&path).map(|start| Segment { path, start });
    let mut segments: Vec<_> = entries(journal)?.into_iter().filter_map(named).collect();
    segments.sort_by_key(|segment| segment.start);
    Ok(segments)
}

/// The journals under a root, oldest first. Any name but a UUID is foreign, or a journal in the making.
pub fn journals(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut journals = entries(root)?;
    let identity = |path: &PathBuf| Uuid::try_parse_ascii(path.file_name()?.as_encoded_bytes()).ok();
    journals.retain(|path| identity(path).is_some());
    journals.sort();
    Ok(journals)
}

/// Makes a directory and those above it, for their user alone, because journals have personal data.
pub fn create_directory(directory: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).at(directory)
}

/// The options for new files, which are for their user alone.
pub fn create() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// The noted offset below which all lines of a journal are in their topic; 0 without a note.
pub fn committed(journal: &Path) -> u64 {
    let noted = fs::read_to_string(journal.join(COMMITTED)).ok();
    noted.and_then(|offset| offset.trim().parse().ok()).unwrap_or_default()
}

/// The number of lines of a segment after an offset; 0 if it cannot be read.
pub fn lines_behind(segment: &Segment, offset: u64) -> u64 {
    let mut lines = 0;
    let Ok(file) = File::open(&segment.path) else { return 0 };
    let (mut chunk, mut at) = (vec![0; 1 << 20], offset.saturating_sub(segment.start));
    while let Ok(read @ 1..) = file.read_at(&mut chunk, at) {
        lines += memchr::memchr_iter(b'\n', &chunk[..read]).count() as u64;
        at += read as u64;
    }
    lines
}

/// Deletes a journal: its files, and its directory. If it has foreign files, they stay in a directory with another
/// name, which is not a journal's.
pub fn delete(journal: &Path) -> io::Result<()> {
    let is_ours = |path: &Path| {
        start_of(path).is_some() || path.file_name().is_some_and(|name| OWN.iter().any(|own| name == *own))
    };
    for path in fs::read_dir(journal)?.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if is_ours(&path) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    match fs::remove_dir(journal) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            fs::rename(journal, journal.with_extension("not-pixelcore"))
        }
        removed => removed,
    }
}

/// Flushes the names in a directory.
pub fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|file| file.sync_all()).at(directory)
}

/// Flushes the name of a root of journals, and the names of `made` directories above it. Flushes at least the directory
/// of the root and the one above, which a sibling may have made a moment ago.
pub fn sync_above(root: &Path, made: usize) -> Result<(), Error> {
    for directory in root.ancestors().skip(1).take(made.max(2)) {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        match sync_directory(directory) {
            // A directory that this user may not read existed before.
            Err(Error::Io(_, error)) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Whether the writer of a journal lives, that is, holds its lock.
pub fn is_live(journal: &Path) -> bool {
    let Ok(lock) = File::open(journal.join(LOCK)) else { return false };
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Whether an open file is still the one with this name.
pub fn is_named(file: &File, path: &Path) -> Result<bool, Error> {
    let open = file.metadata().at(path)?;
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        named => named.at(path).map(|named| (named.dev(), named.ino()) == (open.dev(), open.ino())),
    }
}

fn start_of(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    // Only digits, because parsing also accepts a sign. Only offsets that a journal can reach, so that sums fit.
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
