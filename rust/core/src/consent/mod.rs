//! Decides the most that may be kept of a request (contract, section 9).
//!
//! - `mode` has the modes, and `terms` a pipeline's terms and the mode of a request.
//! - The consent list: `mac` makes the keys of persons, `record` reads a record of the topic, `table` is the list on
//!   the disk, and [`Writer`] changes it. [`ceilings`] looks persons up, for every request.
//! - Reduced records: `lines` writes them, and `journals` keeps them. `refused` decides what is kept of a rejection.
//! - `address` finds mail addresses in URLs.
//!
//! Invariants: no list and no error contains an id in plain text. In doubt, less is kept. This module does not know
//! Kafka: Python reads the consent topic.

pub mod address;
pub mod ceilings;
mod journals;
mod lines;
mod mac;
mod mode;
mod record;
mod refused;
mod table;
mod terms;
mod writer;

pub use journals::Journals;
pub(crate) use lines::{Reduced, reduced, window};
pub use mac::{KeyId, MAC_BYTES, Mac, Person, Secrets};
pub use mode::Mode;
pub use record::{Malformed, Record};
pub(crate) use refused::{Kept, kept};
pub use table::{Entry, Table};
pub use terms::{Lookup, Terms, Wishes, mode};
pub use writer::{Applied, Writer};
