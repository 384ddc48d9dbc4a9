//! The writer, part one: append, rotate, and the byte budget.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::segment::{self, Segment};
use super::{At as _, Error};

/// The reaction to a used-up byte budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Refuse the new line. Earlier lines are never dropped.
    Refuse,
    /// Drop the oldest segments.
    DropOldest,
}

/// The journal of one worker's life. The first line makes its directory, so an idle worker leaves nothing behind.
pub struct Journal {
    pub(super) root: PathBuf,
    /// The number of directories that were made for the root.
    pub(super) made: usize,
    segment_bytes: u64,
    max_bytes: u64,
    when_full: WhenFull,
    /// The number of lines that were dropped to make room.
    dropped: AtomicU64,
    state: Mutex<State>,
    /// Whether the name of the root itself was flushed. A flush holds this lock, because a concurrent flush of the same
    /// file would succeed although the first one fails.
    pub(super) rooted: Mutex<bool>,
}

#[derive(Default)]
pub(super) struct State {
    /// The id of the current journal. [`Journal::renew`] changes it.
    id: String,
    pub(super) directory: PathBuf,
    pub(super) lock: Option<File>,
    pub(super) segment: Option<Open>,
    /// Full segments that are not flushed yet.
    pub(super) retired: Vec<Arc<File>>,
    /// Whether names were added to a directory since the last flush.
    pub(super) renamed: bool,
    pub(super) end: u64,
    /// The `end` of the last flush.
    pub(super) flushed: u64,
    /// Whether lines after `flushed` went to a segment whose flush has failed.
    pub(super) doubtful: bool,
    /// All bytes under the root at the time when `end` was `measured_end`.
    measured: u64,
    measured_end: u64,
    /// The offset of the first segment at that time.
    start: u64,
    pub(super) closed: bool,
}

impl State {
    /// The state of a new journal under `root`.
    fn named(root: &Path) -> Self {
        let id = Uuid::now_v7().hyphenated().to_string();
        Self { directory: root.join(&id), id, ..Self::default() }
    }
}

pub(super) struct Open {
    pub(super) file: Arc<File>,
    pub(super) start: u64,
}

impl Journal {
    /// Begins a journal under `root`. All journals under a root share one byte budget.
    pub fn new(root: &Path, segment_bytes: u64, max_bytes: u64, when_full: WhenFull) -> Result<Self, Error> {
        let made = root.ancestors().take_while(|directory| !directory.exists()).count();
        segment::create_directory(root)?;
        let journal = Self {
            root: root.to_owned(),
            made,
            // Room is made by whole segments, and never by the last one, so there must be several.
            segment_bytes: segment_bytes.min(max_bytes / 8),
            max_bytes,
            when_full,
            dropped: AtomicU64::default(),
            state: Mutex::new(State::named(root)),
            rooted: Mutex::default(),
        };
        journal.measure()?;
        Ok(journal)
    }

    /// The journal's identity.
    #[must_use]
    pub fn id(&self) -> String {
        self.state().id.clone()
    }

