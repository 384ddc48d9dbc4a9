//! The core of pixelcore: turns a tracking pixel's request into one JSON event, and keeps it in a journal.
//!
//! The way of a request, which [`collector`] takes it through:
//!
//! 1. [`address`] finds the client's address behind trusted proxies. [`request`] has the headers.
//! 2. [`query`] reads the query. [`compat`] reads other vendors' URLs. [`protect`] checks signatures and opens seals.
//! 3. [`keys`] judges whether the key may be used. [`consent`] decides the most that may be kept.
//! 4. [`event`] writes the event or the record of a rejection. [`client`] names the program that fetched the image.
//! 5. [`journal`] keeps the line. [`counters`] count the outcome.
//!
//! [`replay`] reads a rejected request again. Nothing here knows Python, HTTP servers or Kafka, and nothing here is
//! `unsafe`: the caller maps shared [`memory`].

#![forbid(unsafe_code)]

pub mod address;
pub mod client;
pub mod collector;
pub mod compat;
pub mod consent;
pub mod counters;
pub mod event;
mod fairness;
pub mod journal;
pub mod json;
pub mod keys;
pub mod memory;
pub mod notice;
pub mod options;
pub mod protect;
pub mod query;
pub mod reason;
pub mod replay;
pub mod request;
pub mod text;
pub mod time;

/// The version of pixelcore, which every event names in `context.library`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
