//! The writing side: append, rotate, flush, and the byte budget.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
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
    root: PathBuf,
    /// How many directories had to be made for the root.
    made: usize,
    directory: PathBuf,
    segment_bytes: u64,
    max_bytes: u64,
    when_full: WhenFull,
    state: Mutex<State>,
    /// Held by a flush, since beside one that is about to fail another of the same file would succeed. Whether the name
    /// of the root itself was flushed.
    rooted: Mutex<bool>,
}

#[derive(Default)]
struct State {
    lock: Option<File>,
    segment: Option<Open>,
    /// Segments that are full but not flushed yet.
    retired: Vec<Arc<File>>,
    /// Whether names were added to a directory since the last flush.
    renamed: bool,
    end: u64,
    /// Where the last flush found `end`.
    flushed: u64,
    /// Whether lines behind `flushed` went to a segment whose flush has failed.
    doubtful: bool,
    /// All bytes under the root when `end` was `measured_end`.
    measured: u64,
    measured_end: u64,
    closed: bool,
}

struct Open {
    file: Arc<File>,
    start: u64,
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
        self.append_line(&mut line.to_vec())
    }

    /// Like [`append`](Self::append), in place: adds the newline to `line`, so that one plain `write(2)` does.
    pub fn append_line(&self, line: &mut Vec<u8>) -> Result<u64, Error> {
        if memchr::memchr(b'\n', line).is_some() {
            return Err(Error::Newline);
        }
        line.push(b'\n');
        let state = &mut *self.state();
        if state.closed {
            return Err(Error::Closed);
        }
        let bytes = line.len() as u64;
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
        let write = || (&*file).write(line);
        let mut outcome = write();
        while outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            outcome = write();
        }
        match outcome {
            Ok(written) if written as u64 == bytes => {
                state.end += bytes;
                Ok(state.end)
            }
            failed => {
                // Cut the torn line off, or where even that fails leave it behind: readers stop at the next
                // segment's offset.
                if file.set_len(state.end - start).is_err() {
                    state.retired.extend(state.segment.take().map(|open| open.file));
                }
                let error = failed.err().unwrap_or_else(|| io::ErrorKind::StorageFull.into());
                Err(Error::io(&segment::path(&self.directory, start), error))
            }
        }
    }

    /// Begins the segment at `end` with room for a line of `bytes`, and with the first segment the journal.
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

    /// Flushes to the device; returns the offset up to which lines survive a power cut.
    ///
    /// A failure is final for all lines that were written before it: the kernel may take their pages for clean, so that
    /// the next flush of their file succeeds and proves nothing (`fsync(2)`; `PostgreSQL` learnt it in 2018). No such file is
    /// written to or flushed again: the next line begins a segment. Lines that were written during a flush that failed
    /// make the next one fail, too, since it is the one that was to cover them.
    pub fn sync(&self) -> Result<u64, Error> {
        let mut rooted = self.rooted.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, renamed, end) = {
            let mut state = self.state();
            if std::mem::take(&mut state.doubtful) {
                let error = io::Error::other("written to a segment whose flush has failed");
                return Err(Error::io(&self.directory, error));
            }
            if state.end == state.flushed && state.retired.is_empty() {
                return Ok(state.end);
            }
            let mut files = std::mem::take(&mut state.retired);
            files.extend(state.segment.as_ref().map(|open| Arc::clone(&open.file)));
            (files, std::mem::take(&mut state.renamed), state.end)
        };
        let flush = || {
            files.iter().try_for_each(|file| file.sync_data()).at(&self.directory)?;
            if renamed {
                segment::sync_directory(&self.directory)?;
                segment::sync_directory(&self.root)?;
            }
            if *rooted { Ok(()) } else { segment::sync_above(&self.root, self.made) }
        };
        let flushed = flush();
        let mut state = self.state();
        if flushed.is_ok() {
            (state.flushed, *rooted) = (end, true);
        } else {
            (state.segment, state.retired) = (None, Vec::new());
            state.renamed |= renamed;
            state.doubtful = state.end > end;
            state.flushed = state.end;
        }
        flushed.map(|()| end)
    }

    /// The bytes of all journals under the root now.
    pub fn measure(&self) -> Result<u64, Error> {
        let end = self.end();
        let bytes = total(&self.root)?;
        let mut state = self.state();
        (state.measured, state.measured_end) = (bytes, end);
        Ok(bytes)
    }

    /// Puts back what was removed or cut off by hand under the writer's hands: its lock, and the segment that it is at,
    /// whose lines are in the open file as long as there is one. Says what there was to mend, if anything.
    ///
    /// Lines go on in a new segment: a reader that has the old file open gets there past its end. Earlier segments are
    /// not this one's to know of; a reader counts what is missing of them.
    pub fn mend(&self) -> Result<Option<String>, Error> {
        let state = &mut *self.state();
        let lock = self.directory.join(segment::LOCK);
        match &state.lock {
            None => return Ok(None),
            Some(held) if segment::is_named(held, &lock)? => {}
            Some(_) => {
                fs::create_dir_all(&self.directory).at(&self.directory)?;
                let new = File::create(&lock).at(&lock)?;
                new.lock().at(&lock)?;
                state.lock = Some(new);
                state.renamed = true;
            }
        }
        let Some(Open { file, start }) = &state.segment else { return Ok(None) };
        let (path, bytes) = (segment::path(&self.directory, *start), state.end - *start);
        let found = file.metadata().at(&path)?.len();
        let told = if found != bytes {
            format!("{} has {found} bytes, but {bytes} were written: going on behind them", path.display())
        } else if segment::is_named(file, &path)? {
            return Ok(None);
        } else {
            let mut old = &**file;
            old.rewind().at(&path)?;
            let mut new = File::create(&path).at(&path)?;
            io::copy(&mut old.take(bytes), &mut new).at(&path)?;
            new.sync_all().at(&path)?;
            File::open(&self.directory).and_then(|directory| directory.sync_all()).at(&self.directory)?;
            format!("{} was removed: its {bytes} bytes are put back", path.display())
        };
        state.retired.extend(state.segment.take().map(|open| open.file));
        Ok(Some(told))
    }

    /// Flushes, mends at last, and lets go of the lock.
    pub fn close(&self) -> Result<(), Error> {
        self.state().closed = true;
        let synced = self.sync();
        let mended = self.mend();
        let mut state = self.state();
        (state.segment, state.lock) = (None, None);
        synced.and(mended).map(|_| ())
    }

    /// A panic cannot leave the state half changed in a way that matters, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn total(root: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for journal in segment::journals(root)? {
        bytes += segment::list(&journal)?.iter().map(Segment::bytes).sum::<u64>();
    }
    Ok(bytes)
}
