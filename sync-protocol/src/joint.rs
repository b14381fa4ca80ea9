//! The joint run: a run on its way between two nodes that both read what it holds.
//!
//! Sealed one by one, changes can't be compressed together, and each carries a nonce and a tag
//! that say nothing to whoever can open it: both follow from the key, the header and the change.
//! So a node that has just opened a run for a reader sends the changes together, and the reader
//! seals them anew. What comes out is the run, bit for bit, or its author's signature does not
//! hold; so nothing here needs to be trusted, and a run that can't be made again is asked for as it
//! is. What a block looks like inside is its readers' affair.

use crate::entry::{Codec, SignatureBytes};
use crate::error::Violation;
use crate::id::{EntryId, LogId};
use crate::limit;
use crate::run::{Place, Reader, Run};

/// Named among the codecs of a HELLO: joint runs may be sent here. (256 stood for blocks in which
/// changes were whole.)
pub const JOINT: Codec = Codec(257);

/// The version of a joint run's bytes; a run's own is 1.
const JOINT_VERSION: u8 = 2;

/// A run of which the entries stand together in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JointRun {
    /// See [`Run::log`].
    pub log: LogId,
    /// See [`Run::first_sequence`].
    pub first_sequence: u64,
    /// See [`Run::previous`].
    pub previous: EntryId,
    /// The author's signature over the last entry that the block leads to.
    pub signature: SignatureBytes,
    /// The entries.
    pub block: Vec<u8>,
}

/// A run that was loaded to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The run.
    pub run: Run,
    /// The form in which it travels, if the other side reads it and it is shorter.
    pub joint: Option<JointRun>,
}

impl From<Run> for Outgoing {
    fn from(run: Run) -> Self {
        Self { run, joint: None }
    }
}

impl JointRun {
    /// The joint form of a run, in this block.
    pub fn of(run: &Run, block: Vec<u8>) -> Self {
        let Place { log, first_sequence, previous } = Place::of(run);
        Self { log, first_sequence, previous, signature: run.signature, block }
    }

    /// Whether a frame holds a joint run, and not a run.
    pub fn is_in(frame: &[u8]) -> bool {
        frame.first() == Some(&JOINT_VERSION)
    }

    /// The canonical bytes: version, log, first sequence, previous id (unless the run is the log's
    /// beginning), signature, and the block to the end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(147 + self.block.len());
        out.push(JOINT_VERSION);
        let (log, first_sequence, previous) = (self.log, self.first_sequence, self.previous);
        Place { log, first_sequence, previous }.put(&mut out);
        out.extend_from_slice(&self.signature.to_bytes());
        out.extend_from_slice(&self.block);
        out
    }

    /// The joint run in these bytes. Bytes that [`Self::to_bytes`] would not make are refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Violation> {
        if bytes.len() > limit::FRAME_BYTES_MAX {
            return Err(Violation::FrameLength);
        }
        let joint = Self::read(&mut Reader(bytes)).ok_or(Violation::Encoding)?;
        if joint.to_bytes() != bytes {
            return Err(Violation::Encoding);
        }
        Ok(joint)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        if reader.byte()? != JOINT_VERSION {
            return None;
        }
        let Place { log, first_sequence, previous } = Place::read(reader)?;
        let signature = SignatureBytes(reader.array()?, reader.array()?);
        Some(Self { log, first_sequence, previous, signature, block: reader.0.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Author, Channel, Incarnation, NodeId};

    fn joint(first_sequence: u64) -> JointRun {
        let author = Author { node: NodeId([3; 32]), incarnation: Incarnation([4; 8]) };
        let previous = if first_sequence == 1 { EntryId::ZERO } else { EntryId([5; 32]) };
        JointRun {
            log: LogId { channel: Channel::Clinical, author },
            first_sequence,
            previous,
            signature: SignatureBytes([6; 32], [7; 32]),
            block: vec![8; 9],
        }
    }

    #[test]
    fn a_joint_run_has_one_form_and_is_told_from_a_run() {
        for first in [1, 2, 300, u64::MAX] {
            let bytes = joint(first).to_bytes();
            assert_eq!(JointRun::from_bytes(&bytes), Ok(joint(first)));
            assert!(JointRun::is_in(&bytes));
            assert_eq!(Run::from_bytes(&bytes), Err(Violation::Encoding));
            // Whatever is cut off was the block's, or it is refused.
            for length in 0..bytes.len() {
                let cut = JointRun::from_bytes(&bytes[..length]);
                assert_eq!(cut.is_ok(), length + 9 >= bytes.len(), "{length}");
            }
        }
        let mut other = joint(2).to_bytes();
        other[1] = 99;
        assert_eq!(JointRun::from_bytes(&other), Err(Violation::Encoding));
        let long = vec![2; limit::FRAME_BYTES_MAX + 1];
        assert_eq!(JointRun::from_bytes(&long), Err(Violation::FrameLength));
    }
}
