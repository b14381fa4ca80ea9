//! The run: consecutive entries of one log under one signature, as they travel.
//!
//! [`Run::verify`] is the way from a peer's bytes to a [`VerifiedRun`]: whoever holds one knows
//! that the hashes, the chain and the author's signature are right. Whether the author is certified
//! by the practice is not known here.
//!
//! A run's bytes leave out what can be derived (sequences, ids, lengths, hashes) and what an item
//! shares with the one before it; see [`Run::to_bytes`].

use crate::entry::{
    Codec, ENTRY_DOMAIN, Entry, Header, HybridTime, SignatureBytes, sign_entry, verify,
};
use crate::error::Violation;
use crate::frontier::Head;
use crate::id::{
    Author, Channel, DocumentId, EntryId, EpochId, Incarnation, LogId, NodeId, PracticeId,
};
use crate::limit;
use ed25519_dalek::SigningKey;

/// What a run carries of one entry: what can't be derived from the run or from the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunItem {
    /// See [`Header::document`].
    pub document: DocumentId,
    /// See [`Header::epoch`].
    pub epoch: EpochId,
    /// See [`Header::codec`].
    pub codec: Codec,
    /// See [`Header::nonce`].
    pub nonce: [u8; 24],
    /// See [`Header::time`].
    pub time: HybridTime,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Consecutive entries of one log, with the author's signature over the last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The log.
    pub log: LogId,
    /// The sequence of the first item.
    pub first_sequence: u64,
    /// The id of the entry before the first item; zero at the log's beginning.
    pub previous: EntryId,
    /// The entries; at least one.
    pub items: Vec<RunItem>,
    /// The author's signature over the last entry.
    pub signature: SignatureBytes,
}

/// A run whose hashes, chain and signature have been checked; made only by
/// [`Run::verify`] and, for its author, by [`VerifiedRun::written`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRun {
    log: LogId,
    entries: Vec<Entry>,
    signature: SignatureBytes,
}

impl VerifiedRun {
    /// What an author has just written, signed; the entries follow each other in one log.
    ///
    /// # Panics
    /// If there is no entry, one does not follow the other, or the key is not the author's: the
    /// author's own mistake, which must not reach the ledger.
    pub fn written(entries: Vec<Entry>, key: &SigningKey) -> Self {
        let last = entries.last().expect("a commit has at least one entry");
        let log = last.header.log;
        assert_eq!(log.author.node.as_bytes(), key.verifying_key().as_bytes(), "another's key");
        for pair in entries.windows(2) {
            let (before, after) = (&pair[0], &pair[1].header);
            assert!(after.log == log && before.header.log == log, "entries of two logs");
            assert_eq!(after.previous, before.id, "an entry that does not follow");
            assert_eq!(after.sequence, before.header.sequence + 1, "a sequence with a hole");
        }
        let signature = sign_entry(key, last.id);
        Self { log, entries, signature }
    }

    /// Where the run ends.
    pub fn head(&self) -> Head {
        let last = self.last();
        Head { sequence: last.header.sequence, id: last.id }
    }

    /// The run as it travels.
    pub fn into_run(self) -> Run {
        Run::from_entries(self.entries, self.signature)
            .expect("a verified run has at least one entry")
    }

    /// The log.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The entries, in order; at least one.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The author's signature over the last entry.
    pub fn signature(&self) -> &SignatureBytes {
        &self.signature
    }

    /// The last entry, which the signature covers.
    pub fn last(&self) -> &Entry {
        self.entries.last().expect("a verified run has at least one entry")
    }

    /// The entries and the signature over the last of them.
    pub fn into_parts(self) -> (Vec<Entry>, SignatureBytes) {
        (self.entries, self.signature)
    }
}

