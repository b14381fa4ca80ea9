//! Reading entries back, with the headers recomputed.

use super::packs::Restored;
use super::{Ledger, Result};
use crate::store::error::StoreError;
use carnet_sync_protocol::entry::{Codec, Entry, Header, HybridTime, SignatureBytes};
use carnet_sync_protocol::id::{
    Author, Channel, DocumentId, EntryId, EpochId, Incarnation, LogId, NodeId, PracticeId,
};
use rusqlite::types::Type;
use rusqlite::{Params, Row};
use std::ops::ControlFlow;

/// Bytes of payloads after which a page of entries ends.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// An entry as it lies in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number in this file.
    pub arrival: u64,
    /// The entry: the id as it was stored, the header recomputed from what is stored.
    pub entry: Entry,
    /// The author's signature over the id, where one is kept.
    pub signature: Option<SignatureBytes>,
    /// Whether its payload lies in a pack for which there is no key at hand. Then it is empty, and
    /// nothing tells its nonce and hash.
    pub closed: bool,
}

impl Held {
    /// Whether the stored id is the hash of what is stored; not known of what is closed.
    pub fn is_sound(&self) -> bool {
        self.entry.id == self.entry.header.id()
    }
}

/// What can be told of an entry without reading its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its number in this file.
    pub arrival: u64,
    /// Its id.
    pub id: EntryId,
    /// Its log.
    pub log: LogId,
    /// Its place in the log.
    pub sequence: u64,
    /// The document that it changes; zero for statements.
    pub document: DocumentId,
    /// The epoch under which it is sealed; zero for clear text.
    pub epoch: EpochId,
    /// How its payload is encoded.
    pub codec: Codec,
    /// When it was written, by the author's clock.
    pub time: HybridTime,
}

const STAMP: &str = "e.arrival, e.id, l.channel, l.node, l.incarnation, e.sequence, d.id, p.id,
    e.codec, e.time";

/// The id of the entry before: on the same branch, or where the branch begins on its parent.
const PREVIOUS: &str = "(SELECT b4.id FROM entries b4 WHERE b4.sequence = e.sequence - 1
    AND b4.branch = CASE WHEN e.sequence = b.first THEN b.parent ELSE e.branch END)";

/// In this order, whatever SQLite thinks of it: it knows nothing of how many there are of each.
const FROM: &str =
    "FROM entries e CROSS JOIN branches b USING (branch) CROSS JOIN logs l USING (log)
    LEFT JOIN documents d USING (document) LEFT JOIN epochs p USING (epoch)";

fn read_stamp(row: &Row<'_>) -> rusqlite::Result<Stamp> {
    let number: u8 = row.get(2)?;
    let bad_channel = || rusqlite::Error::FromSqlConversionFailure(2, Type::Integer, "".into());
    let channel = Channel::from_number(number).ok_or_else(bad_channel)?;
    let author = Author { node: NodeId(row.get(3)?), incarnation: Incarnation(row.get(4)?) };
    Ok(Stamp {
        arrival: row.get::<_, i64>(0)? as u64,
        id: EntryId(row.get(1)?),
        log: LogId { channel, author },
        sequence: row.get::<_, i64>(5)? as u64,
        document: row.get::<_, Option<_>>(6)?.map_or(DocumentId::ZERO, DocumentId),
        epoch: row.get::<_, Option<_>>(7)?.map_or(EpochId::ZERO, EpochId),
        codec: Codec(row.get(8)?),
        time: HybridTime(row.get::<_, i64>(9)? as u64),
    })
}

/// An entry, and the pack in which its payload is.
fn read_held(practice: PracticeId, row: &Row<'_>) -> rusqlite::Result<(Held, Option<i64>)> {
    let stamp = read_stamp(row)?;
    let pack: Option<i64> = row.get(14)?;
    let payload: Vec<u8> = if pack.is_none() { row.get(13)? } else { Vec::new() };
    let header = Header {
        practice,
        log: stamp.log,
        sequence: stamp.sequence,
        previous: row.get::<_, Option<_>>(10)?.map_or(EntryId::ZERO, EntryId),
        document: stamp.document,
        epoch: stamp.epoch,
        codec: stamp.codec,
        nonce: row.get::<_, Option<_>>(11)?.unwrap_or_default(),
        time: stamp.time,
        payload_length: 0,
        payload_hash: [0; 32],
    };
    let signature: Option<[u8; 64]> = row.get(12)?;
    let mut held = Held {
        arrival: stamp.arrival,
        entry: Entry { id: stamp.id, header, payload: Vec::new() },
        signature: signature.map(|bytes| SignatureBytes::from_bytes(&bytes)),
        closed: false,
    };
    held.fill(payload);
    Ok((held, pack))
}

