//! What a peer can do wrong.

/// A breach of the protocol by the other side. Nothing of what came with it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A signature does not verify.
    #[error("a signature does not verify")]
    Signature,
    /// A run is empty or longer than allowed.
    #[error("a run is empty or longer than allowed")]
    RunLength,
    /// A payload is longer than allowed.
    #[error("a payload is longer than allowed")]
    PayloadLength,
    /// Sequence and previous id do not fit together.
    #[error("an entry does not follow the one before it")]
    Chain,
}
