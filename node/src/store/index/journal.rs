//! How far documents have come: saved states, which entry brought which change, what waits, what
//! was set aside, and which conflicts are open.

use super::compact::{Id, IdText, Kind, KindText};
use super::{Index, Result};
use carnet_sync_protocol::id::{DocumentId, EpochId};
use rusqlite::Row;

/// A document as it was last saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRow {
    /// Its saved form, as the caller keeps it.
    pub bytes: Vec<u8>,
    /// Every entry of the document up to this arrival is in it, waits, or was set aside.
    pub applied: u64,
}

/// Why an entry could not be applied yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A change that it builds on is not in the document: the first that is lacking.
    Change([u8; 32]),
    /// The key of its epoch is not here.
    Key(EpochId),
}

/// The entry that brought a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Its arrival.
    pub arrival: u64,
    /// Its id.
    pub entry: [u8; 32],
    /// When it was written, by its author's clock.
    pub time_ms: u64,
    /// The person or program that made the change, where one is named.
    pub by: Option<String>,
}

/// An entry that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The entry.
    pub arrival: u64,
    /// Its document.
    pub document: DocumentId,
    /// What it waits for.
    pub cause: Cause,
}

/// An entry that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The entry.
    pub arrival: u64,
    /// Its document.
    pub document: Option<DocumentId>,
    /// Its change, if it may be let in when another entry builds on it.
    pub change: Option<[u8; 32]>,
    /// Why, in words without patients' data.
    pub reason: String,
    /// Whether somebody has decided that it stays so.
    pub discarded: bool,
}

/// An open conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictRow {
    /// Its place in the list; given by the index.
    pub row: i64,
    /// The document in which the values stand.
    pub document: DocumentId,
    /// The resource's type.
    pub resource_kind: String,
    /// The resource's id.
    pub id: String,
    /// The patient to whose chart it belongs.
    pub patient: Option<String>,
    /// The disputed element.
    pub element: String,
    /// What kind of conflict.
    pub kind: String,
    /// Names the set of values.
    pub seen: String,
    /// The values, as the caller keeps them.
    pub json: Vec<u8>,
}

/// Which conflicts to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictFilter {
    /// Only those of this type and id.
    pub resource: Option<(String, String)>,
    /// Only this patient's.
    pub patient: Option<String>,
    /// Only those after this row.
    pub after: Option<i64>,
    /// How many at most.
    pub limit: usize,
}

