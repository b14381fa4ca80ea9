//! Identifiers: one newtype for each thing that the protocol names, so that no two can be mixed up.
//!
//! All are fixed-size byte strings, compared and ordered as bytes. `Display` and `Debug` print
//! lower-case hexadecimal; none of them is derived from a patient's data without a key.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A text that is not the hexadecimal form of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal characters")]
pub struct ParseIdError {
    /// How many characters the identifier has.
    pub expected: usize,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// All bytes zero: "none" where the protocol needs a place-holder of this type.
            pub const ZERO: Self = Self([0; $size]);

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

identifier!(
    /// A practice: the public half of its Ed25519 practice key.
    PracticeId, 32
);
identifier!(
    /// A node: the public half of its Ed25519 entry key, which signs what it writes.
    NodeId, 32
);
identifier!(
    /// The public half of a node's Ed25519 transport key, which QUIC pins and which signs
    /// HELLO and receipts. It is at hand before anybody unlocks the node.
    TransportKey, 32
);
identifier!(
    /// The X25519 public key to which a node's epoch keys are wrapped (HPKE, RFC 9180).
    HpkeKey, 32
);
identifier!(
    /// One life of a node's directory: drawn at random at its creation, after a restore, and
    /// whenever the directory may have been copied.
    Incarnation, 8
);
identifier!(
    /// An entry: the BLAKE3 hash of its canonical header.
    EntryId, 32
);
identifier!(
    /// A document's pseudonym: a keyed hash, so that it tells nothing to who lacks the key.
    DocumentId, 16
);
identifier!(
    /// A key epoch: the first 16 bytes of the id of the entry that brought it. Zero for clear text.
    EpochId, 16
);
identifier!(
    /// A receipt: the BLAKE3 hash of its canonical content.
    ReceiptId, 32
);

impl From<EntryId> for EpochId {
    fn from(id: EntryId) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&id.0[..16]);
        Self(bytes)
    }
}

/// Who wrote an entry: a node in one of its incarnations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Author {
    /// The node; its bytes are the key that verifies the author's signatures.
    pub node: NodeId,
    /// Which life of the node's directory.
    pub incarnation: Incarnation,
}

/// A channel of the ledger, in order of urgency: the lower the number, the sooner it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Channel {
    /// Certificates, revocations, wrapped keys; in clear text.
    Control = 0,
    /// Signed statements about staff; sealed.
    Staff = 1,
    /// What an emergency needs: patients, allergies, conditions, medications.
    Critical = 2,
    /// The rest of care.
    Clinical = 3,
    /// Resources labelled restricted or very restricted; under a key of their own.
    Restricted = 4,
    /// Coverage, claims, appointments.
    Administrative = 5,
    /// The audit trail.
    Audit = 6,
}

impl Channel {
    /// Every channel, most urgent first.
    pub const ALL: [Self; 7] = [
        Self::Control,
        Self::Staff,
        Self::Critical,
        Self::Clinical,
        Self::Restricted,
        Self::Administrative,
        Self::Audit,
    ];

    /// The channel's number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The channel with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The name that people and JSON see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Staff => "staff",
            Self::Critical => "critical",
            Self::Clinical => "clinical",
            Self::Restricted => "restricted",
            Self::Administrative => "administrative",
            Self::Audit => "audit",
        }
    }
}

/// A log: what one author wrote in one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// The channel.
    pub channel: Channel,
    /// The author.
    pub author: Author,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let error = ParseIdError { expected: N * 2 };
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return Err(error);
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).ok_or(error);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (nibble(pair[0])? * 16 + nibble(pair[1])?) as u8;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_round_trips_and_refuses_other_lengths() {
        let id = DocumentId([0xa7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("a7".parse::<DocumentId>(), Err(ParseIdError { expected: 32 }));
        assert!("zz".repeat(16).parse::<DocumentId>().is_err());
    }

    #[test]
    fn channel_numbers_are_their_order_of_urgency() {
        for (number, channel) in Channel::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(channel.number()), number);
            assert_eq!(Channel::from_number(number as u8), Some(channel));
        }
        assert_eq!(Channel::from_number(7), None);
    }
}
