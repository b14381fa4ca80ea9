//! What travels on the control lane, and the two messages of joining a practice.
//!
//! Data lanes carry bare runs (see [`Run::to_bytes`](crate::entry::Run::to_bytes)); everything
//! else is a [`Message`].

use crate::certificate::{Certificate, NodeKeys};
use crate::entry::{Codec, SignatureBytes, sign, verify};
use crate::error::Violation;
use crate::frontier::{Frontier, Head};
use crate::id::{Channel, LogId, PracticeId, ReceiptId, TransportKey};
use crate::receipt::ReceiptBody;
use crate::{limit, wire};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

const HELLO_DOMAIN: &str = "carnet hello v1";
/// The number of [`Message::Hello`], which is first in every version of the protocol.
const HELLO_KIND: u8 = 0;

const JOIN_DOMAIN: &str = "carnet join v1";

/// The lowest version of the protocol that this crate speaks.
pub const VERSION_MIN: u16 = 1;

/// The highest version of the protocol that this crate speaks.
pub const VERSION_MAX: u16 = 1;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// The one that called.
    Dialer,
    /// The one that was called; it says nothing before the dialer has proved who it is.
    Listener,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// The versions that a side speaks, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The lowest.
    pub min: u16,
    /// The highest.
    pub max: u16,
}

impl Versions {
    /// What this crate speaks.
    pub const OURS: Self = Self { min: VERSION_MIN, max: VERSION_MAX };

    /// The highest version that both speak.
    pub fn agree(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

/// A short digest of what is held of one channel: half of
/// [`Frontier::digest`](crate::frontier::Frontier::digest).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelDigest {
    /// The channel.
    pub channel: Channel,
    /// The first 16 bytes of the digest.
    pub digest: [u8; 16],
}

impl ChannelDigest {
    /// The digest of one channel of a frontier.
    pub fn of(frontier: &Frontier, channel: Channel) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&frontier.digest(channel)[..16]);
        Self { channel, digest }
    }
}

/// What a HELLO says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloBody {
    /// The protocol's versions. First, so that it can be read whatever follows it one day.
    pub versions: Versions,
    /// Who speaks.
    pub certificate: Certificate,
    /// The channels that it carries, ascending, and what it holds of each.
    pub digests: Vec<ChannelDigest>,
    /// The payload codecs that it can read; for information.
    pub codecs: Vec<Codec>,
    /// The last receipt that it has kept with this peer.
    pub receipt: Option<ReceiptId>,
    /// The heads of the logs that differ from what this receipt says both held: who has kept it too
    /// need not wait for a [`Message::Frontier`]. Nothing without a receipt, or if they are many.
    pub beyond: Option<LogHeads>,
    /// Its clock, for display only.
    pub time_ms: u64,
}

/// The first message of each side: who it is, proved for this connection alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What it says.
    pub body: HelloBody,
    /// The transport key's signature over the side, the TLS exporter and the body.
    pub signature: SignatureBytes,
}

impl Hello {
    /// The versions that a HELLO's frame announces, though this side may not understand the rest.
    pub(crate) fn versions(frame: &[u8]) -> Option<Versions> {
        let ((kind, versions), _) = postcard::take_from_bytes::<(u8, Versions)>(frame).ok()?;
        (kind == HELLO_KIND).then_some(versions)
    }

    /// Signs a HELLO for one connection.
    pub fn new(body: HelloBody, side: Side, exporter: &[u8; 32], key: &SigningKey) -> Self {
        let signature = sign(key, HELLO_DOMAIN, &wire::encode(&(side, exporter, &body)));
        Self { body, signature }
    }

    /// Checks that the holder of `key` said this on this very connection and end of it.
    pub fn verify(
        &self,
        side: Side,
        exporter: &[u8; 32],
        key: &TransportKey,
    ) -> Result<(), Violation> {
        let message = wire::encode(&(side, exporter, &self.body));
        verify(key.as_bytes(), HELLO_DOMAIN, &message, &self.signature)
    }
}

/// Heads of logs, as they travel.
pub type LogHeads = Vec<(LogId, Vec<Head>)>;

/// Why a node does not take a log's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RefuseReason {
    /// No certificate of the author is held; or the author was cut off, and the sender is not known
    /// to belong to the practice. Sent again when the refusing side asks for it.
    Uncertified,
    /// The entries do not follow anything that is held.
    Gap,
    /// The log has as many branches as are kept.
    Forks,
    /// The author's entries beyond this point are not taken in.
    Revoked,
    /// There is no room or no way to keep them now.
    Storage,
}

/// What became of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The run's log.
    pub log: LogId,
    /// The run's last entry.
    pub last: Head,
    /// Nothing: it is durably held. Otherwise it is not, and why.
    pub refused: Option<RefuseReason>,
}

/// Why a side ends a session in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Farewell {
    /// It has what it wanted, or is shutting down.
    Done,
    /// It is open twice with this peer.
    Duplicate,
}

