//! Sets the scheduling slice of a thread.

use std::io;

use pyo3::prelude::*;

/// Sets the calling thread's slice. Its other scheduling attributes stay as they are.
#[pyfunction]
pub fn set_slice(nanoseconds: u64) -> PyResult<()> {
    set(nanoseconds).map_err(PyErr::from)
}

#[cfg(target_os = "linux")]
fn set(nanoseconds: u64) -> io::Result<()> {
    // The first version of the structure, which every kernel knows.
    let size: libc::c_uint = 48;
    let done = |result: libc::c_long| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the structure has at least `size` bytes. The kernel writes at most `size` bytes, for which any value is
    // valid, and reads as many.
    unsafe {
        let mut attributes: libc::sched_attr = std::mem::zeroed();
        done(libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0))?;
        attributes.sched_runtime = nanoseconds;
        done(libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0))
    }
}

#[cfg(not(target_os = "linux"))]
fn set(_: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
