//! The reading side: whole lines from an offset on, across segments, beside a living writer or after it.

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

/// How often [`Reader::wait`] looks while lines come.
const POLL: Duration = Duration::from_millis(5);

/// How often it looks when none came for [`QUIET`]: waking up is what an idle gateway's time goes to.
const LAZY_POLL: Duration = Duration::from_millis(50);
const QUIET: Duration = Duration::from_secs(1);

/// How often a look is for a new segment, too.
const THOROUGH: Duration = Duration::from_millis(100);

/// How much is read at once unless a line is longer.
const CHUNK: usize = 256 * 1024;

/// Reads a journal's lines from an offset.
pub struct Reader {
    directory: PathBuf,
    offset: u64,
    open: Option<Open>,
    torn: u64,
    /// What is torn behind the offset, known once the journal is finished.
    tail: u64,
    corrupt: u64,
    missing: u64,
    /// When there last was something to read.
    busy: Instant,
    /// When a new segment was last looked for.
    thorough: Instant,
}

/// The segment that the offset is in.
struct Open {
    file: File,
    start: u64,
    /// The segment behind it, once there is one. It begins where this one ends.
    next: Option<Segment>,
    /// When the directory had changed last as it was listed, unless that was so short ago that it may have changed
    /// since without a later time.
    listed: Option<SystemTime>,
}

/// More than the grain of a file system's times.
const GRAIN: Duration = Duration::from_millis(100);

impl Open {
    fn new(file: File, start: u64) -> Self {
        Self { file, start, next: None, listed: None }
    }

    /// Looks for a next segment, where a new file may have come.
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
    pub fn new(directory: &Path, offset: u64) -> Self {
        let now = Instant::now();
        Self {
            directory: directory.to_owned(),
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

    /// Whether the journal's writer lives, that is holds its lock.
    #[must_use]
    pub fn is_live(&self) -> bool {
        segment::is_live(&self.directory)
    }

    /// The offset of the next line.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of lines that were cut off.
    #[must_use]
    pub fn torn(&self) -> u64 {
        self.torn + self.tail
    }

    /// Lines that are no JSON object.
    #[must_use]
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }

    /// Bytes of segments that are gone.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Goes on from `offset`.
    pub fn seek(&mut self, offset: u64) {
        self.offset = offset;
        self.open = None;
    }

    /// The next events: at most `max_events`, and `max_bytes` unless the first is longer; none only where there is none.
    pub fn read(&mut self, max_events: usize, max_bytes: usize) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        let mut chunk = Vec::new();
        while self.chunk(&mut chunk, max_bytes.saturating_sub(batch.bytes()).min(CHUNK))? {
            let mut begin = 0;
            for end in memchr::memchr_iter(b'\n', &chunk) {
                let event = &chunk[begin..end];
                begin = end + 1;
                match scan::keys(event) {
                    Some(keys) => {
                        let full = batch.bytes() + event.len() > max_bytes && !batch.is_empty();
                        if full || batch.len() == max_events {
                            return Ok(batch);
                        }
                        batch.push(self.offset, event, &keys);
                    }
                    None => self.corrupt += 1,
                }
                self.offset += event.len() as u64 + 1;
            }
        }
        Ok(batch)
    }

    /// Waits until there is something to read; false when `timeout` passed first.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let now = Instant::now();
            // Rotations are rare and listing a directory is not free, so a new segment is looked for now and then.
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

    /// Whether the open segment has bytes behind the offset, or none is open yet.
    fn has_grown(&self) -> bool {
        let Some(Open { file, start, .. }) = &self.open else { return true };
        file.metadata().is_ok_and(|metadata| start + metadata.len() > self.offset)
    }

    /// Whether the writer is gone and nothing is left to read. Then a torn last line is counted.
    pub fn finished(&mut self) -> Result<bool, Error> {
        // In this order: what the writer wrote last is there once its lock is free.
        let live = self.is_live();
        let finished = !live && !self.chunk(&mut Vec::new(), 1)?;
        if finished {
            self.tail = self.tail_bytes()?;
        }
        Ok(finished)
    }

    /// Deletes segments that end at or before `offset` and were written `age` ago or earlier, but never the last one.
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
                // A writer that drops the oldest was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => deleted += removed.at(path)?,
            }
        }
        Ok(deleted)
    }

    /// Deletes the journal with all its files.
    pub fn delete_journal(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at(&self.directory),
            _ => Ok(()),
        }
    }

    /// Reads whole lines from the offset on, of about `size` bytes unless the first is longer; false when there is none yet.
    fn chunk(&mut self, chunk: &mut Vec<u8>, size: usize) -> Result<bool, Error> {
        let mut size = size.max(4096);
        loop {
            let Some(open) = &mut self.open else {
                if self.open_segment()? {
                    continue;
                }
                return Ok(false);
            };
            // In this order: a segment is complete once there is a next one, at whose offset it ends.
            open.find_next(&self.directory)?;
            let Open { file, start, next, .. } = &*open;
            let room = next.as_ref().map_or(usize::MAX, |next| saturate(next.start.saturating_sub(self.offset)));
            let at = self.offset - *start;
            // No larger than what is there: it would be cleared for nothing, ten times a second where nothing comes.
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
                // No event has a zero in it, and those that a power cut left may be megabytes, which nobody needs to hold.
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

    /// Opens the segment that holds the offset, or the first one behind it.
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

    /// Bytes behind the offset in the last segment.
    fn tail_bytes(&self) -> Result<u64, Error> {
        let last = segment::list(&self.directory)?.pop();
        Ok(last.map_or(0, |last| (last.start + last.bytes()).saturating_sub(self.offset)))
    }
}

/// None where it was deleted since it was listed: a writer that drops the oldest does not ask its readers.
fn open_file(path: &Path) -> Result<Option<File>, Error> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).at(path),
    }
}

/// The bytes from `offset` to the end of the line, newline included; None where there is none within `room`.
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
