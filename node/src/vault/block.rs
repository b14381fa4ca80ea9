//! The block of a joint run: changes side by side, compressed together, for whoever can seal them
//! again.
//!
//! An entry that this node can't open, or that would come out otherwise if it were sealed here (its
//! author has another version of zstd), stands in the block as it is. What is the same for most
//! entries stands in tables, and each column by itself, since like next to like compresses best.
//! Of a change, what the other side can tell is left out: see [`TheirChanges`].

use super::compress;
use super::epochs::KeyBook;
use super::error::VaultError;
use super::sealed::{open, seal};
use carnet_sync_protocol::entry::{Codec, Header, HybridTime, RunItem};
use carnet_sync_protocol::id::{DocumentId, EpochId};
use carnet_sync_protocol::limit::{FRAME_BYTES_MAX, RUN_ENTRIES_MAX};
use carnet_sync_protocol::wire::{self, at_most};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A block before compression: the longest change there is, and as much again of others.
const BLOCK_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// The hash that names a change.
pub type ChangeName = [u8; 32];

/// So much of a change's name tells it from all others that a node holds.
pub type Beginning = [u8; 6];

/// How a change's name begins.
pub fn beginning(name: &ChangeName) -> Beginning {
    *name.first_chunk().expect("a name is longer")
}

/// A change in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Its name.
    pub name: ChangeName,
    /// The changes that it builds on.
    pub dependencies: Vec<ChangeName>,
    /// All that doesn't follow from these.
    pub rest: Vec<u8>,
}

/// What must be known to make a block: of changes, and of what its reader holds.
pub trait TheirChanges {
    /// A change in parts, if [`OwnChanges::whole`] gives it back.
    fn parts(&self, change: &[u8]) -> Option<Parts>;

    /// The document of a change, if the reader of the block is known to hold that change.
    fn held(&self, change: &ChangeName) -> Option<DocumentId>;
}

/// What must be known to read a block: of changes, and of what is held here.
pub trait OwnChanges {
    /// The name of the change with these parts, and the change; the order of what it builds on
    /// says nothing.
    fn whole(&self, dependencies: &[ChangeName], rest: &[u8]) -> (ChangeName, Vec<u8>);

    /// The only change here with a name that begins so, and its document.
    fn named(&self, beginning: &Beginning) -> Option<(ChangeName, DocumentId)>;
}

/// What a change builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Base {
    /// Some change.
    Named(ChangeName),
    /// That of the entry so many places before.
    Before(u16),
    /// One that the reader holds.
    Held(Beginning),
}

/// Changes that one may build on and be told by them. More heads than these stand side by side in
/// no document that people work with.
const BASES_MAX: usize = 64;

/// In place of a document: it is that of the first change which this one builds on.
const OF_ITS_BASE: u16 = u16::MAX;

/// The entries of a run, ready to be compressed.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    #[serde(deserialize_with = "at_most::<_, _, RUN_ENTRIES_MAX>")]
    documents: Vec<DocumentId>,
    #[serde(deserialize_with = "at_most::<_, _, RUN_ENTRIES_MAX>")]
    epochs: Vec<EpochId>,
    #[serde(deserialize_with = "at_most::<_, _, RUN_ENTRIES_MAX>")]
    codecs: Vec<Codec>,
    /// By entry: which document ([`OF_ITS_BASE`] is none of the table), epoch and codec.
    #[serde(deserialize_with = "at_most::<_, _, RUN_ENTRIES_MAX>")]
    document: Vec<u16>,
    #[serde(deserialize_with = "at_most::<_, _, RUN_ENTRIES_MAX>")]
    epoch: Vec<u16>,
    #[serde(deserialize_with = "at_most::<_, _, RUN_ENTRIES_MAX>")]
    codec: Vec<u16>,
    /// By entry: how much later than the one before.
    #[serde(deserialize_with = "at_most::<_, _, RUN_ENTRIES_MAX>")]
    time: Vec<i64>,
    /// By entry: the nonce, if it is sealed here.
    #[serde(deserialize_with = "at_most::<_, _, RUN_ENTRIES_MAX>")]
    sealed: Vec<Option<[u8; 24]>>,
    /// By entry: nothing if its text is a whole change or payload, or else one more than the number
    /// of changes that it builds on.
    #[serde(deserialize_with = "at_most::<_, _, RUN_ENTRIES_MAX>")]
    based: Vec<u32>,
    /// What they build on, one after another.
    #[serde(deserialize_with = "at_most::<_, _, { BASES_MAX * RUN_ENTRIES_MAX }>")]
    bases: Vec<Base>,
    /// By entry: how long its text is.
    #[serde(deserialize_with = "at_most::<_, _, RUN_ENTRIES_MAX>")]
    length: Vec<u32>,
    /// The changes, what is left of them, or payloads, one after another.
    #[serde(with = "whole")]
    text: Vec<u8>,
}