    /// The journal's directory.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.state().directory.clone()
    }

    /// The offset after the last line.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.state().end
    }

    /// Writes a line and a newline, and returns the offset after it. A failure leaves no trace.
    pub fn append(&self, line: &[u8]) -> Result<u64, Error> {
        let mut line = line.to_vec();
        end_line(&mut line)?;
        self.append_lines(&line)
    }

    /// Writes [ended](end_line) lines, with one `write(2)` per segment, and returns the offset after them. A failure
    /// leaves no trace of the lines of its segment and of later ones.
    pub fn append_lines(&self, mut lines: &[u8]) -> Result<u64, Error> {
        let state = &mut *self.state();
        while !lines.is_empty() {
            let together;
            (together, lines) = lines.split_at(self.fitting(state, lines));
            self.append_together(state, together)?;
        }
        Ok(state.end)
    }

    /// The bytes of the lines that fit into the open segment, or of the first line if it does not fit.
    fn fitting(&self, state: &State, lines: &[u8]) -> usize {
        let used = state.segment.as_ref().map_or(0, |open| state.end - open.start);
        let newline = match usize::try_from(self.segment_bytes.saturating_sub(used)) {
            Ok(room) if room < lines.len() => {
                memchr::memrchr(b'\n', &lines[..room]).or_else(|| memchr::memchr(b'\n', lines))
            }
            _ => None,
        };
        newline.map_or(lines.len(), |newline| newline + 1)
    }

    fn append_together(&self, state: &mut State, lines: &[u8]) -> Result<(), Error> {
        if state.closed {
            return Err(Error::Closed);
        }
        let bytes = lines.len() as u64;
        let used = state.measured + (state.end - state.measured_end);
        let needed = if self.when_full == WhenFull::Refuse { used + bytes } else { bytes };
        if needed > self.max_bytes {
            return Err(Error::Full(format!("{}: {used} of {} bytes are used", self.root.display(), self.max_bytes)));
        }
        let open = match &state.segment {
            Some(open) if state.end == open.start || state.end - open.start + bytes <= self.segment_bytes => open,
            _ => self.rotate(state, bytes)?,
        };
        let (file, start) = (Arc::clone(&open.file), open.start);
        let write = || (&*file).write(lines);
        let mut outcome = write();
        while outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            outcome = write();
        }
        match outcome {
            Ok(written) if written as u64 == bytes => {
                state.end += bytes;
                Ok(())
            }
            failed => {
                // Cut the torn line off. If even that fails, leave it: readers stop at the next segment's offset.
                if file.set_len(state.end - start).is_err() {
                    state.retired.extend(state.segment.take().map(|open| open.file));
                }
                let error = failed.err().unwrap_or_else(|| io::ErrorKind::StorageFull.into());
                Err(Error::io(&segment::path(&state.directory, start), error))
            }
        }
    }

    /// Begins the segment at `end` with room for lines of `bytes`. The first segment also begins the journal.
    fn rotate<'s>(&self, state: &'s mut State, bytes: u64) -> Result<&'s Open, Error> {
        if self.when_full == WhenFull::DropOldest {
            self.drop_oldest(&state.directory, bytes.max(self.segment_bytes))?;
        }
        if state.lock.is_none() {
            state.lock = Some(self.create(state)?);
        }
        let path = segment::path(&state.directory, state.end);
        let file = segment::create().append(true).read(true).open(&path).at(&path)?;
        // The file may have a torn line of an earlier attempt.
        file.set_len(0).at(&path)?;
        state.renamed = true;
        let new = Open { file: Arc::new(file), start: state.end };
        state.retired.extend(state.segment.take().map(|open| open.file));
        Ok(state.segment.insert(new))
    }

    /// Makes the directory. It gets its name after the lock is held, so that no process can take it for an orphaned
    /// journal.
    fn create(&self, state: &State) -> Result<File, Error> {
        let unnamed = self.root.join(format!(".{}", state.id));
        segment::create_directory(&unnamed)?;
        let path = unnamed.join(segment::LOCK);
        let lock = segment::create().open(&path).at(&path)?;
        lock.lock().at(&path)?;
        fs::rename(&unnamed, &state.directory).at(&state.directory)?;
        Ok(lock)
    }

    /// Makes room for a segment of `bytes`, but never deletes the last segment of a living writer. A sibling may
    /// meanwhile exceed the budget by one segment at most.
    fn drop_oldest(&self, own: &Path, bytes: u64) -> Result<(), Error> {
        let mut used = total(&self.root)?;
        for journal in segment::journals(&self.root)? {
            let mut segments = segment::list(&journal)?;
            let live = journal == own || segment::is_live(&journal);
            if live {
                segments.pop();
            }
            for old in segments {
                if used + bytes <= self.max_bytes {
                    return Ok(());
                }
                used = used.saturating_sub(old.bytes());
                let lines = segment::lines_behind(&old, segment::committed(&journal));
                // A sibling may have deleted it first.
                if fs::remove_file(&old.path).is_ok() {
                    self.dropped.fetch_add(lines, Ordering::Relaxed);
                }
            }
            if !live {
                let _ = segment::delete(&journal);
            }
        }
        Ok(())
    }

    /// Flushes, releases the journal as if its writer had ended, and begins a new one. The next line makes its files,
    /// so no copy of the data directory has them.
    pub fn renew(&self) -> Result<(), Error> {
        let synced = self.sync();
        let state = &mut *self.state();
        if state.closed {
            return Err(Error::Closed);
        }
        let names = if state.renamed { segment::sync_directory(&state.directory) } else { Ok(()) };
        let old = std::mem::replace(state, State::named(&self.root));
        state.measured = old.measured + (old.end - old.measured_end);
        // Lines since the flush are flushed with the next one.
        state.retired = old.retired;
        state.retired.extend(old.segment.map(|open| open.file));
        state.doubtful = old.doubtful;
        synced.and(names)
    }

    /// The used bytes under the root, if there is no room for another segment.
    pub(crate) fn used_when_full(&self) -> Option<u64> {
        let state = self.state();
        let used = state.measured + (state.end - state.measured_end);
        (used + self.segment_bytes > self.max_bytes).then_some(used)
    }

    /// The byte budget.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The offset of the oldest remaining segment.
    pub(crate) fn start(&self) -> u64 {
        self.state().start
    }

    /// The number of lines that [`WhenFull::DropOldest`] has dropped, without those in a topic.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The current bytes of all journals under the root.
    pub fn measure(&self) -> Result<u64, Error> {
        let end = self.end();
        let bytes = total(&self.root)?;
        let start = segment::list(&self.directory())?.first().map_or(0, |first| first.start);
        let mut state = self.state();
        (state.measured, state.measured_end, state.start) = (bytes, end, start);
        Ok(bytes)
    }

    /// A panic cannot leave the state half changed in a way that matters, so a poisoned lock is used like any other.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a line with its newline. The line must not contain one.
pub fn end_line(line: &mut Vec<u8>) -> Result<(), Error> {
    if memchr::memchr(b'\n', line).is_some() {
        return Err(Error::Newline);
    }
    line.push(b'\n');
    Ok(())
}

fn total(root: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for journal in segment::journals(root)? {
        bytes += segment::list(&journal)?.iter().map(Segment::bytes).sum::<u64>();
    }
    Ok(bytes)
}
