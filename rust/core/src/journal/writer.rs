//! The writing side: append, rotate, and the byte budget.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::segment::{self, Segment};
use super::{At as _, Error};

/// What gives way when the budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The new line: nothing that was accepted earlier is dropped.
    Refuse,
    /// The oldest segments.
    DropOldest,
}

/// The journal of one worker's life. Its directory is made by the first line, so an idle life leaves nothing.
pub struct Journal {
    id: String,
    pub(super) root: PathBuf,
    /// How many directories had to be made for the root.
    pub(super) made: usize,
    pub(super) directory: PathBuf,
    segment_bytes: u64,
    max_bytes: u64,
    when_full: WhenFull,
    state: Mutex<State>,
    /// Held by a flush, since beside one that is about to fail another of the same file would succeed. Whether the name
    /// of the root itself was flushed.
    pub(super) rooted: Mutex<bool>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) lock: Option<File>,
    pub(super) segment: Option<Open>,
    /// Segments that are full but not flushed yet.
    pub(super) retired: Vec<Arc<File>>,
    /// Whether names were added to a directory since the last flush.
    pub(super) renamed: bool,
    pub(super) end: u64,
    /// Where the last flush found `end`.
    pub(super) flushed: u64,
    /// Whether lines behind `flushed` went to a segment whose flush has failed.
    pub(super) doubtful: bool,
    /// All bytes under the root when `end` was `measured_end`.
    measured: u64,
    measured_end: u64,
    pub(super) closed: bool,
}

pub(super) struct Open {
    pub(super) file: Arc<File>,
    pub(super) start: u64,
}

impl Journal {
    /// Begins a journal under `root`, which all its siblings share with it: they are one budget.
    pub fn new(root: &Path, segment_bytes: u64, max_bytes: u64, when_full: WhenFull) -> Result<Self, Error> {
        let made = root.ancestors().take_while(|directory| !directory.exists()).count();
        fs::create_dir_all(root).at(root)?;
        let id = Uuid::now_v7().hyphenated().to_string();
        let journal = Self {
            directory: root.join(&id),
            root: root.to_owned(),
            made,
            id,
            // Room is made by the segment, and never by the last one, so there must be several.
            segment_bytes: segment_bytes.min(max_bytes / 8),
            max_bytes,
            when_full,
            state: Mutex::default(),
            rooted: Mutex::default(),
        };
        journal.measure()?;
        Ok(journal)
    }

    /// The journal's identity.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The journal's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The offset behind the last line.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.state().end
    }

    /// Writes a line and a newline; returns the offset behind it. A failure leaves no trace.
    pub fn append(&self, line: &[u8]) -> Result<u64, Error> {
        let mut line = line.to_vec();
        end_line(&mut line)?;
        self.append_lines(&line)
    }

    /// Writes lines that are [ended](end_line), those of a segment with one plain `write(2)`; returns the offset behind them.
    /// A failure leaves no trace of the segment's and of those behind them.
    pub fn append_lines(&self, mut lines: &[u8]) -> Result<u64, Error> {
        let state = &mut *self.state();
        while !lines.is_empty() {
            let together;
            (together, lines) = lines.split_at(self.fitting(state, lines));
            self.append_together(state, together)?;
        }
        Ok(state.end)
    }

    /// How many bytes of lines the open segment has room for, or where it has none for the first line, how long that is.
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
                // Cut what is torn off, or where even that fails leave it behind: readers stop at the next
                // segment's offset.
                if file.set_len(state.end - start).is_err() {
                    state.retired.extend(state.segment.take().map(|open| open.file));
                }
                let error = failed.err().unwrap_or_else(|| io::ErrorKind::StorageFull.into());
                Err(Error::io(&segment::path(&self.directory, start), error))
            }
        }
    }

    /// Begins the segment at `end` with room for lines of `bytes`, and with the first segment the journal.
    fn rotate<'s>(&self, state: &'s mut State, bytes: u64) -> Result<&'s Open, Error> {
        if self.when_full == WhenFull::DropOldest {
            self.drop_oldest(bytes.max(self.segment_bytes))?;
        }
        if state.lock.is_none() {
            state.lock = Some(self.create()?);
        }
        let path = segment::path(&self.directory, state.end);
        let file = OpenOptions::new().append(true).read(true).create(true).open(&path).at(&path)?;
        // A torn line of an earlier attempt may lie here.
        file.set_len(0).at(&path)?;
        state.renamed = true;
        let new = Open { file: Arc::new(file), start: state.end };
        state.retired.extend(state.segment.take().map(|open| open.file));
        Ok(state.segment.insert(new))
    }

    /// Makes the directory, which appears under its name only when the lock is held: nobody can take it for a dead
    /// writer's.
    fn create(&self) -> Result<File, Error> {
        let unnamed = self.root.join(format!(".{}", self.id));
        fs::create_dir_all(&unnamed).at(&unnamed)?;
        let path = unnamed.join(segment::LOCK);
        let lock = File::create(&path).at(&path)?;
        lock.lock().at(&path)?;
        fs::rename(&unnamed, &self.directory).at(&self.directory)?;
        Ok(lock)
    }

    /// Makes room for a segment of `bytes`, but never touches the one that a living writer is at. What a sibling adds to
    /// its own meanwhile, a segment at most, comes on top of the budget.
    fn drop_oldest(&self, bytes: u64) -> Result<(), Error> {
        let mut used = total(&self.root)?;
        for journal in segment::journals(&self.root)? {
            let mut segments = segment::list(&journal)?;
            let live = journal == self.directory || segment::is_live(&journal);
            if live {
                segments.pop();
            }
            for old in segments {
                if used + bytes <= self.max_bytes {
                    return Ok(());
                }
                used = used.saturating_sub(old.bytes());
                // A sibling may have been faster.
                let _ = fs::remove_file(&old.path);
            }
            if !live {
                let _ = fs::remove_dir_all(&journal);
            }
        }
        Ok(())
    }

    /// The bytes of all journals under the root now.
    pub fn measure(&self) -> Result<u64, Error> {
        let end = self.end();
        let bytes = total(&self.root)?;
        let mut state = self.state();
        (state.measured, state.measured_end) = (bytes, end);
        Ok(bytes)
    }

    /// A panic cannot leave the state half changed in a way that matters, so a poisoned lock is as good as any.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a line with its newline. It must not have one in it.
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
