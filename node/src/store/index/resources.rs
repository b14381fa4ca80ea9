//! Resources as they stand, in what documents they live, and by what identifier they are found.

use super::{Index, Result};
use carnet_sync_protocol::id::DocumentId;
use rusqlite::Row;
use std::collections::BTreeSet;

/// A resource as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRow {
    /// Its type.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// The document that it lives in.
    pub document: DocumentId,
    /// The patient to whose chart it belongs.
    pub patient: Option<String>,
    /// Its content, in whatever form the caller keeps it.
    pub body: Vec<u8>,
    /// Its version.
    pub version: String,
    /// When it last changed, by its author's clock.
    pub updated_ms: u64,
    /// The arrival of the newest entry that made this version.
    pub arrival: u64,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Whether a conflict in it is open.
    pub conflicted: bool,
    /// The hashes of the changes that made this version, 32 bytes each, one after another.
    pub heads: Vec<u8>,
}

/// What to list; in order of type and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Only this type.
    pub kind: Option<String>,
    /// Only this patient's.
    pub patient: Option<String>,
    /// With those in the charts that are linked with that patient's, as of one person.
    pub linked: bool,
    /// The deleted ones too.
    pub deleted: bool,
    /// Only those after this type and id: the last of the page before.
    pub after: Option<(String, String)>,
    /// How many at most.
    pub limit: usize,
}

impl Default for Listing {
    fn default() -> Self {
        Self { kind: None, patient: None, linked: false, deleted: false, after: None, limit: 100 }
    }
}

const COLUMNS: &str =
    "kind, id, document, patient, body, version, updated_ms, arrival, deleted, conflicted,
    heads";

impl Index {
    /// Puts a resource in place of what stood under its type and id.
    pub fn put_resource(&mut self, row: &ResourceRow) -> Result<()> {
        self.database.write(
            "INSERT INTO resource VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (kind, id) DO UPDATE SET document = ?3, patient = ?4, body = ?5,
             version = ?6, updated_ms = ?7, arrival = ?8, deleted = ?9, conflicted = ?10,
             heads = ?11",
            (
                &row.kind,
                &row.id,
                &row.document.0,
                &row.patient,
                &row.body,
                &row.version,
                row.updated_ms as i64,
                row.arrival as i64,
                row.deleted,
                row.conflicted,
                &row.heads,
            ),
        )?;
        Ok(())
    }

    /// The resource of this type and id.
    pub fn resource(&self, kind: &str, id: &str) -> Result<Option<ResourceRow>> {
        let sql = format!("SELECT {COLUMNS} FROM resource WHERE kind = ?1 AND id = ?2");
        self.database.one(&sql, (kind, id), read)
    }

    /// Takes a resource out; false if there was none.
    pub fn remove_resource(&mut self, kind: &str, id: &str) -> Result<bool> {
        let sql = "DELETE FROM resource WHERE kind = ?1 AND id = ?2";
        Ok(self.database.write(sql, (kind, id))? > 0)
    }

    /// A page of resources.
    pub fn list(&self, listing: &Listing) -> Result<Vec<ResourceRow>> {
        // Each combination is a statement of its own, so that each uses the index that fits it.
        let mut sql = format!("SELECT {COLUMNS} FROM resource WHERE 1");
        let mut values: Vec<&dyn rusqlite::ToSql> = Vec::new();
        let person: Vec<String> = match &listing.patient {
            Some(patient) if listing.linked => self.person(patient)?.into_iter().collect(),
            patient => patient.iter().cloned().collect(),
        };
        for (at, chart) in person.iter().enumerate() {
            values.push(chart);
            let before = if at == 0 { " AND patient IN (" } else { ", " };
            sql.push_str(&format!("{before}?{}", values.len()));
        }
        if !person.is_empty() {
            sql.push(')');
        }
        if let Some(kind) = &listing.kind {
            values.push(kind);
            sql.push_str(&format!(" AND kind = ?{}", values.len()));
        }
        if let Some((kind, id)) = &listing.after {
            values.push(kind);
            values.push(id);
            let at = values.len();
            sql.push_str(&format!(" AND (kind, id) > (?{}, ?{at})", at - 1));
        }
        if !listing.deleted {
            sql.push_str(" AND deleted = 0");
        }
        let limit = listing.limit as i64;
        values.push(&limit);
        sql.push_str(&format!(" ORDER BY kind, id LIMIT ?{}", values.len()));
        self.database.all(&sql, values.as_slice(), read)
    }

