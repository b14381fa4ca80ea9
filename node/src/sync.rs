//! Carries sync sessions over QUIC: one link to each peer, dialed again whenever it is lost.
//!
//! [`Network`] is the whole of it to others. It reaches what is kept through [`Replica`]; the
//! conversation itself is `sync_protocol`'s [`Session`](carnet_sync_protocol::session::Session).
//! What of this needs no network ([`Conversation`], [`perform`]) is open to simulations.

pub mod congestion;
mod conversation;
mod custody;
mod desk;
mod endpoint;
pub mod enrol;
mod error;
mod lanes;
mod link;
mod network;
pub mod probe;
mod refusals;
mod registry;
mod replica;
pub mod schedule;
mod testing;
mod tests;
mod tls;

pub use conversation::{Conversation, Ends, Opening, Step};
pub use custody::Keeper;
pub use desk::{Answer, BATCH_RUNS_MAX, Task, perform};
pub use error::SyncError;
pub use network::{Network, NetworkConfig, PeerOutcome};
pub use registry::{LinkStatus, PeerAddress};
pub use replica::{Credentials, Replica, ReplicaError, Stored};