impl Index {
    /// Saves a document.
    pub fn put_document(&mut self, id: &DocumentId, row: &DocumentRow) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO document VALUES (?1, ?2, ?3)";
        self.database.write(sql, (&id.0, &row.bytes, row.applied as i64))?;
        Ok(())
    }

    /// A document as it was last saved.
    pub fn document(&self, id: &DocumentId) -> Result<Option<DocumentRow>> {
        let sql = "SELECT bytes, applied FROM document WHERE id = ?1";
        self.database.one(sql, [&id.0], |row| {
            Ok(DocumentRow { bytes: row.get(0)?, applied: row.get::<_, i64>(1)? as u64 })
        })
    }

    /// Forgets a saved document, and what of it waits or was set aside: it is to be replayed.
    pub fn remove_document(&mut self, id: &DocumentId) -> Result<()> {
        for table in ["pending", "quarantine", "claim", "outcast"] {
            self.database.write(&format!("DELETE FROM {table} WHERE document = ?1"), [&id.0])?;
        }
        self.database.write("DELETE FROM document WHERE id = ?1", [&id.0])?;
        Ok(())
    }

    /// Notes which entry brought a change, in place of another that had.
    pub fn put_change(&mut self, hash: &[u8; 32], brought: &Brought) -> Result<()> {
        self.write_change(
            "INSERT OR REPLACE INTO change VALUES (?1, ?2, ?3, ?4, ?5)",
            hash,
            brought,
        )
    }

    /// The same for a change of which nothing was known. To replace what may be there, SQLite keeps
    /// what each statement alters, which takes the longer the more the transaction has altered.
    pub fn add_change(&mut self, hash: &[u8; 32], brought: &Brought) -> Result<()> {
        self.write_change("INSERT INTO change VALUES (?1, ?2, ?3, ?4, ?5)", hash, brought)
    }

    fn write_change(&mut self, sql: &str, hash: &[u8; 32], brought: &Brought) -> Result<()> {
        let Brought { arrival, entry, time_ms, by } = brought;
        self.database.write(sql, (*arrival as i64, hash, entry, *time_ms as i64, by))?;
        Ok(())
    }

    /// The entry that brought a change.
    pub fn change(&self, hash: &[u8; 32]) -> Result<Option<Brought>> {
        let sql = "SELECT arrival, entry, time_ms, by FROM change WHERE hash = ?1";
        self.database.one(sql, [hash], |row| {
            Ok(Brought {
                arrival: row.get::<_, i64>(0)? as u64,
                entry: row.get(1)?,
                time_ms: row.get::<_, i64>(2)? as u64,
                by: row.get(3)?,
            })
        })
    }

    /// Who made the change that this entry brought, where somebody is named.
    pub fn changed_by(&self, arrival: u64) -> Result<Option<String>> {
        let sql = "SELECT by FROM change WHERE arrival = ?1";
        Ok(self.database.one(sql, [arrival as i64], |row| row.get(0))?.flatten())
    }

    /// The only change with a name that begins so, and the entry that brought it; none if there are
    /// several.
    pub fn change_named(&self, beginning: &[u8]) -> Result<Option<([u8; 32], u64)>> {
        let (mut from, mut to) = ([0; 32], [0xff; 32]);
        from[..beginning.len()].copy_from_slice(beginning);
        to[..beginning.len()].copy_from_slice(beginning);
        let sql = "SELECT hash, arrival FROM change WHERE hash BETWEEN ?1 AND ?2 LIMIT 2";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64));
        let found = self.database.all(sql, [from, to], read)?;
        Ok(if let [only] = found[..] { Some(only) } else { None })
    }

    /// The entries that brought changes by this person or program, in order of arrival.
    pub fn changes_by(&self, by: &str) -> Result<Vec<u64>> {
        let sql = "SELECT arrival FROM change WHERE by = ?1 ORDER BY arrival";
        self.database.all(sql, [by], |row| Ok(row.get::<_, i64>(0)? as u64))
    }

    /// Notes that an entry waits.
    pub fn put_pending(&mut self, pending: &Pending) -> Result<()> {
        let (epoch, change) = match &pending.cause {
            Cause::Change(change) => (None, Some(change)),
            Cause::Key(epoch) => (Some(epoch.0), None),
        };
        let sql = "INSERT OR REPLACE INTO pending VALUES (?1, ?2, ?3, ?4)";
        let row = (pending.arrival as i64, &pending.document.0, epoch, change);
        self.database.write(sql, row)?;
        Ok(())
    }

    /// The entries of a document that wait for this change, in order of arrival.
    pub fn waiting_for(&self, document: &DocumentId, change: &[u8; 32]) -> Result<Vec<u64>> {
        let sql = "SELECT arrival FROM pending WHERE change = ?1 AND document = ?2
                   ORDER BY arrival";
        self.database.all(sql, (change, &document.0), |row| Ok(row.get::<_, i64>(0)? as u64))
    }

    /// What waits for the key of an epoch.
    pub fn pending_for_key(&self, epoch: &EpochId) -> Result<Vec<Pending>> {
        let sql = "SELECT arrival, document FROM pending WHERE epoch = ?1 ORDER BY arrival";
        self.database.all(sql, [&epoch.0], |row| {
            Ok(Pending {
                arrival: row.get::<_, i64>(0)? as u64,
                document: DocumentId(row.get(1)?),
                cause: Cause::Key(*epoch),
            })
        })
    }

    /// Whether this entry waits.
    pub fn is_pending(&self, arrival: u64) -> Result<bool> {
        let sql = "SELECT 1 FROM pending WHERE arrival = ?1";
        Ok(self.database.one(sql, [arrival as i64], |row| row.get::<_, i64>(0))?.is_some())
    }

    /// An entry waits no longer; false if it did not.
    pub fn remove_pending(&mut self, arrival: u64) -> Result<bool> {
        let sql = "DELETE FROM pending WHERE arrival = ?1";
        Ok(self.database.write(sql, [arrival as i64])? > 0)
    }

    /// Whether an entry is listed as waiting or as set aside.
    pub fn is_set_aside(&self, arrival: u64) -> Result<bool> {
        let sql = "SELECT 1 FROM pending WHERE arrival = ?1
                   UNION ALL SELECT 1 FROM quarantine WHERE arrival = ?1";
        Ok(self.database.one(sql, [arrival as i64], |row| row.get::<_, i64>(0))?.is_some())
    }

    /// How many entries wait for others, and how many for a key.
    pub fn pending_count(&self) -> Result<(u64, u64)> {
        Ok((
            self.database.count("SELECT count(*) FROM pending WHERE epoch IS NULL")?,
            self.database.count("SELECT count(*) FROM pending WHERE epoch IS NOT NULL")?,
        ))
    }

    /// Sets an entry aside.
    pub fn put_quarantined(&mut self, quarantined: &Quarantined) -> Result<()> {
        let document = quarantined.document.map(|document| document.0);
        let sql = "INSERT OR REPLACE INTO quarantine VALUES (?1, ?2, ?3, ?4, ?5)";
        let Quarantined { arrival, change, reason, discarded, .. } = quarantined;
        self.database.write(sql, (*arrival as i64, document, change, reason, discarded))?;
        Ok(())
    }

    /// The entries with this change that were set aside until another builds on it.
    pub fn withheld(&self, document: &DocumentId, change: &[u8; 32]) -> Result<Vec<u64>> {
        let sql = "SELECT arrival FROM quarantine WHERE change = ?1 AND document = ?2
                   ORDER BY arrival";
        self.database.all(sql, (change, &document.0), |row| Ok(row.get::<_, i64>(0)? as u64))
    }

    /// An entry is no longer set aside; false if it was not.
    pub fn remove_quarantined(&mut self, arrival: u64) -> Result<bool> {
        let sql = "DELETE FROM quarantine WHERE arrival = ?1";
        Ok(self.database.write(sql, [arrival as i64])? > 0)
    }

    /// What was set aside, after this arrival.
    pub fn quarantined(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>> {
        let sql = "SELECT arrival, document, change, reason, discarded FROM quarantine
                   WHERE arrival > ?1
                   ORDER BY arrival LIMIT ?2";
        self.database.all(sql, (after as i64, limit as i64), |row| {
            Ok(Quarantined {
                arrival: row.get::<_, i64>(0)? as u64,
                document: row.get::<_, Option<[u8; 16]>>(1)?.map(DocumentId),
                change: row.get(2)?,
                reason: row.get(3)?,
                discarded: row.get(4)?,
            })
        })
    }

    /// How many entries were set aside.
    pub fn quarantined_count(&self) -> Result<u64> {
        self.database.count("SELECT count(*) FROM quarantine")
    }

    /// How many of them await somebody's decision: for this reason, and for any other.
    pub fn quarantine_open(&self, reason: &str) -> Result<(u64, u64)> {
        let sql = "SELECT count(*) FILTER (WHERE reason = ?1), count(*) FILTER (WHERE reason != ?1)
                   FROM quarantine WHERE NOT discarded";
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64));
        Ok(self.database.one(sql, [reason], read)?.unwrap_or_default())
    }

    /// Replaces every conflict row of a resource.
    pub fn replace_conflicts(&mut self, kind: &str, id: &str, rows: &[ConflictRow]) -> Result<()> {
        let (kind, id) = (Kind(kind), Id::from(id));
        self.database.write("DELETE FROM conflict WHERE kind = ?1 AND id = ?2", (kind, id))?;
        for row in rows {
            let patient = row.patient.as_ref().map(Id::from);
            let sql = "INSERT INTO conflict (document, kind, id, patient, element, conflict, seen,
                       json) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let document = &row.document.0;
            let values =
                (document, kind, id, patient, &row.element, &row.kind, &row.seen, &row.json);
            self.database.write(sql, values)?;
        }
        Ok(())
    }

    /// Open conflicts, oldest row first.
    pub fn conflicts(&self, filter: &ConflictFilter) -> Result<Vec<ConflictRow>> {
        let (kind, id) = match &filter.resource {
            Some((kind, id)) => (Some(Kind(kind)), Some(Id::from(id))),
            None => (None, None),
        };
        let patient = filter.patient.as_ref().map(Id::from);
        let sql = "SELECT row, document, kind, id, patient, element, conflict, seen, json
                   FROM conflict WHERE row > ?1 AND (?2 IS NULL OR (kind = ?2 AND id = ?3))
                   AND (?4 IS NULL OR patient = ?4) ORDER BY row LIMIT ?5";
        let after = filter.after.unwrap_or(0);
        let values = (after, kind, id, patient, filter.limit as i64);
        self.database.all(sql, values, read_conflict)
    }

    /// How many conflicts are open.
    pub fn conflict_count(&self) -> Result<u64> {
        self.database.count("SELECT count(*) FROM conflict")
    }
}

