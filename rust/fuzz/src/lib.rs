//! Properties of any input. Each function panics if its property is violated. `targets/` has libFuzzer's programs for
//! them, and `tests/corpus.rs` runs the fuzzers' findings again.

#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "what does not hold must panic")]

#[path = "../../core/tests/oracle/mod.rs"]
mod oracle;

mod headers;
mod journal;
mod protect;
mod proxies;
mod query;
mod request;

pub use headers::headers;
pub use journal::journal;
pub use protect::protect;
pub use proxies::proxies;
pub use query::query;
pub use request::request;

use serde_json::Value;

/// One line of a journal as an object, which it must be.
fn object(line: &[u8]) -> Value {
    assert!(!line.contains(&b'\n'), "a line is one line");
    let value: Value = serde_json::from_slice(line).expect("a line is JSON");
    assert!(value.is_object());
    value
}
