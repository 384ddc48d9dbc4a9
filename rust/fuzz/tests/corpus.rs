//! Runs the fuzzers' interesting inputs, and former crashes, as tests.
#![expect(clippy::expect_used)]

use std::fs;
use std::path::Path;

fn each(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&corpus).expect("there is a corpus") {
        let path = entry.expect("it can be listed").path();
        println!("{}", path.display());
        run(&fs::read(&path).expect("it can be read"));
        count += 1;
    }
    assert!(count > 0, "{target} has a corpus");
}

#[test]
fn query() {
    each("query", pixelcore_fuzz::query);
}

#[test]
fn request() {
    each("request", pixelcore_fuzz::request);
}

#[test]
fn protect() {
    each("protect", pixelcore_fuzz::protect);
}

#[test]
fn headers() {
    each("headers", pixelcore_fuzz::headers);
}

#[test]
fn proxies() {
    each("proxies", pixelcore_fuzz::proxies);
}

#[test]
fn journal() {
    each("journal", pixelcore_fuzz::journal);
}
