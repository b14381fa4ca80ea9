//! Frontiers: what a node holds, as a version vector over logs.
//!
//! Each log is held without holes from its first entry up to a head. A log whose author was cloned
//! has forked and has several heads; every entry between the first and each head is held.

use crate::id::{Channel, EntryId, LogId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The last held entry of a log (or of one branch of a forked log).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Head {
    /// Its place in the log, from 1.
    pub sequence: u64,
    /// Its id.
    pub id: EntryId,
}

/// What a node holds: the heads of every log; sorted, one head for each log unless it forked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier(pub BTreeMap<LogId, Vec<Head>>);

impl Frontier {
    /// The heads of one log; empty when nothing of it is held.
    pub fn heads(&self, log: &LogId) -> &[Head] {
        self.0.get(log).map_or(&[], Vec::as_slice)
    }

    /// The logs of one channel with their heads.
    pub fn channel(&self, channel: Channel) -> impl Iterator<Item = (&LogId, &Vec<Head>)> {
        self.0.iter().filter(move |(log, _)| log.channel == channel)
    }

    /// Replaces the heads of a log.
    pub fn set(&mut self, log: LogId, mut heads: Vec<Head>) {
        heads.sort_unstable();
        self.0.insert(log, heads);
    }

    /// A hash of what is held of all channels, whatever their number.
    pub fn digest_all(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 whole frontier digest v1");
        for channel in Channel::ALL {
            if self.channel(channel).next().is_some() {
                hasher.update(&[channel.number()]);
                hasher.update(&self.digest(channel));
            }
        }
        *hasher.finalize().as_bytes()
    }

    /// A hash of what is held of one channel; equal exactly when the same entries are held.
    pub fn digest(&self, channel: Channel) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 frontier digest v1");
        for (log, heads) in self.channel(channel) {
            #[cfg(planted)]
            if crate::planted::is("digests-without-the-administrative-channel")
                && channel == Channel::Administrative
            {
                break;
            }
            hasher.update(&[log.channel.number()]);
            hasher.update(log.author.node.as_bytes());
            hasher.update(log.author.incarnation.as_bytes());
            hasher.update(&(heads.len() as u64).to_be_bytes());
            for head in heads {
                hasher.update(&head.sequence.to_be_bytes());
                hasher.update(head.id.as_bytes());
            }
        }
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Author, Incarnation, NodeId};

    fn log(channel: Channel, node: u8) -> LogId {
        let author = Author { node: NodeId([node; 32]), incarnation: Incarnation([0; 8]) };
        LogId { channel, author }
    }

    fn head(sequence: u64, id: u8) -> Head {
        Head { sequence, id: EntryId([id; 32]) }
    }

    #[test]
    fn a_digest_tells_what_is_held_of_its_channel_and_of_no_other() {
        let mut frontier = Frontier::default();
        frontier.set(log(Channel::Critical, 1), vec![head(3, 3)]);
        let (critical, all) = (frontier.digest(Channel::Critical), frontier.digest_all());
        frontier.set(log(Channel::Audit, 1), vec![head(1, 1)]);
        assert_eq!(frontier.digest(Channel::Critical), critical);
        assert_ne!(frontier.digest_all(), all);
        let mut changed = Vec::new();
        for heads in [vec![head(4, 3)], vec![head(3, 4)], vec![head(3, 3), head(3, 4)]] {
            frontier.set(log(Channel::Critical, 1), heads);
            changed.push(frontier.digest(Channel::Critical));
        }
        frontier.set(log(Channel::Critical, 1), vec![head(3, 3)]);
        assert_eq!(frontier.digest(Channel::Critical), critical);
        frontier.set(log(Channel::Critical, 2), vec![head(1, 9)]);
        changed.push(frontier.digest(Channel::Critical));
        changed.push(critical);
        changed.sort_unstable();
        changed.dedup();
        assert_eq!(changed.len(), 5, "two states share a digest");
    }

    #[test]
    fn the_order_in_which_heads_are_named_does_not_matter() {
        let (mut one, mut other) = (Frontier::default(), Frontier::default());
        one.set(log(Channel::Clinical, 1), vec![head(2, 1), head(5, 2)]);
        other.set(log(Channel::Clinical, 1), vec![head(5, 2), head(2, 1)]);
        assert_eq!(one, other);
        assert_eq!(one.digest(Channel::Clinical), other.digest(Channel::Clinical));
    }
}
