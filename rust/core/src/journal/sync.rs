//! The writer, part two: flush, repair, and close.

use std::io::{self, Read as _, Seek as _};
use std::sync::{Arc, PoisonError};

use super::writer::{Journal, Open};
use super::{At as _, Error, segment};

impl Journal {
    /// Flushes to the device, and returns the offset up to which lines survive a power cut.
    ///
    /// A failure is final for all lines that were written before it. The kernel may mark their pages as clean, so that
    /// the next flush of the file succeeds and proves nothing (`fsync(2)`; `PostgreSQL` found this in 2018). Such a
    /// file is never written or flushed again, and the next line begins a segment. Lines that were written during a
    /// failed flush make the next flush also fail, because that flush should have covered them.
    pub fn sync(&self) -> Result<u64, Error> {
        let mut rooted = self.rooted.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, renamed, directory, end) = {
            let mut state = self.state();
            if std::mem::take(&mut state.doubtful) {
                let error = io::Error::other("lines were written to a segment whose flush has failed");
                return Err(Error::io(&state.directory, error));
            }
            if state.end == state.flushed && state.retired.is_empty() {
                return Ok(state.end);
            }
            let mut files = std::mem::take(&mut state.retired);
            files.extend(state.segment.as_ref().map(|open| Arc::clone(&open.file)));
            (files, std::mem::take(&mut state.renamed), state.directory.clone(), state.end)
        };
        let flush = || {
            files.iter().try_for_each(|file| file.sync_data()).at(&directory)?;
            if renamed {
                segment::sync_directory(&directory)?;
                segment::sync_directory(&self.root)?;
            }
            if *rooted { Ok(()) } else { segment::sync_above(&self.root, self.made) }
        };
        let flushed = flush();
        let mut state = self.state();
        if flushed.is_ok() {
            *rooted = true;
            // After `renew` there is another journal, without flushed lines.
            if state.directory == directory {
                state.flushed = end;
            }
        } else {
            (state.segment, state.retired) = (None, Vec::new());
            state.renamed |= renamed;
            state.doubtful = state.end > end;
            state.flushed = state.end;
        }
        flushed.map(|()| end)
    }

    /// Restores files that somebody removed or truncated during the writer's life: its lock, and the open segment,
    /// whose lines are still in the open file. Returns a text about the repair; None if there was none.
    ///
    /// Further lines go to a new segment. A reader with the old file open reaches it after the old file's end. The
    /// writer does not know about earlier segments; a reader counts their missing bytes.
    pub fn repair(&self) -> Result<Option<String>, Error> {
        let state = &mut *self.state();
        let lock = state.directory.join(segment::LOCK);
        match &state.lock {
            None => return Ok(None),
            Some(held) if segment::is_named(held, &lock)? => {}
            Some(_) => {
                segment::create_directory(&state.directory)?;
                let new = segment::create().open(&lock).at(&lock)?;
                new.lock().at(&lock)?;
                state.lock = Some(new);
                state.renamed = true;
            }
        }
        let Some(Open { file, start }) = &state.segment else { return Ok(None) };
        let (path, bytes) = (segment::path(&state.directory, *start), state.end - *start);
        let found = file.metadata().at(&path)?.len();
        let told = if found != bytes {
            format!("{} has {found} bytes, but {bytes} were written: continuing in a new segment", path.display())
        } else if segment::is_named(file, &path)? {
            return Ok(None);
        } else {
            let mut old = &**file;
            old.rewind().at(&path)?;
            let mut new = segment::create().truncate(true).open(&path).at(&path)?;
            io::copy(&mut old.take(bytes), &mut new).at(&path)?;
            new.sync_all().at(&path)?;
            segment::sync_directory(&state.directory)?;
            format!("{} was removed: its {bytes} bytes are restored", path.display())
        };
        state.retired.extend(state.segment.take().map(|open| open.file));
        Ok(Some(told))
    }

    /// Flushes, repairs a last time, and releases the lock.
    pub fn close(&self) -> Result<(), Error> {
        self.state().closed = true;
        let synced = self.sync();
        let mended = self.repair();
        let mut state = self.state();
        (state.segment, state.lock) = (None, None);
        synced.and(mended).map(|_| ())
    }
}
