//! The sole owner of SQLite: the ledger in `log.db`, the encrypted index in `index.db`, and what
//! belongs to this device alone in `device.db`.
//!
//! Nothing here knows what a payload or a body says. The [`Ledger`] is the truth and only grows;
//! the index is derived from it and can be thrown away. Both are owned by the one thread that
//! writes, and both nest savepoints in one transaction, so that several requests share one fsync.

mod database;
pub mod device;
mod error;
pub mod index;
pub mod ledger;
mod migration;
pub mod peers;

pub use device::Device;
pub use error::StoreError;
pub use index::Index;
pub use ledger::Ledger;
