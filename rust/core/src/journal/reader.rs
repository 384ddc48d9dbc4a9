//! The reader: whole lines from an offset on, across segments, during the writer's life or afterwards.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::batch::Batch;
use super::scan;
use super::segment::{self, Segment};
use super::{At as _, Error};

/// The interval of [`Reader::wait`] while lines arrive.
const POLL: Duration = Duration::from_millis(5);

/// Its interval after no line for [`QUIET`], because wake-ups are the main cost of an idle gateway.
const LAZY_POLL: Duration = Duration::from_millis(50);
const QUIET: Duration = Duration::from_secs(1);

/// The interval in which it also looks for a new segment.
const THOROUGH: Duration = Duration::from_millis(100);

/// The bytes of one read, unless a line is longer.
const CHUNK: usize = 256 * 1024;

/// Reads a journal's lines from an offset.
pub struct Reader {
    directory: PathBuf,
    offset: u64,
    open: Option<Open>,
    torn: u64,
    /// The torn bytes after the offset, which are known when the journal is finished.
    tail: u64,
    corrupt: u64,
    missing: u64,
    /// The last time when there was something to read.
    busy: Instant,
    /// The last look for a new segment.
    thorough: Instant,
}

/// The segment of the offset.
struct Open {
    file: File,
    start: u64,
    /// The next segment, if there is one. It begins where this one ends.
    next: Option<Segment>,
    /// The directory's time of change at the last listing. None if it was so recent that a later change could have the
    /// same time.
    listed: Option<SystemTime>,
}

/// More than the resolution of a file system's times.
const GRAIN: Duration = Duration::from_millis(100);

impl Open {
    fn new(file: File, start: u64) -> Self {
        Self { file, start, next: None, listed: None }
    }

    /// Looks for the next segment, if the directory may have changed.
    fn find_next(&mut self, directory: &Path) -> Result<(), Error> {
        let changed = fs::metadata(directory).and_then(|metadata| metadata.modified()).ok();
        if self.next.is_none() && (changed.is_none() || self.listed != changed) {
            let now = SystemTime::now();
            self.listed = changed.filter(|&changed| now.duration_since(changed).is_ok_and(|age| age > GRAIN));
            self.next = segment::list(directory)?.into_iter().find(|segment| segment.start > self.start);
        }
        Ok(())
    }
}

