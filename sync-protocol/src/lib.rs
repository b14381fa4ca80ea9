//! The Carnet sync protocol without IO: ids, entries, signatures and opaque payload bytes.
//!
//! Absent on purpose: tokio, quinn, SQLite, Automerge, a clock, randomness, and any meaning of a
//! payload.

pub mod certificate;
pub mod entry;
pub mod error;
pub mod frontier;
pub mod id;
pub mod limit;
pub mod message;
pub mod receipt;
pub mod run;
pub mod session;
mod transfer;
pub mod wire;

pub use ed25519_dalek::SigningKey;
