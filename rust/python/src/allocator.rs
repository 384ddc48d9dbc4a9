//! Returns freed memory to the system.

use pyo3::prelude::*;

/// Without this, glibc keeps the memory of a large file that was read and freed. Other C libraries return it
/// themselves.
#[pyfunction]
pub fn release_memory(py: Python<'_>) {
    py.detach(release);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn release() {
    /// Larger than what shipping allocates, which would become slower.
    const LARGE: libc::c_int = 4 << 20;
    // SAFETY: they take the allocator's locks, and change when it maps and returns free memory.
    unsafe {
        // By default, these thresholds grow with the largest text that was ever freed, up to 32 and 64 MiB, and each
        // thread's arena keeps as much.
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * LARGE);
        libc::malloc_trim(0);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn release() {}
