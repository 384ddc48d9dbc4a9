//! What must hold for any input: each function panics where it does not. `targets/` are libFuzzer's programs of them, and
//! `tests/corpus.rs` runs what it found once more.

#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "what does not hold must panic")]

#[path = "../../core/tests/oracle/mod.rs"]
mod oracle;

mod journal;
mod query;
mod request;

pub use journal::journal;
pub use query::query;
pub use request::request;

use serde_json::Value;

/// One line of a journal as the object that it must be.
fn object(line: &[u8]) -> Value {
    assert!(!line.contains(&b'\n'), "a line is one line");
    let value: Value = serde_json::from_slice(line).expect("a line is JSON");
    assert!(value.is_object());
    value
}
