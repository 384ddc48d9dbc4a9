//! Stops the build for a free-threaded Python, because the extension relies on the GIL.

fn main() {
    if pyo3_build_config::get().is_free_threaded() {
        println!(
            "cargo::error=pixelcore needs an ordinary CPython: free-threaded ones, such as 3.14t, are not supported"
        );
    }
}