fn read_conflict(row: &Row<'_>) -> rusqlite::Result<ConflictRow> {
    Ok(ConflictRow {
        row: row.get(0)?,
        document: DocumentId(row.get(1)?),
        resource_kind: row.get::<_, KindText>(2)?.0,
        id: row.get::<_, IdText>(3)?.0,
        patient: row.get::<_, Option<IdText>>(4)?.map(|id| id.0),
        element: row.get(5)?,
        kind: row.get(6)?,
        seen: row.get(7)?,
        json: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::index;
    use super::*;

    #[test]
    fn what_waits_is_found_by_what_it_waits_for() {
        let (_dir, mut index) = index();
        let (document, epoch) = (DocumentId([1; 16]), EpochId([2; 16]));
        let key = Pending { arrival: 4, document, cause: Cause::Key(epoch) };
        let other = Pending { arrival: 3, document, cause: Cause::Change([7; 32]) };
        index.put_pending(&key).unwrap();
        index.put_pending(&other).unwrap();
        assert_eq!(index.waiting_for(&document, &[7; 32]).unwrap(), [3]);
        assert_eq!(index.waiting_for(&DocumentId([9; 16]), &[7; 32]).unwrap(), [0; 0]);
        assert_eq!(index.pending_for_key(&epoch).unwrap(), [key]);
        assert_eq!(index.pending_count().unwrap(), (1, 1));
        assert!(index.remove_pending(3).unwrap());
        assert!(!index.remove_pending(3).unwrap());
        index.remove_document(&document).unwrap();
        assert_eq!(index.pending_count().unwrap(), (0, 0));
    }

    #[test]
    fn changes_are_found_by_who_made_them() {
        let (_dir, mut index) = index();
        for (arrival, by) in [(7, Some("awa")), (3, Some("awa")), (4, Some("ben")), (5, None)] {
            let by = by.map(str::to_owned);
            let brought = Brought { arrival, entry: [0; 32], time_ms: 1, by };
            index.put_change(&[arrival as u8; 32], &brought).unwrap();
            assert_eq!(index.change(&[arrival as u8; 32]).unwrap(), Some(brought));
        }
        assert_eq!(index.changes_by("awa").unwrap(), [3, 7]);
        assert_eq!(index.changes_by("nobody").unwrap(), [0; 0]);
        assert_eq!(index.changed_by(4).unwrap().as_deref(), Some("ben"));
        let again = Brought { arrival: 9, entry: [1; 32], time_ms: 2, by: None };
        index.put_change(&[4; 32], &again).unwrap();
        assert_eq!(index.change(&[4; 32]).unwrap(), Some(again));
        assert_eq!(index.changed_by(4).unwrap(), None, "another entry brought it");
    }

    #[test]
    fn conflicts_are_replaced_by_resource_and_listed_in_pages() {
        let (_dir, mut index) = index();
        let row = |element: &str| ConflictRow {
            row: 0,
            document: DocumentId([1; 16]),
            resource_kind: "Patient".into(),
            id: "a".into(),
            patient: Some("a".into()),
            element: element.into(),
            kind: "same-element".into(),
            seen: "s".into(),
            json: b"[]".to_vec(),
        };
        index.replace_conflicts("Patient", "a", &[row("name"), row("gender")]).unwrap();
        index.replace_conflicts("Patient", "b", &[row("name")]).unwrap();
        let filter = ConflictFilter { resource: None, patient: None, after: None, limit: 2 };
        let page = index.conflicts(&filter).unwrap();
        assert_eq!(page.len(), 2);
        let next = ConflictFilter { after: Some(page[1].row), ..filter.clone() };
        assert_eq!(index.conflicts(&next).unwrap()[0].id, "b");
        index.replace_conflicts("Patient", "a", &[]).unwrap();
        assert_eq!(index.conflict_count().unwrap(), 1);
        let of = ConflictFilter { resource: Some(("Patient".into(), "a".into())), ..filter };
        assert_eq!(index.conflicts(&of).unwrap(), []);
    }
}
