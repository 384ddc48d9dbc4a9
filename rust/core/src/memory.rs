//! Memory that several processes share: the words of a file that each of them maps. The caller does the mapping, which
//! is `unsafe`.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;

/// A file's words in shared memory, or words of this process alone.
pub trait Memory: Deref<Target = [AtomicU64]> + Send + Sync {}

impl<T: Deref<Target = [AtomicU64]> + Send + Sync> Memory for T {}

/// Maps a whole file.
pub type Map = fn(&File) -> io::Result<Box<dyn Memory>>;
