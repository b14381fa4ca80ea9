//! Packs: the payloads of many entries of one document in one sealed piece.
//!
//! Nonce and payload of an entry follow from its header, the key and the change, so that they need
//! not be kept where the change is at hand. The row of a packed entry has no nonce, and its payload
//! column holds the payload's length. An [`Opener`] makes payloads again; it is there while the
//! node is unlocked. Without it packed entries are known by id, place and signature, and are not
//! handed out.

mod choose;

pub use choose::{Acknowledged, Group, Slot};

use super::{Held, Ledger, Result};
use crate::store::error::StoreError;
use crate::vault::Sealed;
use carnet_sync_protocol::entry::Header;
use carnet_sync_protocol::id::{DocumentId, EpochId};
use rusqlite::Row;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Packs kept open, the last used ones: at 256 KiB or so each, a few megabytes.
const OPEN_MAX: usize = 16;

/// A pack as it lies in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// The document of its entries; zero for a piece of a log of none.
    pub document: DocumentId,
    /// Their epoch.
    pub epoch: EpochId,
    /// The sealed changes.
    pub bytes: Vec<u8>,
}

/// How much is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Entries whose payloads are in packs.
    pub entries: u64,
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A pack that was made of entries, and these as they are.
#[derive(Clone, Debug)]
pub struct NewPack {
    /// The entries; at least one.
    pub entries: Vec<Held>,
    /// Their changes, sealed.
    pub bytes: Vec<u8>,
}

/// Opens packs for the ledger, which has no keys.
pub trait Opener: Send {
    /// Opens a pack.
    fn open(&self, pack: &Pack) -> Opening;
}

/// What opening a pack came to.
pub enum Opening {
    /// The key of its epoch is not here.
    NoKey,
    /// It is not what was written.
    Damaged,
    /// Its entries can be made again.
    Open(Box<dyn OpenPack>),
}

/// A pack that was opened.
pub trait OpenPack: Send {
    /// Nonce and payload of the entry of this arrival, sealed again for the place that the header
    /// describes; nothing if it is not in the pack.
    fn payload(&self, arrival: u64, header: &Header) -> Option<Sealed>;
}

/// Packs that are open, the last used one at the end.
#[derive(Default)]
pub(super) struct OpenPacks(Vec<(i64, Option<Box<dyn OpenPack>>)>);

/// What became of a packed entry's payload.
pub(super) enum Restored {
    Made(Sealed),
    NoKey,
    Damaged,
}

impl Ledger {
    /// Gives the ledger what opens its packs, or takes it away, with all that it has opened.
    pub fn set_opener(&mut self, opener: Option<Box<dyn Opener>>) {
        self.opener = opener;
        self.forget_open_packs();
    }

    pub(super) fn forget_open_packs(&self) {
        self.open_packs.borrow_mut().0.clear();
    }

    /// Makes the payload of a packed entry again.
    pub(super) fn restore(&self, pack: i64, arrival: u64, header: &Header) -> Result<Restored> {
        let Some(opener) = &self.opener else { return Ok(Restored::NoKey) };
        let mut open = self.open_packs.borrow_mut();
        let opened = match open.0.iter().position(|(key, _)| *key == pack) {
            Some(place) => open.0.remove(place).1,
            None => match self.read_pack(pack)?.map(|pack| opener.open(&pack)) {
                Some(Opening::Open(opened)) => Some(opened),
                Some(Opening::NoKey) => return Ok(Restored::NoKey),
                Some(Opening::Damaged) | None => None,
            },
        };
        let made = opened.as_ref().and_then(|opened| opened.payload(arrival, header));
        if open.0.len() == OPEN_MAX {
            open.0.remove(0);
        }
        open.0.push((pack, opened));
        Ok(made.map_or(Restored::Damaged, Restored::Made))
    }

    fn read_pack(&self, pack: i64) -> Result<Option<Pack>> {
        let sql = "SELECT d.id, p.id, k.bytes FROM packs k JOIN epochs p USING (epoch)
                   LEFT JOIN documents d USING (document) WHERE k.pack = ?1";
        self.database.one(sql, [pack], |row| {
            Ok(Pack {
                document: row.get::<_, Option<_>>(0)?.map_or(DocumentId::ZERO, DocumentId),
                epoch: EpochId(row.get(1)?),
                bytes: row.get(2)?,
            })
        })
    }

