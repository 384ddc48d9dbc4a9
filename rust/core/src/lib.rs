//! From the query of a tracking pixel to one JSON event, and to a journal that keeps it.
//!
//! [`form`] splits and decodes a query, [`shape`] is what its names say, [`event`] writes the event, [`client`] says
//! who asked, [`compat`] reads the URLs of others, [`keys`] whether they may, [`journal`] keeps lines, [`collector`] is the way of one request through
//! all of them, and [`replay`] reads a rejected one again. Nothing here knows Python or Kafka.

#![forbid(unsafe_code)]

pub mod address;
pub mod client;
pub mod collector;
pub mod compat;
pub mod counters;
pub mod domain;
pub mod event;
mod fields;
pub mod form;
pub mod journal;
pub mod json;
pub mod keys;
pub mod options;
mod parameters;
pub mod rate;
pub mod reason;
pub mod replay;
pub mod shape;
pub mod text;
pub mod time;
mod tree;

/// The version of pixelcore, which every event names in `context.library`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