impl Run {
    /// Recomputes every header and id, and checks the author's signature over the last one.
    pub fn verify(self, practice: PracticeId) -> Result<VerifiedRun, Violation> {
        if self.items.is_empty() || self.items.len() > limit::RUN_ENTRIES_MAX {
            return Err(Violation::RunLength);
        }
        if self.first_sequence == 0
            || (self.first_sequence == 1) != (self.previous == EntryId::ZERO)
            || self.first_sequence.checked_add(self.items.len() as u64).is_none()
        {
            return Err(Violation::Chain);
        }
        if self.items.iter().any(|item| item.payload.len() > limit::PAYLOAD_BYTES_MAX) {
            return Err(Violation::PayloadLength);
        }
        let mut previous = self.previous;
        let mut entries = Vec::with_capacity(self.items.len());
        for (sequence, item) in (self.first_sequence..).zip(self.items) {
            let header = item.header(practice, self.log, sequence, previous);
            previous = header.id();
            entries.push(Entry { id: previous, header, payload: item.payload });
        }
        let key = self.log.author.node;
        #[cfg(planted)]
        if crate::planted::is("skips-a-signature") {
            return Ok(VerifiedRun { log: self.log, entries, signature: self.signature });
        }
        verify(key.as_bytes(), ENTRY_DOMAIN, previous.as_bytes(), &self.signature)?;
        Ok(VerifiedRun { log: self.log, entries, signature: self.signature })
    }

    /// Where the run ends; nothing if it is empty. The signature is not looked at.
    pub fn head(&self, practice: PracticeId) -> Option<Head> {
        self.heads(practice).last()
    }

    /// The place and the id of each entry, in order. The signature is not looked at.
    pub fn heads(&self, practice: PracticeId) -> impl Iterator<Item = Head> {
        let mut previous = self.previous;
        (self.first_sequence..).zip(&self.items).map(move |(sequence, item)| {
            previous = item.header(practice, self.log, sequence, previous).id();
            Head { sequence, id: previous }
        })
    }

    /// The run that carries these consecutive entries of one log, or nothing if there are none.
    pub fn from_entries(entries: Vec<Entry>, signature: SignatureBytes) -> Option<Self> {
        let first = &entries.first()?.header;
        let (log, first_sequence, previous) = (first.log, first.sequence, first.previous);
        let items = entries
            .into_iter()
            .map(|entry| RunItem {
                document: entry.header.document,
                epoch: entry.header.epoch,
                codec: entry.header.codec,
                nonce: entry.header.nonce,
                time: entry.header.time,
                payload: entry.payload,
            })
            .collect();
        Some(Self { log, first_sequence, previous, items, signature })
    }
}

impl RunItem {
    /// The header of the entry that stands at this place.
    pub fn header(
        &self,
        practice: PracticeId,
        log: LogId,
        sequence: u64,
        previous: EntryId,
    ) -> Header {
        Header {
            practice,
            log,
            sequence,
            previous,
            document: self.document,
            epoch: self.epoch,
            codec: self.codec,
            nonce: self.nonce,
            time: self.time,
            payload_length: self.payload.len() as u32,
            payload_hash: *blake3::hash(&self.payload).as_bytes(),
        }
    }
}

/// The version of a run's bytes.
const RUN_VERSION: u8 = 1;

/// The item's document follows; else it is the one before it's (at first: zero).
const DOCUMENT: u8 = 1;
/// The item's epoch follows.
const EPOCH: u8 = 2;
/// The item's codec follows.
const CODEC: u8 = 4;
/// The item's nonce follows; else it is zero.
const NONCE: u8 = 8;

impl Run {
    /// The run's canonical bytes: version, log, first sequence, previous id (unless the run is
    /// the log's beginning), number of items, items, signature. An item is a byte of flags, what
    /// the flags announce, the time's distance from the item before, and the payload with its
    /// length. Numbers are LEB128; a distance is zigzag-coded.
    pub fn to_bytes(&self) -> Vec<u8> {
        let payloads: usize = self.items.iter().map(|item| item.payload.len()).sum();
        let mut out = Vec::with_capacity(153 + 82 * self.items.len() + payloads);
        out.push(RUN_VERSION);
        Place::of(self).put(&mut out);
        put_number(&mut out, self.items.len() as u64);
        let mut before = Shared::FIRST;
        for item in &self.items {
            before.put(&mut out, item);
        }
        out.extend_from_slice(&self.signature.to_bytes());
        out
    }

