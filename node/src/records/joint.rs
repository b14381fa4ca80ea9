//! Joint runs: what this node sends to, and takes from, a peer that reads the same charts.
//!
//! See [`carnet_sync_protocol::joint`]. Restricted entries are padded against whoever counts bytes,
//! so they travel as they are; control entries are clear text.

use super::Records;
use crate::identity::statement::EpochKind;
use crate::vault::block::Block;
use crate::vault::{self, VaultError};
use carnet_sync_protocol::entry::{Codec, Header, Run, RunItem};
use carnet_sync_protocol::id::{Channel, EntryId, LogId, NodeId, TransportKey};
use carnet_sync_protocol::joint::{JOINT, JointRun};

impl Records {
    /// The payload codecs that this node reads, and whether it takes joint runs of this peer.
    pub fn codecs(&self, peer: &TransportKey) -> Vec<Codec> {
        let joint = self.charts.is_some() && !self.unjoint.contains(peer);
        vault::CODECS.iter().copied().chain(joint.then_some(JOINT)).collect()
    }

    /// The joint form of a run, if there is one and it is shorter. It is clear text to whoever gets
    /// it, so it is for a node that may have the keys, whatever that says of itself, and holds
    /// nothing of the restricted ones.
    pub fn joint(&self, run: &Run, reader: &NodeId) -> Option<JointRun> {
        let closed = |item: &RunItem| {
            self.roster.epoch(&item.epoch).is_some_and(|epoch| epoch.kind != EpochKind::General)
        };
        if matches!(run.log.channel, Channel::Control | Channel::Restricted)
            || run.items.iter().any(closed)
            || !self.roster.is_reader(reader)
        {
            return None;
        }
        let keys = &self.charts.as_ref()?.keys;
        let header = self.header_at(run.log, run.first_sequence);
        let entries = (0..).zip(&run.items);
        let entries = entries.map(|(at, item)| (header(at, item), item.payload.as_slice()));
        let joint = JointRun::of(run, Block::of(keys, entries).pack());
        (joint.to_bytes().len() < run.to_bytes().len()).then_some(joint)
    }

    /// The run that a peer sent in its joint form. If it does not lead to what its author signed, or
    /// there is no key for it, this node takes none of this peer until it has other keys.
    pub fn open_joint(&mut self, peer: &TransportKey, joint: JointRun) -> Option<Run> {
        match self.made_again(joint) {
            Ok(run) => Some(run),
            Err(error) => {
                tracing::warn!(%peer, %error, "a joint run was not taken; it is asked for as it is");
                self.unjoint.insert(*peer);
                None
            }
        }
    }

    fn made_again(&self, joint: JointRun) -> Result<Run, VaultError> {
        let JointRun { log, first_sequence, previous, signature, block } = joint;
        let keys = &self.charts.as_ref().ok_or(VaultError::NotAuthentic)?.keys;
        let items = Block::unpack(&block)?.items(keys, self.header_at(log, first_sequence))?;
        let run = Run { log, first_sequence, previous, items, signature };
        match run.clone().verify(self.practice()) {
            Ok(_) => Ok(run),
            Err(_) => Err(VaultError::CommitmentMismatch),
        }
    }

    /// The header of an item of a run, as far as its seal is bound to it: not to the entry before.
    fn header_at(&self, log: LogId, first: u64) -> impl Fn(u64, &RunItem) -> Header + use<> {
        let practice = self.practice();
        move |at, item| item.header(practice, log, first.wrapping_add(at), EntryId::ZERO)
    }
}
