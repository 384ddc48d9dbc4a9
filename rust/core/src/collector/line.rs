//! The buffer of the current line.

use std::cell::RefCell;

thread_local! {
    /// A thread writes one line at a time, so it uses one buffer again and again.
    static LINE: RefCell<Vec<u8>> = RefCell::default();
}

/// A buffer that has grown beyond this for one huge request is shrunk.
const KEPT_BYTES: usize = 64 * 1024;

/// Lends this thread's empty line buffer.
pub fn with_line<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    LINE.with_borrow_mut(|line| {
        line.clear();
        let done = work(line);
        line.shrink_to(KEPT_BYTES);
        done
    })
}
