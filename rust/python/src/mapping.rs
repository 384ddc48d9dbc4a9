//! Maps files of words that several processes share. This is the only place that maps memory.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::slice;
use std::sync::atomic::AtomicU64;

use memmap2::MmapRaw;
use pixelcore::memory::Memory;

/// A file's words.
struct Words {
    mapping: MmapRaw,
    count: usize,
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the words are within the mapping, which lives as long as this value. They are aligned, because a
        // mapping begins at a page. Any bits are a valid u64, and atomics may change behind a shared reference. A
        // caller that writes has mapped the file for writing. Truncating the file would stop this process with SIGBUS,
        // but the files are pixelcore's, in the gateway's own directory, and pixelcore only replaces them as a whole.
        #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
        unsafe {
            slice::from_raw_parts(self.mapping.as_ptr().cast::<AtomicU64>(), self.count)
        }
    }
}

/// Maps all whole words of a file for reading and writing.
pub fn map(file: &File) -> io::Result<Box<dyn Memory>> {
    let mapping = MmapRaw::map_raw(file)?;
    let count = mapping.len() / size_of::<AtomicU64>();
    Ok(Box::new(Words { mapping, count }))
}