/// Bytes encoded as they lie and not one by one, which gives the same encoding.
mod whole {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        <&[u8]>::deserialize(deserializer).map(<[u8]>::to_vec)
    }
}

impl Block {
    /// The block of these entries; nothing if their text alone is larger than any reader takes, as
    /// when somebody has written what is small only while it is compressed.
    pub fn of<'a>(
        keys: &KeyBook,
        changes: &dyn TheirChanges,
        entries: impl Iterator<Item = (Header, &'a [u8])>,
    ) -> Option<Self> {
        let mut block = Self::default();
        let mut tables = Tables::default();
        let mut before = HybridTime(0);
        for (at, (header, payload)) in entries.enumerate() {
            block.epoch.push(tables.epochs.place(header.epoch, &mut block.epochs));
            block.codec.push(tables.codecs.place(header.codec, &mut block.codecs));
            block.time.push(header.time.0.wrapping_sub(before.0) as i64);
            before = header.time;
            let change = renewable(keys, &header, payload);
            block.sealed.push(change.is_none().then_some(header.nonce));
            let parts = change.as_ref().and_then(|change| changes.parts(change));
            let parts = parts.filter(|parts| parts.dependencies.len() <= BASES_MAX);
            let told = parts
                .as_ref()
                .is_some_and(|parts| block.base(&mut tables, changes, &header, at, parts));
            block.document.push(match told {
                true => OF_ITS_BASE,
                false => tables.documents.place(header.document, &mut block.documents),
            });
            if parts.is_none() {
                block.based.push(0);
            }
            let text = parts.map(|parts| parts.rest).or(change);
            let text = text.as_deref().unwrap_or(payload);
            if block.text.len() + text.len() > BLOCK_BYTES_MAX {
                return None;
            }
            block.length.push(text.len() as u32);
            block.text.extend_from_slice(text);
        }
        Some(block)
    }

    /// Names what a change builds on; whether the first of it tells the change's document.
    fn base(
        &mut self,
        tables: &mut Tables,
        changes: &dyn TheirChanges,
        header: &Header,
        at: usize,
        parts: &Parts,
    ) -> bool {
        self.based.push(parts.dependencies.len() as u32 + 1);
        let mut first = None;
        for name in &parts.dependencies {
            let (base, document) = if let Some((place, document)) = tables.changes.get(name) {
                (Base::Before((at - place) as u16), Some(*document))
            } else if let Some(document) = changes.held(name) {
                (Base::Held(beginning(name)), Some(document))
            } else {
                (Base::Named(*name), None)
            };
            self.bases.push(base);
            first.get_or_insert(document);
        }
        tables.changes.insert(parts.name, (at, header.document));
        first.flatten() == Some(header.document)
    }

    /// The block, compressed; nothing if it is larger than any reader takes.
    pub fn pack(&self) -> Option<Vec<u8>> {
        let bytes = wire::encode(self);
        (bytes.len() <= BLOCK_BYTES_MAX).then(|| compress::pack_block(&bytes))
    }

    /// What [`Self::pack`] made.
    pub fn unpack(bytes: &[u8]) -> Result<Self, VaultError> {
        let bytes = compress::unpack_block(bytes, BLOCK_BYTES_MAX)?;
        wire::decode(&bytes).map_err(|_| VaultError::Malformed)
    }

