//! The block of a joint run: changes side by side, compressed together, for whoever can seal them
//! again.
//!
//! An entry that this node can't open, or that would come out otherwise if it were sealed here (its
//! author has another version of zstd), stands in the block as it is. What is the same for most
//! entries stands in tables, and each column by itself, since like next to like compresses best.

use super::compress;
use super::epochs::KeyBook;
use super::error::VaultError;
use super::sealed::{open, seal};
use carnet_sync_protocol::entry::{Codec, Header, HybridTime, RunItem};
use carnet_sync_protocol::id::{DocumentId, EpochId};
use carnet_sync_protocol::limit::{FRAME_BYTES_MAX, RUN_ENTRIES_MAX};
use carnet_sync_protocol::wire;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A block before compression: a frame's worth of changes, each some times larger than it was
/// sealed.
const BLOCK_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// The entries of a run, ready to be compressed.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    documents: Vec<DocumentId>,
    epochs: Vec<EpochId>,
    codecs: Vec<Codec>,
    /// By entry: which document, epoch and codec.
    document: Vec<u16>,
    epoch: Vec<u16>,
    codec: Vec<u16>,
    /// By entry: how much later than the one before.
    time: Vec<i64>,
    /// By entry: the nonce, if it is sealed here.
    sealed: Vec<Option<[u8; 24]>>,
    /// By entry: how long its text is.
    length: Vec<u32>,
    /// The changes, or payloads, one after another.
    text: Vec<u8>,
}

impl Block {
    /// The block of these entries.
    pub fn of<'a>(keys: &KeyBook, entries: impl Iterator<Item = (Header, &'a [u8])>) -> Self {
        let mut block = Self::default();
        let mut tables = Tables::default();
        let mut before = HybridTime(0);
        for (header, payload) in entries {
            block.document.push(tables.documents.place(header.document, &mut block.documents));
            block.epoch.push(tables.epochs.place(header.epoch, &mut block.epochs));
            block.codec.push(tables.codecs.place(header.codec, &mut block.codecs));
            block.time.push(header.time.0.wrapping_sub(before.0) as i64);
            before = header.time;
            let change = renewable(keys, &header, payload);
            block.sealed.push(change.is_none().then_some(header.nonce));
            let text = change.as_deref().unwrap_or(payload);
            block.length.push(text.len() as u32);
            block.text.extend_from_slice(text);
        }
        block
    }

    /// The block, compressed.
    pub fn pack(&self) -> Vec<u8> {
        compress::pack_block(&wire::encode(self))
    }

    /// What [`Self::pack`] made.
    pub fn unpack(bytes: &[u8]) -> Result<Self, VaultError> {
        let bytes = compress::unpack_block(bytes, BLOCK_BYTES_MAX)?;
        wire::decode(&bytes).map_err(|_| VaultError::Malformed)
    }

    /// The entries of the run, sealed as their author sealed them. `header` makes the header of
    /// the item at a place, which comes without nonce and payload.
    pub fn items(
        &self,
        keys: &KeyBook,
        header: impl Fn(u64, &RunItem) -> Header,
    ) -> Result<Vec<RunItem>, VaultError> {
        let count = self.length.len();
        let columns = [self.document.len(), self.epoch.len(), self.codec.len()];
        let even = columns.iter().all(|length| *length == count)
            && [self.time.len(), self.sealed.len()] == [count, count];
        if !even || count == 0 || count > RUN_ENTRIES_MAX {
            return Err(VaultError::Malformed);
        }
        let mut items = Vec::with_capacity(count);
        let mut rest = self.text.as_slice();
        let mut time = 0_u64;
        for at in 0..count {
            time = time.wrapping_add(self.time[at] as u64);
            let mut item = RunItem {
                document: *named(&self.documents, self.document[at])?,
                epoch: *named(&self.epochs, self.epoch[at])?,
                codec: *named(&self.codecs, self.codec[at])?,
                nonce: [0; 24],
                time: HybridTime(time),
                payload: Vec::new(),
            };
            let (text, after) =
                rest.split_at_checked(self.length[at] as usize).ok_or(VaultError::Malformed)?;
            rest = after;
            (item.nonce, item.payload) = match self.sealed[at] {
                Some(nonce) => (nonce, text.to_vec()),
                None => {
                    let key = keys.epoch(&item.epoch).ok_or(VaultError::NotAuthentic)?;
                    let sealed = seal(key, &header(at as u64, &item), text)?;
                    (sealed.nonce, sealed.payload)
                }
            };
            items.push(item);
        }
        if rest.is_empty() { Ok(items) } else { Err(VaultError::Malformed) }
    }
}