    /// How many resources there are of each type, deleted ones not counted.
    pub fn counts_by_kind(&self) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT kind, count(*) FROM resource WHERE deleted = 0 GROUP BY kind";
        self.database.all(sql, [], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))
    }

    /// How many resources there are, deleted ones not counted.
    pub fn resource_count(&self) -> Result<u64> {
        self.database.count("SELECT count(*) FROM resource WHERE deleted = 0")
    }

    /// Notes that a resource has registers in a document.
    pub fn add_home(&mut self, kind: &str, id: &str, document: &DocumentId) -> Result<()> {
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("forgets-where-a-resource-moved-from") {
            self.database.write("DELETE FROM home WHERE kind = ?1 AND id = ?2", (kind, id))?;
        }
        let sql = "INSERT OR IGNORE INTO home VALUES (?1, ?2, ?3)";
        self.database.write(sql, (kind, id, &document.0))?;
        Ok(())
    }

    /// Forgets that a resource has registers in a document.
    pub fn remove_home(&mut self, kind: &str, id: &str, document: &DocumentId) -> Result<()> {
        let sql = "DELETE FROM home WHERE kind = ?1 AND id = ?2 AND document = ?3";
        self.database.write(sql, (kind, id, &document.0))?;
        Ok(())
    }

    /// The resources that have registers in these documents, each as document, type and id. Looks
    /// at every home, so not for every day.
    pub fn at_home_in(
        &self,
        documents: &BTreeSet<DocumentId>,
    ) -> Result<Vec<(DocumentId, String, String)>> {
        let found = self.database.all("SELECT document, kind, id FROM home", [], |row| {
            let document = DocumentId(row.get(0)?);
            if !documents.contains(&document) {
                return Ok(None);
            }
            Ok(Some((document, row.get(1)?, row.get(2)?)))
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The documents in which a resource has registers: more than one after a move.
    pub fn homes(&self, kind: &str, id: &str) -> Result<Vec<DocumentId>> {
        let sql = "SELECT document FROM home WHERE kind = ?1 AND id = ?2 ORDER BY document";
        self.database.all(sql, (kind, id), |row| row.get(0).map(DocumentId))
    }

    /// Replaces the identifiers (system, value) of a resource.
    pub fn put_identifiers(
        &mut self,
        kind: &str,
        id: &str,
        identifiers: &[(String, String)],
    ) -> Result<()> {
        let sql = "DELETE FROM identifier WHERE kind = ?1 AND id = ?2";
        self.database.write(sql, (kind, id))?;
        for (system, value) in identifiers {
            let sql = "INSERT OR IGNORE INTO identifier VALUES (?1, ?2, ?3, ?4)";
            self.database.write(sql, (kind, value, system, id))?;
        }
        Ok(())
    }

    /// The ids of a type's resources with this identifier, of any system if none is named.
    pub fn by_identifier(
        &self,
        kind: &str,
        system: Option<&str>,
        value: &str,
    ) -> Result<Vec<String>> {
        let sql = "SELECT DISTINCT id FROM identifier WHERE kind = ?1 AND value = ?2
                   AND (?3 IS NULL OR system = ?3) ORDER BY id";
        self.database.all(sql, (kind, value, system), |row| row.get(0))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<ResourceRow> {
    Ok(ResourceRow {
        kind: row.get(0)?,
        id: row.get(1)?,
        document: DocumentId(row.get(2)?),
        patient: row.get(3)?,
        body: row.get(4)?,
        version: row.get(5)?,
        updated_ms: row.get::<_, i64>(6)? as u64,
        arrival: row.get::<_, i64>(7)? as u64,
        deleted: row.get(8)?,
        conflicted: row.get(9)?,
        heads: row.get(10)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::index;
    use super::*;

    fn row(kind: &str, id: &str, patient: &str) -> ResourceRow {
        ResourceRow {
            kind: kind.into(),
            id: id.into(),
            document: DocumentId([3; 16]),
            patient: Some(patient.into()),
            body: id.as_bytes().to_vec(),
            version: "v".into(),
            updated_ms: 5,
            arrival: 6,
            deleted: false,
            conflicted: true,
            heads: vec![7; 32],
        }
    }

    #[test]
    fn pages_follow_one_another_by_type_and_by_patient() {
        let (_dir, mut index) = index();
        for (kind, id, patient) in
            [("Condition", "b", "p"), ("Condition", "a", "q"), ("Patient", "p", "p")]
        {
            index.put_resource(&row(kind, id, patient)).unwrap();
        }
        let mut gone = row("Condition", "c", "p");
        gone.deleted = true;
        index.put_resource(&gone).unwrap();
        let ids = |listing: &Listing| -> Vec<String> {
            index.list(listing).unwrap().into_iter().map(|row| row.id).collect()
        };
        assert_eq!(ids(&Listing { limit: 2, ..Listing::default() }), ["a", "b"]);
        let after = Some(("Condition".to_owned(), "b".to_owned()));
        assert_eq!(ids(&Listing { after, ..Listing::default() }), ["p"]);
        let patient = Some("p".to_owned());
        assert_eq!(ids(&Listing { patient, deleted: true, ..Listing::default() }), ["b", "c", "p"]);
        assert_eq!(index.resource_count().unwrap(), 3);
        assert_eq!(index.resource("Condition", "c").unwrap(), Some(gone));
    }

    #[test]
    fn identifiers_are_found_with_and_without_their_system_and_replaced_whole() {
        let (_dir, mut index) = index();
        let one = [("urn:a".to_owned(), "7".to_owned()), (String::new(), "8".to_owned())];
        index.put_identifiers("Patient", "p", &one).unwrap();
        index.put_identifiers("Location", "l", &one).unwrap();
        assert_eq!(index.by_identifier("Patient", Some("urn:a"), "7").unwrap(), ["p"]);
        assert_eq!(index.by_identifier("Patient", None, "8").unwrap(), ["p"]);
        assert_eq!(index.by_identifier("Patient", Some(""), "7").unwrap(), Vec::<String>::new());
        index.put_identifiers("Patient", "p", &one[..1]).unwrap();
        assert_eq!(index.by_identifier("Patient", None, "8").unwrap(), Vec::<String>::new());
    }
}
