//! From the query of a tracking pixel to one JSON event, and to a journal that keeps it.
//!
//! [`query`] reads a query, [`event`] writes the event, [`client`] says who asked, [`compat`] reads the URLs of others, [`keys`]
//! judges whether a key may be used, [`journal`] keeps lines, [`collector`] takes one request through all of them, and [`replay`]
//! reads a rejected one again. Nothing here knows Python or Kafka.

#![forbid(unsafe_code)]

pub mod address;
pub mod client;
pub mod collector;
pub mod compat;
pub mod counters;
pub mod event;
pub mod journal;
pub mod json;
pub mod keys;
pub mod options;
pub mod query;
pub mod reason;
pub mod replay;
pub mod request;
pub mod text;
pub mod time;

/// The version of pixelcore, which every event names in `context.library`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