    /// The run in these bytes, not verified. Bytes that [`Run::to_bytes`] would not make are
    /// refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Violation> {
        if bytes.len() > limit::FRAME_BYTES_MAX {
            return Err(Violation::FrameLength);
        }
        let run = Self::read(&mut Reader(bytes)).ok_or(Violation::Encoding)?;
        if run.items.is_empty() || run.items.len() > limit::RUN_ENTRIES_MAX {
            return Err(Violation::RunLength);
        }
        // The first entry has no previous one: other values have no bytes of their own.
        if run.to_bytes() != bytes {
            return Err(Violation::Encoding);
        }
        Ok(run)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        if reader.byte()? != RUN_VERSION {
            return None;
        }
        let Place { log, first_sequence, previous } = Place::read(reader)?;
        let count = reader.number()?;
        let mut items = Vec::new();
        let mut before = Shared::FIRST;
        for _ in 0..count {
            // One more than allowed is enough to know that there are too many.
            if items.len() > limit::RUN_ENTRIES_MAX {
                break;
            }
            items.push(before.read(reader)?);
        }
        let signature = if items.len() as u64 == count {
            let signature = SignatureBytes(reader.array()?, reader.array()?);
            reader.0.is_empty().then_some(signature)?
        } else {
            SignatureBytes([0; 32], [0; 32])
        };
        Some(Self { log, first_sequence, previous, items, signature })
    }
}

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) log: LogId,
    pub(crate) first_sequence: u64,
    pub(crate) previous: EntryId,
}

impl Place {
    pub(crate) const fn of(run: &Run) -> Self {
        Self { log: run.log, first_sequence: run.first_sequence, previous: run.previous }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.log.channel.number());
        out.extend_from_slice(self.log.author.node.as_bytes());
        out.extend_from_slice(self.log.author.incarnation.as_bytes());
        put_number(out, self.first_sequence);
        // The first entry has no previous one.
        if self.first_sequence != 1 {
            out.extend_from_slice(self.previous.as_bytes());
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let channel = Channel::from_number(reader.byte()?)?;
        let author =
            Author { node: NodeId(reader.array()?), incarnation: Incarnation(reader.array()?) };
        let first_sequence = reader.number()?;
        let previous = if first_sequence == 1 { EntryId::ZERO } else { EntryId(reader.array()?) };
        Some(Self { log: LogId { channel, author }, first_sequence, previous })
    }
}

/// What an item may share with the one before it.
struct Shared {
    document: DocumentId,
    epoch: EpochId,
    codec: Codec,
    time: HybridTime,
}

impl Shared {
    const FIRST: Self = Self {
        document: DocumentId::ZERO,
        epoch: EpochId::ZERO,
        codec: Codec(0),
        time: HybridTime(0),
    };

    fn put(&mut self, out: &mut Vec<u8>, item: &RunItem) {
        let flag = |differs: bool, flag: u8| if differs { flag } else { 0 };
        let flags = flag(item.document != self.document, DOCUMENT)
            | flag(item.epoch != self.epoch, EPOCH)
            | flag(item.codec != self.codec, CODEC)
            | flag(item.nonce != [0; 24], NONCE);
        out.push(flags);
        if flags & DOCUMENT != 0 {
            out.extend_from_slice(item.document.as_bytes());
        }
        if flags & EPOCH != 0 {
            out.extend_from_slice(item.epoch.as_bytes());
        }
        if flags & CODEC != 0 {
            out.extend_from_slice(&item.codec.0.to_be_bytes());
        }
        if flags & NONCE != 0 {
            out.extend_from_slice(&item.nonce);
        }
        let distance = item.time.0.wrapping_sub(self.time.0) as i64;
        put_number(out, ((distance << 1) ^ (distance >> 63)) as u64);
        put_number(out, item.payload.len() as u64);
        out.extend_from_slice(&item.payload);
        *self =
            Self { document: item.document, epoch: item.epoch, codec: item.codec, time: item.time };
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Option<RunItem> {
        let flags = reader.byte()?;
        if flags & !(DOCUMENT | EPOCH | CODEC | NONCE) != 0 {
            return None;
        }
        if flags & DOCUMENT != 0 {
            self.document = DocumentId(reader.array()?);
        }
        if flags & EPOCH != 0 {
            self.epoch = EpochId(reader.array()?);
        }
        if flags & CODEC != 0 {
            self.codec = Codec(u16::from_be_bytes(reader.array()?));
        }
        let nonce = if flags & NONCE != 0 { reader.array()? } else { [0; 24] };
        let distance = reader.number()?;
        let distance = (distance >> 1) ^ (distance & 1).wrapping_neg();
        self.time = HybridTime(self.time.0.wrapping_add(distance));
        let length = usize::try_from(reader.number()?).ok()?;
        let payload = reader.slice(length)?.to_vec();
        Some(RunItem {
            document: self.document,
            epoch: self.epoch,
            codec: self.codec,
            nonce,
            time: self.time,
            payload,
        })
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes that have not been read yet; nothing once there are too few.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(slice)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    const PRACTICE: PracticeId = PracticeId([8; 32]);

    fn written(count: u64) -> VerifiedRun {
        let author = Author {
            node: NodeId(key().verifying_key().to_bytes()),
            incarnation: Incarnation([1; 8]),
        };
        let log = LogId { channel: Channel::Critical, author };
        let mut previous = EntryId::ZERO;
        let entries = (1..=count).map(|sequence| {
            let item = RunItem {
                document: DocumentId([(sequence / 3) as u8; 16]),
                epoch: EpochId([2; 16]),
                codec: Codec(16),
                nonce: [sequence as u8; 24],
                time: HybridTime(1_000_000 - sequence * 37),
                payload: vec![sequence as u8; sequence as usize],
            };
            let header = item.header(PRACTICE, log, sequence, previous);
            previous = header.id();
            Entry { id: previous, header, payload: item.payload }
        });
        VerifiedRun::written(entries.collect(), &key())
    }

    #[test]
    fn a_run_comes_back_from_its_bytes_and_verifies() {
        let verified = written(9);
        let run = verified.clone().into_run();
        assert_eq!(run.head(PRACTICE), Some(verified.head()));
        let bytes = run.to_bytes();
        assert_eq!(Run::from_bytes(&bytes), Ok(run.clone()));
        assert_eq!(run.clone().verify(PRACTICE), Ok(verified));
        assert_eq!(run.verify(PracticeId([9; 32])), Err(Violation::Signature));
    }

    #[test]
    fn what_an_item_shares_with_the_one_before_it_costs_nothing() {
        let size = |count| written(count).into_run().to_bytes().len();
        // Item 5 has the document of item 4: flags, nonce, distance, length, payload.
        assert_eq!(size(5) - size(4), 1 + 24 + 1 + 1 + 5);
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let run = written(3).into_run();
        let bytes = run.to_bytes();
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                let result = Run::from_bytes(&changed).and_then(|run| run.verify(PRACTICE));
                assert!(result.is_err(), "byte {place}, bit {bit}");
            }
        }
        for length in 0..bytes.len() {
            assert_eq!(Run::from_bytes(&bytes[..length]), Err(Violation::Encoding));
        }
    }