fn named<T>(table: &[T], place: u16) -> Result<&T, VaultError> {
    table.get(usize::from(place)).ok_or(VaultError::Malformed)
}

/// The change of an entry, if sealing it here gives these very bytes.
fn renewable(keys: &KeyBook, header: &Header, payload: &[u8]) -> Option<Vec<u8>> {
    let key = keys.epoch(&header.epoch)?;
    let change = open(key, header, payload).ok()?;
    let again = seal(key, header, &change).ok()?;
    (again.payload == payload).then_some(change)
}

#[derive(Default)]
struct Tables {
    documents: Table<DocumentId>,
    epochs: Table<EpochId>,
    codecs: Table<Codec>,
}

/// Where each value stands in its table. A run has few enough entries for a `u16`.
struct Table<T>(BTreeMap<T, u16>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord + Copy> Table<T> {
    fn place(&mut self, value: T, list: &mut Vec<T>) -> u16 {
        *self.0.entry(value).or_insert_with(|| {
            list.push(value);
            (list.len() - 1) as u16
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carnet_sync_protocol::id::{
        Author, Channel, EntryId, Incarnation, LogId, NodeId, PracticeId,
    };

    fn header(at: u64, item: &RunItem) -> Header {
        let author = Author { node: NodeId([2; 32]), incarnation: Incarnation([3; 8]) };
        let log = LogId { channel: Channel::Clinical, author };
        item.header(PracticeId([1; 32]), log, at + 1, EntryId::ZERO)
    }

    fn item(seed: u8) -> RunItem {
        RunItem {
            document: DocumentId([seed / 2; 16]),
            epoch: EpochId([seed / 3; 16]),
            codec: Codec(16 + u16::from(seed % 2)),
            nonce: [seed; 24],
            // Clocks run backwards too.
            time: HybridTime(u64::MAX / 2 - (1 << 40) * u64::from(seed % 4)),
            payload: vec![seed; usize::from(seed) * 9],
        }
    }

    fn block(items: &[RunItem]) -> Block {
        let entries = (0..).zip(items);
        let entries = entries.map(|(at, item)| (header(at, item), item.payload.as_slice()));
        Block::of(&KeyBook::default(), entries)
    }

    #[test]
    fn what_nobody_here_can_open_is_passed_on_as_it_is() {
        let items: Vec<RunItem> = (0..=255).map(item).collect();
        let packed = block(&items).pack();
        let unpacked = Block::unpack(&packed).unwrap();
        assert_eq!(unpacked.items(&KeyBook::default(), header).unwrap(), items);
    }

    #[test]
    fn a_block_that_does_not_add_up_is_refused() {
        let keys = KeyBook::default();
        type Change = fn(&mut Block);
        let changes: [Change; 9] = [
            |block| block.length.clear(),
            |block| block.length[1] = u32::MAX,
            |block| block.text.truncate(1),
            |block| block.text.push(1),
            |block| block.time.truncate(2),
            |block| block.sealed.truncate(2),
            |block| block.document[0] = 9,
            |block| block.epoch[0] = 9,
            // A change whose key is not here.
            |block| block.sealed[0] = None,
        ];
        for change in changes {
            let mut altered = block(&[item(1), item(2), item(3)]);
            change(&mut altered);
            assert!(altered.items(&keys, header).is_err());
        }
        assert!(Block::default().items(&keys, header).is_err());
        let many: Vec<RunItem> = (0..=RUN_ENTRIES_MAX).map(|at| item(at as u8)).collect();
        assert!(block(&many).items(&keys, header).is_err());
    }

    #[test]
    fn a_bomb_or_noise_is_refused_before_it_is_unpacked() {
        let bomb = compress::pack_block(&vec![0; BLOCK_BYTES_MAX + 1]);
        assert!(bomb.len() < 10_000);
        assert!(matches!(Block::unpack(&bomb), Err(VaultError::TooLarge { .. })));
        let sound = block(&[item(1), item(2)]).pack();
        for length in 0..sound.len() {
            assert!(Block::unpack(&sound[..length]).is_err());
        }
        assert!(Block::unpack(&[7; 100]).is_err());
    }
}