    /// The entries of the run, sealed as their author sealed them, and the changes that were told
    /// by what they build on, with their documents. `header` makes the header of the item at a
    /// place, which comes without nonce and payload.
    pub fn items(
        &self,
        keys: &KeyBook,
        changes: &dyn OwnChanges,
        header: impl Fn(u64, &RunItem) -> Header,
    ) -> Result<Unpacked, VaultError> {
        let count = self.length.len();
        let columns = [self.document.len(), self.epoch.len(), self.codec.len()];
        let even = columns.iter().all(|length| *length == count)
            && [self.time.len(), self.sealed.len(), self.based.len()] == [count; 3];
        if !even || count == 0 || count > RUN_ENTRIES_MAX {
            return Err(VaultError::Malformed);
        }
        let mut unpacked = Unpacked::default();
        let mut names: Vec<Option<(ChangeName, DocumentId)>> = Vec::with_capacity(count);
        let (mut rest, mut bases) = (self.text.as_slice(), self.bases.as_slice());
        let mut time = 0_u64;
        for at in 0..count {
            time = time.wrapping_add(self.time[at] as u64);
            let text = taken(&mut rest, self.length[at] as usize)?;
            let based = match self.based[at].checked_sub(1) {
                Some(count) if count as usize > BASES_MAX || self.sealed[at].is_some() => {
                    return Err(VaultError::Malformed);
                }
                Some(count) => {
                    let bases = taken(&mut bases, count as usize)?;
                    Some(resolved(bases, at, &names, changes)?)
                }
                None => None,
            };
            let mut item = RunItem {
                document: match self.document[at] {
                    OF_ITS_BASE => told_by(&based)?,
                    place => *named(&self.documents, place)?,
                },
                epoch: *named(&self.epochs, self.epoch[at])?,
                codec: *named(&self.codecs, self.codec[at])?,
                nonce: [0; 24],
                time: HybridTime(time),
                payload: Vec::new(),
            };
            let (name, text) = match based {
                Some(based) => {
                    let dependencies: Vec<_> = based.into_iter().map(|(name, _)| name).collect();
                    let (name, change) = changes.whole(&dependencies, text);
                    (Some((name, item.document)), Cow::Owned(change))
                }
                None => (None, Cow::Borrowed(text)),
            };
            names.push(name);
            (item.nonce, item.payload) = match self.sealed[at] {
                Some(nonce) => (nonce, text.into_owned()),
                None => {
                    let key = keys.epoch(&item.epoch).ok_or(VaultError::NotAuthentic)?;
                    let sealed = seal(key, &header(at as u64, &item), &text)?;
                    (sealed.nonce, sealed.payload)
                }
            };
            unpacked.items.push(item);
        }
        unpacked.changes.extend(names.into_iter().flatten());
        if rest.is_empty() && bases.is_empty() { Ok(unpacked) } else { Err(VaultError::Malformed) }
    }
}

/// What a block held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// The entries.
    pub items: Vec<RunItem>,
    /// Changes among them, and their documents.
    pub changes: Vec<(ChangeName, DocumentId)>,
}

/// The changes that one builds on, and the documents of those that are here.
type Based = Vec<(ChangeName, Option<DocumentId>)>;

fn resolved(
    bases: &[Base],
    at: usize,
    names: &[Option<(ChangeName, DocumentId)>],
    changes: &dyn OwnChanges,
) -> Result<Based, VaultError> {
    let resolve = |base: &Base| match base {
        Base::Named(name) => Ok((*name, None)),
        Base::Before(distance) => {
            let place = at.checked_sub(usize::from(*distance));
            let before = place.and_then(|place| *names.get(place)?);
            before.map(|(name, document)| (name, Some(document))).ok_or(VaultError::Malformed)
        }
        Base::Held(beginning) => {
            let held = changes.named(beginning).ok_or(VaultError::UnknownBase)?;
            Ok((held.0, Some(held.1)))
        }
    };
    bases.iter().map(resolve).collect()
}

fn told_by(based: &Option<Based>) -> Result<DocumentId, VaultError> {
    let first = based.as_ref().and_then(|based| based.first()?.1);
    first.ok_or(VaultError::Malformed)
}

fn taken<'a, T>(from: &mut &'a [T], count: usize) -> Result<&'a [T], VaultError> {
    let (taken, rest) = from.split_at_checked(count).ok_or(VaultError::Malformed)?;
    *from = rest;
    Ok(taken)
}

fn named<T>(table: &[T], place: u16) -> Result<&T, VaultError> {
    table.get(usize::from(place)).ok_or(VaultError::Malformed)
}