    /// Puts the payloads of entries into the packs that were made of them, each of entries of one
    /// document and epoch, and in the place of the packs in which some of them are, whose entries
    /// must all be among them. Every pack is opened again as it lies here, and every entry compared
    /// with what it was: unless all come out the same, nothing is changed.
    pub fn pack(&mut self, packs: &[NewPack]) -> Result<()> {
        let done = self.within(|ledger| {
            let mut before = BTreeMap::new();
            for pack in packs {
                ledger.count_packs_of(&pack.entries, &mut before)?;
            }
            for pack in packs {
                ledger.put_pack(pack)?;
            }
            for (pack, count) in before {
                let sql = "DELETE FROM packs WHERE pack = ?1 AND entries = ?2";
                if ledger.database.write(sql, (pack, count))? != 1 {
                    return Err(ledger.unproved());
                }
            }
            ledger.forget_open_packs();
            packs.iter().try_for_each(|pack| ledger.prove(&pack.entries))
        });
        if done.is_err() {
            // What was opened may be of a pack that is not there.
            self.forget_open_packs();
        }
        done
    }

    /// The packs in which some entries are, and how many of theirs these are.
    fn count_packs_of(&self, entries: &[Held], counts: &mut BTreeMap<i64, i64>) -> Result<()> {
        for held in entries {
            let sql = "SELECT pack FROM entries WHERE arrival = ?1";
            let pack: Option<Option<i64>> =
                self.database.one(sql, [held.arrival as i64], |row| row.get(0))?;
            if let Some(pack) = pack.flatten() {
                *counts.entry(pack).or_default() += 1;
            }
        }
        Ok(())
    }

    fn put_pack(&self, NewPack { entries, bytes }: &NewPack) -> Result<()> {
        let sql = "INSERT INTO packs (document, epoch, entries, hash, bytes)
                   SELECT document, epoch, ?2, ?3, ?4 FROM entries WHERE arrival = ?1";
        let first = entries.first().map_or(0, |held| held.arrival as i64);
        let hash = *blake3::hash(bytes).as_bytes();
        let pack = self.database.insert(sql, (first, entries.len() as i64, hash, bytes))?;
        for held in entries {
            let sql = "UPDATE entries SET pack = ?2, nonce = NULL, payload = ?3 WHERE arrival = ?1";
            let length = held.entry.payload.len() as i64;
            self.database.write(sql, (held.arrival as i64, pack, length))?;
        }
        Ok(())
    }

    /// That these entries come out of the ledger as they are here.
    fn prove(&self, entries: &[Held]) -> Result<()> {
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("forgets-a-change-when-it-packs") {
            return Ok(());
        }
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("packs-a-change-under-another-author") {
            return Ok(());
        }
        for held in entries {
            if self.at_as_stored(held.arrival)?.as_ref() != Some(held) {
                return Err(self.unproved());
            }
        }
        Ok(())
    }

    fn unproved(&self) -> StoreError {
        StoreError::Unproved { path: self.path().to_owned() }
    }

    /// How many bytes a pack takes.
    pub fn pack_length(&self, pack: i64) -> Result<u64> {
        let sql = "SELECT length(bytes) FROM packs WHERE pack = ?1";
        let length: Option<i64> = self.database.one(sql, [pack], |row| row.get(0))?;
        Ok(length.unwrap_or(0) as u64)
    }

    /// What is packed.
    pub fn packed(&self) -> Result<Packed> {
        let sql = "SELECT coalesce(sum(entries), 0), count(*), coalesce(sum(length(bytes)), 0)
                   FROM packs";
        let read = |row: &Row<'_>| {
            let number = |at| row.get::<_, i64>(at).map(|number| number as u64);
            Ok(Packed { entries: number(0)?, packs: number(1)?, bytes: number(2)? })
        };
        Ok(self.database.one(sql, [], read)?.unwrap_or_default())
    }

    /// Whether every pack is what was written, as far as can be told without opening it.
    pub(super) fn check_packs(&self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        let mut damaged = 0;
        let sql = "SELECT hash, bytes FROM packs";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.database.until(sql, [], read, |(hash, bytes): ([u8; 32], Vec<u8>)| {
            damaged += u64::from(*blake3::hash(&bytes).as_bytes() != hash);
            Ok(ControlFlow::<()>::Continue(()))
        })?;
        let lost = "SELECT count(*) FROM entries e WHERE e.pack IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM packs k WHERE k.pack = e.pack)";
        let counts = "SELECT abs((SELECT coalesce(sum(entries), 0) FROM packs)
            - (SELECT count(*) FROM entries WHERE pack IS NOT NULL))";
        for (found, problem) in [
            (damaged, "packs were altered"),
            (self.database.count(lost)?, "entries are in no pack that is there"),
            (self.database.count(counts)?, "entries are not in the packs that count them"),
        ] {
            if found > 0 {
                problems.push(format!("{found} {problem}"));
            }
        }
        Ok(problems)
    }
}