impl Held {
    fn fill(&mut self, payload: Vec<u8>) {
        self.entry.header.payload_length = payload.len() as u32;
        self.entry.header.payload_hash = *blake3::hash(&payload).as_bytes();
        self.entry.payload = payload;
    }
}

impl Ledger {
    /// A page of entries; it ends early where their payloads become too many to be held at once.
    fn read_entries(&self, tail: &str, params: impl Params) -> Result<Vec<Held>> {
        let sql = format!(
            "SELECT {STAMP}, {PREVIOUS}, e.nonce, e.signature, e.payload, e.pack {FROM} {tail}"
        );
        let (mut read, mut bytes) = (Vec::new(), 0);
        let row = |row: &Row<'_>| read_held(self.practice, row);
        self.database.until(&sql, params, row, |(held, pack)| {
            bytes += held.entry.payload.len();
            read.push((held, pack));
            Ok(if bytes < PAGE_BYTES_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        // One pack after another, so that each is opened once.
        let mut packed: Vec<(i64, usize)> = Vec::new();
        for (place, (_, pack)) in read.iter().enumerate() {
            packed.extend(pack.map(|pack| (pack, place)));
        }
        packed.sort_unstable();
        for (pack, place) in packed {
            let held = &mut read[place].0;
            match self.restore(pack, held.arrival, &held.entry.header)? {
                Restored::Made(sealed) => {
                    held.entry.header.nonce = sealed.nonce;
                    held.fill(sealed.payload);
                }
                Restored::NoKey => held.closed = true,
                // Nothing is the payload of an entry, so its id tells.
                Restored::Damaged => {}
            }
        }
        Ok(read.into_iter().map(|(held, _)| held).collect())
    }

    /// These entries, if each is what its id says and can be opened.
    pub fn checked(&self, entries: Vec<Held>) -> Result<Vec<Held>> {
        if entries.iter().any(|held| held.closed) {
            return Err(StoreError::Closed { path: self.path().to_owned() });
        }
        match entries.iter().find(|held| !held.is_sound()) {
            None => Ok(entries),
            Some(held) => {
                let detail = format!("entry {} was altered", held.arrival);
                Err(StoreError::corrupt(self.path(), detail))
            }
        }
    }

    /// An entry by its arrival; its id is not checked.
    pub(super) fn at_as_stored(&self, arrival: u64) -> Result<Option<Held>> {
        Ok(self.read_entries("WHERE e.arrival = ?1", [arrival as i64])?.pop())
    }

    /// An entry by its id.
    pub fn entry(&self, id: &EntryId) -> Result<Option<Held>> {
        let tail = "WHERE substr(e.id, 1, 8) = ?1 AND e.id = ?2";
        let found = self.read_entries(tail, (&id.as_bytes()[..8], id.as_bytes()))?;
        Ok(self.checked(found)?.pop())
    }

    /// An entry by its arrival.
    pub fn at(&self, arrival: u64) -> Result<Option<Held>> {
        let found = self.read_entries("WHERE e.arrival = ?1", [arrival as i64])?;
        Ok(self.checked(found)?.pop())
    }

    /// What the row of this arrival tells, without the payload.
    pub fn stamp_at(&self, arrival: u64) -> Result<Option<Stamp>> {
        let sql = format!("SELECT {STAMP} {FROM} WHERE e.arrival = ?1");
        self.database.one(&sql, [arrival as i64], read_stamp)
    }

    /// What the row of this entry tells, without the payload.
    pub fn stamp(&self, id: &EntryId) -> Result<Option<Stamp>> {
        let sql = format!("SELECT {STAMP} {FROM} WHERE substr(e.id, 1, 8) = ?1 AND e.id = ?2");
        self.database.one(&sql, (&id.as_bytes()[..8], id.as_bytes()), read_stamp)
    }

    /// Whether an entry is held, with a signature of its own.
    pub fn is_signed(&self, id: &EntryId) -> Result<bool> {
        let sql = "SELECT signature IS NOT NULL FROM entries e
                   WHERE substr(e.id, 1, 8) = ?1 AND e.id = ?2";
        let signed =
            self.database.one(sql, (&id.as_bytes()[..8], id.as_bytes()), |row| row.get(0))?;
        Ok(signed.unwrap_or(false))
    }

    /// The next entries after an arrival. Their ids are *not* checked, so that a verification can
    /// list every entry that was altered: see [`Held::is_sound`].
    pub fn by_arrival(&self, after: u64, limit: usize) -> Result<Vec<Held>> {
        let tail = "WHERE e.arrival > ?1 ORDER BY e.arrival LIMIT ?2";
        self.read_entries(tail, (after as i64, limit as i64))
    }

    /// The next entries of one channel after an arrival, found through its logs: for one that is a
    /// small part of the ledger.
    pub fn of_channel(&self, channel: Channel, after: u64, limit: usize) -> Result<Vec<Held>> {
        let tail = "WHERE e.arrival IN (
                SELECT x.arrival FROM logs y CROSS JOIN branches z USING (log)
                    CROSS JOIN entries x USING (branch)
                WHERE y.channel = ?1 AND x.arrival > ?2 ORDER BY x.arrival LIMIT ?3)
            ORDER BY e.arrival";
        let page = (channel.number(), after as i64, limit as i64);
        self.checked(self.read_entries(tail, page)?)
    }

    /// The same for one that is a large part of the ledger, found in the order of arrival, and
    /// without a check of their ids, as [`Self::by_arrival`] gives them.
    pub fn of_channel_as_stored(
        &self,
        channel: Channel,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Held>> {
        let tail = "WHERE l.channel = ?1 AND e.arrival > ?2 ORDER BY e.arrival LIMIT ?3";
        self.read_entries(tail, (channel.number(), after as i64, limit as i64))
    }

    /// The next entries of one document after an arrival.
    pub fn of_document(
        &self,
        document: &DocumentId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Held>> {
        self.of_document_until(document, after, u64::MAX, limit)
    }

    /// The same, but of none that came after another arrival.
    pub fn of_document_until(
        &self,
        document: &DocumentId,
        after: u64,
        until: u64,
        limit: usize,
    ) -> Result<Vec<Held>> {
        let tail = "WHERE e.document = (SELECT document FROM documents WHERE id = ?1)
            AND e.arrival > ?2 AND e.arrival <= ?3 ORDER BY e.arrival LIMIT ?4";
        let until = i64::try_from(until).unwrap_or(i64::MAX);
        let span = (document.as_bytes(), after as i64, until, limit as i64);
        self.checked(self.read_entries(tail, span)?)
    }

    /// Whether an entry of a document was ever held.
    pub fn holds_document(&self, document: &DocumentId) -> Result<bool> {
        let sql = "SELECT 1 FROM documents WHERE id = ?1";
        let held = self.database.one(sql, [document.as_bytes()], |row| row.get::<_, i64>(0))?;
        Ok(held.is_some())
    }

    /// The channel in which a document lives, if an entry of it is held.
    pub fn channel_of(&self, document: &DocumentId) -> Result<Option<Channel>> {
        let sql = format!(
            "SELECT {STAMP} {FROM} WHERE e.document = (SELECT document FROM documents WHERE id = ?1)
             ORDER BY e.arrival LIMIT 1"
        );
        let first = self.database.one(&sql, [document.as_bytes()], read_stamp)?;
        Ok(first.map(|stamp| stamp.log.channel))
    }

    /// The documents of a log's entries after a sequence.
    pub fn documents_after(&self, log: &LogId, sequence: u64) -> Result<Vec<DocumentId>> {
        let Some(known) = self.logs.get(log) else { return Ok(Vec::new()) };
        let sql = "SELECT DISTINCT d.id FROM branches b JOIN entries e USING (branch)
                   JOIN documents d USING (document) WHERE b.log = ?1 AND e.sequence > ?2";
        let row = (known.log, sequence as i64);
        self.database.all(sql, row, |row| Ok(DocumentId(row.get(0)?)))
    }

    /// Every document of which an entry is held, in order.
    pub fn documents(&self) -> Result<Vec<DocumentId>> {
        self.database
            .all("SELECT id FROM documents ORDER BY id", [], |row| Ok(DocumentId(row.get(0)?)))
    }

    /// How many documents there are.
    pub fn document_count(&self) -> Result<u64> {
        self.database.count("SELECT count(*) FROM documents")
    }

    /// How many entries there are; counted in the file.
    pub fn count(&self) -> Result<u64> {
        self.database.count("SELECT count(*) FROM entries")
    }

    /// How many signatures are kept.
    pub fn signature_count(&self) -> Result<u64> {
        self.database.count("SELECT count(*) FROM entries WHERE signature IS NOT NULL")
    }
}