impl Reader {
    /// Reads the journal in `directory`, which need not exist yet.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, offset: u64) -> Self {
        let now = Instant::now();
        Self {
            directory: directory.into(),
            offset,
            open: None,
            torn: 0,
            tail: 0,
            corrupt: 0,
            missing: 0,
            busy: now,
            thorough: now,
        }
    }

    /// Whether the journal's writer lives, that is, holds its lock.
    #[must_use]
    pub fn is_live(&self) -> bool {
        segment::is_live(&self.directory)
    }

    /// The offset of the next line.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes of torn lines.
    #[must_use]
    pub fn torn(&self) -> u64 {
        self.torn + self.tail
    }

    /// The number of lines that are not JSON objects.
    #[must_use]
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }

    /// The bytes of missing segments.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Continues at `offset`.
    pub fn seek(&mut self, offset: u64) {
        self.offset = offset;
        self.open = None;
    }

    /// The next events: at most `max_events`, and at most `max_bytes` unless the first is longer. Empty only if there
    /// are no events.
    pub fn read(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        let mut chunk = Vec::new();
        while self.chunk(&mut chunk, max_bytes.saturating_sub(batch.bytes()).min(CHUNK))? {
            let mut begin = 0;
            for end in memchr::memchr_iter(b'\n', &chunk) {
                let event = &chunk[begin..end];
                begin = end + 1;
                match scan::record(event) {
                    Some(record) => {
                        let full = batch.bytes() + event.len() > max_bytes && !batch.is_empty();
                        if full || batch.len() == max_events {
                            return Ok(batch);
                        }
                        batch.push(self.offset, event, &record);
                    }
                    None => self.corrupt += 1,
                }
                self.offset += event.len() as u64 + 1;
            }
        }
        Ok(batch)
    }

    /// Waits until there is something to read; false if `timeout` passes first.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let now = Instant::now();
            // Rotations are rare and listing a directory has a cost, so a new segment is looked for only at intervals.
            let thorough = now - self.thorough >= THOROUGH || now >= deadline;
            if thorough {
                self.thorough = now;
            }
            if (thorough || self.has_grown()) && self.chunk(&mut Vec::new(), 1)? {
                self.busy = now;
                return Ok(true);
            }
            if now >= deadline {
                return Ok(false);
            }
            let poll = if now - self.busy < QUIET { POLL } else { LAZY_POLL };
            thread::sleep(poll.min(deadline - now));
        }
    }

    /// Whether the open segment has bytes after the offset, or no segment is open yet.
    fn has_grown(&self) -> bool {
        let Some(Open { file, start, .. }) = &self.open else { return true };
        file.metadata().is_ok_and(|metadata| start + metadata.len() > self.offset)
    }

    /// Whether the writer has ended and nothing is left to read. Then a torn last line is counted.
    pub fn finished(&mut self) -> Result<bool, Error> {
        // In this order: after the writer's lock is free, its last lines are in the file.
        let live = self.is_live();
        let finished = !live && !self.chunk(&mut Vec::new(), 1)?;
        if finished {
            self.tail = self.tail_bytes()?;
        }
        Ok(finished)
    }

    /// Deletes segments that end at or before `offset` and were last written at least `age` ago, but never the last
    /// one.
    pub fn delete_before(&self, offset: u64, age: Duration) -> Result<usize, Error> {
        let segments = segment::list(&self.directory)?;
        let now = SystemTime::now();
        let mut deleted = 0;
        for pair in segments.windows(2).take_while(|pair| pair[1].start <= offset) {
            let path = &pair[0].path;
            let removed = fs::metadata(path).and_then(|metadata| metadata.modified()).and_then(|modified| {
                let old = now.duration_since(modified).unwrap_or_default() >= age;
                if old { fs::remove_file(path).map(|()| 1) } else { Ok(0) }
            });
            match removed {
                // A writer that drops the oldest segments was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => deleted += removed.at(path)?,
            }
        }
        Ok(deleted)
    }

    /// Deletes the journal's files, and its directory unless it has foreign files.
    pub fn delete_journal(&self) -> Result<(), Error> {
        match segment::delete(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at(&self.directory),
            _ => Ok(()),
        }
    }

    /// Reads whole lines from the offset on, with about `size` bytes unless the first is longer; false if there is none
    /// yet.
    fn chunk(&mut self, chunk: &mut Vec<u8>, size: usize) -> Result<bool, Error> {
        let mut size = size.max(4096);
        loop {
            let Some(open) = &mut self.open else {
                if self.open_segment()? {
                    continue;
                }
                return Ok(false);
            };
            // In this order: a segment is complete when there is a next one, and it ends at the next one's offset.
            open.find_next(&self.directory)?;
            let Open { file, start, next, .. } = &*open;
            let room = next.as_ref().map_or(usize::MAX, |next| saturate(next.start.saturating_sub(self.offset)));
            let at = self.offset - *start;
            // Not larger than the file: clearing the buffer would be wasted, ten times a second on an idle gateway.
            let there = saturate(file.metadata().at(&self.directory)?.len().saturating_sub(at));
            chunk.resize(size.min(room).min(there), 0);
            let read = file.read_at(chunk, at).at(&self.directory)?;
            chunk.truncate(read);
            if let Some(last) = memchr::memrchr(b'\n', chunk) {
                chunk.truncate(last + 1);
                return Ok(true);
            }
            if read == size && size < room {
                if !chunk.contains(&0) {
                    size *= 2;
                    continue;
                }
                // No event contains a zero byte. A power cut may leave megabytes of zeros, which are not loaded.
                if let Some(length) = line_length(file, at, room).at(&self.directory)? {
                    self.corrupt += 1;
                    self.offset += length;
                    continue;
                }
            }
            let Some(next) = next else { return Ok(false) };
            let end = *start + file.metadata().at(&self.directory)?.len();
            self.torn += end.saturating_sub(self.offset);
            self.missing += next.start.saturating_sub(end.max(self.offset));
            self.offset = next.start;
            self.open = open_file(&next.path)?.map(|file| Open::new(file, next.start));
        }
    }

    /// Opens the segment that contains the offset, or the first one after it.
    fn open_segment(&mut self) -> Result<bool, Error> {
        loop {
            let segments = segment::list(&self.directory)?;
            let holds = segments.partition_point(|segment| segment.start <= self.offset).saturating_sub(1);
            let Some(Segment { path, start, .. }) = segments.get(holds) else { return Ok(false) };
            let Some(file) = open_file(path)? else { continue };
            if *start > self.offset {
                self.missing += start - self.offset;
                self.offset = *start;
            }
            self.open = Some(Open::new(file, *start));
            return Ok(true);
        }
    }

    /// The bytes after the offset in the last segment.
    fn tail_bytes(&self) -> Result<u64, Error> {
        let last = segment::list(&self.directory)?.pop();
        Ok(last.map_or(0, |last| (last.start + last.bytes()).saturating_sub(self.offset)))
    }
}

/// None if it was deleted after it was listed: a writer that drops the oldest segments does not ask its readers.
fn open_file(path: &Path) -> Result<Option<File>, Error> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).at(path),
    }
}

/// The bytes from `offset` to the end of the line, newline included; None if it does not end within `room`.
fn line_length(file: &File, offset: u64, room: usize) -> io::Result<Option<u64>> {
    let mut window = vec![0; CHUNK];
    let mut length = 0;
    while length < room {
        let part = &mut window[..CHUNK.min(room - length)];
        let read = file.read_at(part, offset + length as u64)?;
        if let Some(newline) = memchr::memchr(b'\n', &part[..read]) {
            return Ok(Some((length + newline + 1) as u64));
        }
        if read == 0 {
            break;
        }
        length += read;
    }
    Ok(None)
}

fn saturate(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
