//! What a peer can do wrong.

/// A breach of the protocol by the other side. Nothing of what came with it is kept.
///
/// Every text says what was wrong with the *form*; none repeats what the peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Bytes that are not the canonical encoding of what was expected.
    #[error("a message is not in its canonical encoding")]
    Encoding,
    /// A frame is longer than allowed in its place.
    #[error("a frame is longer than allowed")]
    FrameLength,
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
    /// A certificate, grant or revocation of another practice.
    #[error("the other side belongs to another practice")]
    Practice,
    /// The certificate names another transport key than the one that TLS proved.
    #[error("the certificate is not for the key that holds this connection")]
    Transport,
    /// The connection's key is not the one that was dialled.
    #[error("another node answered than the one that was called")]
    Pinned,
    /// A certificate goes beyond the grant under which it was made.
    #[error("a certificate goes beyond the grant under which it was made")]
    Grant,
    /// A grant or suspension by a node without the capability for it.
    #[error("a statement was signed by a node that has no right to make it")]
    Authority,
    /// A site's name is empty, too long, or holds control characters.
    #[error("a site's name is empty, too long, or holds control characters")]
    Site,
    /// A message that may not come now, or not on this lane.
    #[error("a message came out of its place")]
    Order,
    /// An entry or log of a channel that this lane or session does not carry.
    #[error("a log of another channel than agreed")]
    Channel,
    /// A frontier with too many logs, or a log with no or too many heads.
    #[error("a frontier is longer than allowed")]
    FrontierLength,
    /// More bytes sent ahead of acknowledgement than the window allows.
    #[error("more was sent ahead of acknowledgement than allowed")]
    Window,
    /// An acknowledgement of something that was never sent.
    #[error("something was acknowledged that was never sent")]
    Acknowledgement,
    /// More questions at once than allowed.
    #[error("more was asked at once than allowed")]
    Requests,
    /// A receipt that does not fit what was exchanged.
    #[error("a receipt does not fit what was exchanged")]
    Receipt,
}
