//! Why a link, a session or an enrolment failed.

use super::replica::ReplicaError;
use std::net::SocketAddr;

/// A failure to reach, to trust or to understand a peer. Carries no patient's data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// The address to listen on can't be had.
    #[error("cannot listen on {address}: {reason}; choose another port, or stop what uses it")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system says.
        reason: String,
    },
    /// No socket for dialing can be had.
    #[error("cannot open a UDP socket: {0}")]
    Socket(String),
    /// The transport key is not usable.
    #[error("the transport key cannot be used for TLS: {0}")]
    Key(String),
    /// None of the peer's addresses is or resolves to an IP address and port.
    #[error("cannot resolve {0}; write it as host:port, and check the name server")]
    Resolve(String),
    /// A peer is known, but none of its addresses.
    #[error("no address is known for this peer; add one, or let it dial")]
    NoAddress,
    /// Nobody answered.
    #[error("no answer from {address}: {reason}")]
    Unreachable {
        /// Where the last attempt went.
        address: String,
        /// What happened.
        reason: String,
    },
    /// Somebody answered, but does not hold the key that is pinned.
    #[error(
        "the node at {address} does not hold the key that is pinned for this peer: \
         it is another node, or somebody in between; check the address"
    )]
    WrongKey {
        /// Where the attempt went.
        address: SocketAddr,
    },
    /// The link was closed by the other side.
    #[error("the peer ended the link: {0}")]
    ClosedByPeer(String),
    /// The link was closed by this side.
    #[error("the link was ended here: {0}")]
    Closed(String),
    /// The link stopped to answer.
    #[error("the link was lost: {0}")]
    Lost(String),
    /// The other side broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Violation(String),
    /// A second link to the same peer was given up for the one that stays.
    #[error("another link to this peer is in use")]
    Duplicate,
    /// This side refuses to sync (a foreign practice, a revoked node).
    #[error("refused: {0}")]
    Refused(String),
    /// The other side refuses to sync.
    #[error("refused: by the peer: {0}")]
    RefusedByPeer(String),
    /// The replica failed.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// Nobody has answered yet, and dialing goes on.
    #[error("it does not answer yet; is it running, and is the line up?")]
    Unreached,
    /// The time that the caller allowed is over.
    #[error("not finished within {0} seconds; it goes on in the background while the node runs")]
    Patience(u64),
    /// The network is being shut down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

impl SyncError {
    /// Whether an early retry is pointless, because people have to change something first.
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::WrongKey { .. } | Self::Violation(_) | Self::Refused(_) | Self::RefusedByPeer(_)
        )
    }
}