/// The change of an entry, if sealing it here gives these very bytes.
pub fn renewable(keys: &KeyBook, header: &Header, payload: &[u8]) -> Option<Vec<u8>> {
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
    /// The changes so far: the place of each, and its document.
    changes: BTreeMap<ChangeName, (usize, DocumentId)>,
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

    /// Nothing is known of any change.
    struct Nothing;

    impl TheirChanges for Nothing {
        fn parts(&self, _: &[u8]) -> Option<Parts> {
            None
        }

        fn held(&self, _: &ChangeName) -> Option<DocumentId> {
            None
        }
    }

    impl OwnChanges for Nothing {
        fn whole(&self, dependencies: &[ChangeName], rest: &[u8]) -> (ChangeName, Vec<u8>) {
            let change = [dependencies.as_flattened(), rest].concat();
            (*blake3::hash(&change).as_bytes(), change)
        }

        fn named(&self, _: &Beginning) -> Option<(ChangeName, DocumentId)> {
            None
        }
    }

    fn block(items: &[RunItem]) -> Block {
        let entries = (0..).zip(items);
        let entries = entries.map(|(at, item)| (header(at, item), item.payload.as_slice()));
        Block::of(&KeyBook::default(), &Nothing, entries).unwrap()
    }

    fn items(block: &Block) -> Result<Vec<RunItem>, VaultError> {
        Ok(block.items(&KeyBook::default(), &Nothing, header)?.items)
    }

    #[test]
    fn what_nobody_here_can_open_is_passed_on_as_it_is() {
        let items: Vec<RunItem> = (0..=255).map(item).collect();
        let packed = block(&items).pack().unwrap();
        let unpacked = Block::unpack(&packed).unwrap();
        assert_eq!(super::tests::items(&unpacked).unwrap(), items);
    }

    #[test]
    fn a_block_that_does_not_add_up_is_refused() {
        type Change = fn(&mut Block);
        let changes: [Change; 16] = [
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
            |block| block.based.truncate(2),
            |block| block.bases.push(Base::Named([1; 32])),
            // What is sealed is told by nothing.
            |block| block.based[0] = 1,
            |block| (block.sealed[0], block.based[0]) = (None, u32::MAX),
            // A base that is not here, one that is no change, and one that comes later.
            |block| based_on(block, Base::Held([1; 6])),
            |block| based_on(block, Base::Before(1)),
            |block| based_on(block, Base::Before(0)),
        ];
        for change in changes {
            let mut altered = block(&[item(1), item(2), item(3)]);
            change(&mut altered);
            assert!(items(&altered).is_err());
        }
        assert!(items(&Block::default()).is_err());
        let many: Vec<RunItem> = (0..=RUN_ENTRIES_MAX).map(|at| item(at as u8)).collect();
        assert!(Block::unpack(&block(&many).pack().unwrap()).is_err());
    }

    fn based_on(block: &mut Block, base: Base) {
        (block.sealed[1], block.based[1]) = (None, 2);
        block.document[1] = OF_ITS_BASE;
        block.bases.push(base);
    }

    #[test]
    fn a_block_never_grows_beyond_what_its_reader_unpacks() {
        let of = |lengths: &[usize]| {
            let payloads: Vec<Vec<u8>> = lengths.iter().map(|length| vec![7; *length]).collect();
            let items: Vec<RunItem> = payloads
                .into_iter()
                .map(|payload| RunItem { document: DocumentId([9; 16]), payload, ..item(255) })
                .collect();
            let entries = (0..).zip(&items).map(|(at, one)| (header(at, one), &one.payload[..]));
            Block::of(&KeyBook::default(), &Nothing, entries)?.pack()
        };
        let fits = of(&[1, BLOCK_BYTES_MAX - 400]).unwrap();
        assert!(Block::unpack(&fits).is_ok());
        assert!(of(&[1, BLOCK_BYTES_MAX - 100]).is_none());
        assert!(of(&[1, BLOCK_BYTES_MAX]).is_none());
    }

    #[test]
    fn tables_longer_than_a_run_are_refused_before_they_are_held() {
        // A byte for an item: a list of nonces that takes 25 times as much in memory.
        let mut bytes = vec![0; 7];
        wire::encode(&(BLOCK_BYTES_MAX as u64 - 64)).iter().for_each(|byte| bytes.push(*byte));
        bytes.resize(BLOCK_BYTES_MAX, 0);
        assert!(matches!(Block::unpack(&compress::pack_block(&bytes)), Err(VaultError::Malformed)));
    }

    #[test]
    fn a_bomb_or_noise_is_refused_before_it_is_unpacked() {
        let bomb = compress::pack_block(&vec![0; BLOCK_BYTES_MAX + 1]);
        assert!(bomb.len() < 10_000);
        assert!(matches!(Block::unpack(&bomb), Err(VaultError::TooLarge { .. })));
        let sound = block(&[item(1), item(2)]).pack().unwrap();
        for length in 0..sound.len() {
            assert!(Block::unpack(&sound[..length]).is_err());
        }
        assert!(Block::unpack(&[7; 100]).is_err());
    }
}