/// A message on the control lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Who I am and, in brief, what I hold.
    Hello(Box<Hello>),
    /// What I hold of the channels whose digests differ.
    Frontier {
        /// Named: only the logs that differ from what this receipt says both held.
        base: Option<ReceiptId>,
        /// The logs.
        logs: LogHeads,
        /// Whether this is the last part.
        last: bool,
    },
    /// What became of your runs.
    Acknowledge(Vec<Acknowledgement>),
    /// What I now hold of logs of which you hold more than I did.
    Holding(LogHeads),
    /// I refused these logs for lack of a certificate, and may take them now: more of the control
    /// channel has come to me.
    Reconsider(Vec<LogId>),
    /// Points of a forked log that I hold, so that you can find the last one in common.
    Waypoints {
        /// The log.
        log: LogId,
        /// Heads, and ids at exponential steps back from each.
        points: Vec<Head>,
    },
    /// We are level: sign this with me.
    Propose {
        /// What is to be signed.
        body: Box<ReceiptBody>,
        /// The proposer's signature.
        signature: SignatureBytes,
    },
    /// I have signed and kept it.
    Accept {
        /// The receipt.
        id: ReceiptId,
        /// The accepter's signature.
        signature: SignatureBytes,
    },
    /// I can't sign that now, since more has moved.
    Decline {
        /// The receipt.
        id: ReceiptId,
    },
    /// I am going, in good order.
    Goodbye(Farewell),
    /// Somebody waits for the receipt: propose it without the usual rest.
    Hasten,
}

impl Message {
    /// The frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// The message in a control frame.
    pub fn from_bytes(frame: &[u8]) -> Result<Self, Violation> {
        if frame.len() > limit::CONTROL_FRAME_BYTES_MAX {
            return Err(Violation::FrameLength);
        }
        wire::decode(frame)
    }
}

/// What who wants to join says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinBody {
    /// The practice of the invitation.
    pub practice: PracticeId,
    /// The grant of the invitation.
    pub grant: [u8; 16],
    /// The invitation's secret, of which the grant holds the hash.
    pub token: [u8; 32],
    /// The new node's keys.
    pub keys: NodeKeys,
    /// The new node's clock, for display.
    pub time_ms: u64,
}

/// Asks for a certificate. It travels on a connection, or in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// What it says.
    pub body: JoinBody,
    /// The new entry key's signature over the TLS exporter (nothing in a file) and the body.
    pub signature: SignatureBytes,
}

impl JoinRequest {
    /// Signs a request; `exporter` is the TLS exporter of the connection, or nothing for a file.
    pub fn new(body: JoinBody, exporter: Option<&[u8; 32]>, entry_key: &SigningKey) -> Self {
        let signature = sign(entry_key, JOIN_DOMAIN, &wire::encode(&(exporter, &body)));
        Self { body, signature }
    }

    /// Checks that it was made for this connection (or for a file) by who has the entry key.
    pub fn verify(&self, exporter: Option<&[u8; 32]>) -> Result<(), Violation> {
        let message = wire::encode(&(exporter, &self.body));
        verify(self.body.keys.entry.as_bytes(), JOIN_DOMAIN, &message, &self.signature)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// The request in these bytes, not verified.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Violation> {
        if bytes.len() > limit::JOIN_BYTES_MAX {
            return Err(Violation::FrameLength);
        }
        wire::decode(bytes)
    }
}

/// Where a node can be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAddress {
    /// The key that will answer.
    pub transport: TransportKey,
    /// Its site.
    pub site: String,
    /// Host and port, in text.
    #[serde(deserialize_with = "wire::at_most::<_, _, { limit::ADDRESSES_MAX }>")]
    pub addresses: Vec<String>,
}

/// What a new node gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Its own certificate.
    pub certificate: Certificate,
    /// The inviter's certificate.
    pub inviter: Certificate,
    /// Whom it can call.
    #[serde(deserialize_with = "wire::at_most::<_, _, { limit::ADDRESSES_MAX }>")]
    pub peers: Vec<PeerAddress>,
}

/// Why nobody is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JoinRefusal {
    /// The invitation is not one of this node's.
    #[error("this node has not made that invitation")]
    Unknown,
    /// The invitation has been used.
    #[error("the invitation has been used already")]
    Used,
    /// The invitation has expired.
    #[error("the invitation has expired")]
    Expired,
    /// The request is malformed, or signed for another connection.
    #[error("the request is not valid")]
    Invalid,
    /// The inviter is locked and can't sign; unlock it and try again.
    #[error("the inviting node is locked")]
    Locked,
    /// The inviter failed for a reason of its own.
    #[error("the inviting node could not complete the request")]
    Failed,
    /// The inviter has been cut off itself.
    #[error("the inviting node has been suspended or revoked; ask another node of the practice")]
    CutOff,
}

/// Answers a [`JoinRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAnswer {
    /// Welcome.
    Admitted(Box<Admission>),
    /// No.
    Refused(JoinRefusal),
}

impl JoinAnswer {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// The answer in these bytes; its certificates are not verified.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Violation> {
        if bytes.len() > limit::JOIN_BYTES_MAX {
            return Err(Violation::FrameLength);
        }
        let answer: Self = wire::decode(bytes)?;
        if let Self::Admitted(admission) = &answer {
            let mut addresses = admission.peers.iter().flat_map(|peer| &peer.addresses);
            if admission.peers.len() > limit::ADDRESSES_MAX
                || addresses.clone().count() > limit::ADDRESSES_MAX
                || addresses.any(|address| address.len() > limit::ADDRESS_BYTES_MAX)
            {
                return Err(Violation::Encoding);
            }
        }
        Ok(answer)
    }
}