    #[test]
    fn bytes_have_one_form() {
        let mut run = written(2).into_run();
        // An item that spells out what it shares with the one before it.
        run.items[1] = run.items[0].clone();
        run.items[1].payload = vec![7; 3];
        let bytes = run.to_bytes();
        let second = bytes.len() - 64 - (1 + 24 + 1 + 1 + 3);
        assert_eq!(bytes[second], NONCE);
        let mut spelled = bytes.clone();
        spelled[second] |= CODEC;
        spelled.splice(second + 1..second + 1, 16_u16.to_be_bytes());
        assert_eq!(Run::from_bytes(&spelled), Err(Violation::Encoding));
        let mut trailing = bytes;
        trailing.push(0);
        assert_eq!(Run::from_bytes(&trailing), Err(Violation::Encoding));
    }

    #[test]
    fn lengths_and_places_are_bounded() {
        let run = written(2).into_run();
        let empty = Run { items: Vec::new(), ..run.clone() };
        assert_eq!(Run::from_bytes(&empty.to_bytes()), Err(Violation::RunLength));
        assert_eq!(empty.verify(PRACTICE), Err(Violation::RunLength));
        let item = run.items[0].clone();
        let long = Run { items: vec![item; limit::RUN_ENTRIES_MAX + 1], ..run.clone() };
        assert_eq!(Run::from_bytes(&long.to_bytes()), Err(Violation::RunLength));
        let last = Run { first_sequence: u64::MAX, previous: EntryId([1; 32]), ..run.clone() };
        assert_eq!(last.verify(PRACTICE), Err(Violation::Chain));
        let late = Run { first_sequence: 2, ..run.clone() };
        assert_eq!(late.verify(PRACTICE), Err(Violation::Chain));
        let mut large = run;
        large.items[0].payload = vec![0; limit::PAYLOAD_BYTES_MAX + 1];
        assert_eq!(large.verify(PRACTICE), Err(Violation::PayloadLength));
    }

    #[test]
    #[should_panic(expected = "does not follow")]
    fn an_author_can_not_sign_a_broken_chain() {
        let (mut entries, _) = written(3).into_parts();
        entries.remove(1);
        VerifiedRun::written(entries, &key());
    }
}
