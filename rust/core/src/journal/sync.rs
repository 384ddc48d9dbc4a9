//! The writing side: flush, repair, and close.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::sync::{Arc, PoisonError};

use super::writer::{Journal, Open};
use super::{At as _, Error, segment};

impl Journal {
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

    /// Puts back what was removed or cut off by hand under the writer's hands: its lock, and the segment that it is at,
    /// whose lines are in the open file as long as there is one. Says what there was to repair, if anything.
    ///
    /// Lines go on in a new segment: a reader that has the old file open gets there past its end. Earlier segments are
    /// not this one's to know of; a reader counts what is missing of them.
    pub fn repair(&self) -> Result<Option<String>, Error> {
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
            segment::sync_directory(&self.directory)?;
            format!("{} was removed: its {bytes} bytes are put back", path.display())
        };
        state.retired.extend(state.segment.take().map(|open| open.file));
        Ok(Some(told))
    }

    /// Flushes, mends at last, and lets go of the lock.
    pub fn close(&self) -> Result<(), Error> {
        self.state().closed = true;
        let synced = self.sync();
        let mended = self.repair();
        let mut state = self.state();
        (state.segment, state.lock) = (None, None);
        synced.and(mended).map(|_| ())
    }
}
