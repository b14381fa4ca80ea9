//! Resources as they stand, in what documents they live, and by what identifier they are found.

use super::compact::{Id, IdText, Kind, KindText};
use super::{Index, Result};
use carnet_sync_protocol::id::DocumentId;
use carnet_sync_protocol::wire;
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
    /// Which entries made it what it is.
    pub version: Version,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Whether a conflict in it is open.
    pub conflicted: bool,
}

/// A version: one entry, or several that stand side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its name: the entry's id, or one that the caller made of the ids of several.
    pub id: [u8; 32],
    /// When the newest of the entries was written, by its author's clock.
    pub updated_ms: u64,
    /// The arrivals of the entries, ascending; at least one.
    pub arrivals: Vec<u64>,
}

/// What to list; in order of type and id, ids that are UUIDs after others.
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

/// Most versions are one entry, of which the name and the time stand with its change.
const SELECT: &str = "SELECT r.kind, r.id, l.document, p.id, r.body, r.deleted, r.conflicted,
    r.arrival, r.merged, c.entry, c.time_ms
    FROM resource r LEFT JOIN place l ON l.place = r.place
    LEFT JOIN chart p ON p.chart = r.chart
    LEFT JOIN change c ON c.arrival = r.arrival";

impl Index {
    /// Puts a resource in place of what stood under its type and id, with the documents in which
    /// it has registers: after a move there are others than the one that it lives in. Of what `is_new`
    /// to the index nothing is there to be replaced.
    pub fn put_resource(
        &mut self,
        row: &ResourceRow,
        homes: &[DocumentId],
        is_new: bool,
    ) -> Result<()> {
        let ResourceRow { version, .. } = row;
        let (kind, id) = (Kind(&row.kind), Id::from(&row.id));
        let chart = row.patient.as_ref().map(|patient| self.chart(patient)).transpose()?;
        let place = self.place(&row.document)?;
        let merged = match version.arrivals.as_slice() {
            [_] => None,
            _ => Some(wire::encode(&(version.id, version.updated_ms, &version.arrivals))),
        };
        let arrival = version.arrivals.last().copied().unwrap_or(0) as i64;
        let (body, deleted, conflicted) = (&row.body, row.deleted, row.conflicted);
        self.database.write(
            "INSERT INTO resource (kind, id, place, chart, body, deleted, conflicted, arrival,
                 merged)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (kind, id) DO UPDATE SET place = ?3, chart = ?4, body = ?5,
                 deleted = ?6, conflicted = ?7, arrival = ?8, merged = ?9",
            (kind, id, place, chart, body, deleted, conflicted, arrival, merged),
        )?;
        if !is_new {
            self.database.write("DELETE FROM home WHERE kind = ?1 AND id = ?2", (kind, id))?;
        }
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("forgets-where-a-resource-moved-from") {
            return Ok(());
        }
        for home in homes.iter().filter(|home| **home != row.document) {
            self.database.write("INSERT INTO home VALUES (?1, ?2, ?3)", (kind, id, &home.0))?;
        }
        Ok(())
    }

    /// The number that stands for a document, given out at its first use.
    fn place(&self, document: &DocumentId) -> Result<i64> {
        let sql = "SELECT place FROM place WHERE document = ?1";
        match self.database.one(sql, [&document.0], |row| row.get(0))? {
            Some(place) => Ok(place),
            None => {
                let sql = "INSERT INTO place (document) VALUES (?1)";
                self.database.insert(sql, [&document.0])
            }
        }
    }

    /// The number that stands for a patient's chart, given out at its first use.
    pub(super) fn chart(&self, patient: &str) -> Result<i64> {
        match self.known_chart(patient)? {
            Some(chart) => Ok(chart),
            None => self.database.insert("INSERT INTO chart (id) VALUES (?1)", [Id::from(patient)]),
        }
    }

    pub(super) fn known_chart(&self, patient: &str) -> Result<Option<i64>> {
        let sql = "SELECT chart FROM chart WHERE id = ?1";
        self.database.one(sql, [Id::from(patient)], |row| row.get(0))
    }

    /// The resource of this type and id.
    pub fn resource(&self, kind: &str, id: &str) -> Result<Option<ResourceRow>> {
        let sql = format!("{SELECT} WHERE r.kind = ?1 AND r.id = ?2");
        self.database.one(&sql, (Kind(kind), Id::from(id)), read)
    }

    /// Whether there is a resource of this type and id.
    pub fn has_resource(&self, kind: &str, id: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM resource WHERE kind = ?1 AND id = ?2";
        let found = self.database.one(sql, (Kind(kind), Id::from(id)), |row| row.get::<_, i64>(0));
        Ok(found?.is_some())
    }

    /// Takes a resource out; false if there was none.
    pub fn remove_resource(&mut self, kind: &str, id: &str) -> Result<bool> {
        let key = (Kind(kind), Id::from(id));
        self.database.write("DELETE FROM home WHERE kind = ?1 AND id = ?2", key)?;
        let sql = "DELETE FROM resource WHERE kind = ?1 AND id = ?2";
        Ok(self.database.write(sql, key)? > 0)
    }

    /// A page of resources.
    pub fn list(&self, listing: &Listing) -> Result<Vec<ResourceRow>> {
        // Each combination is a statement of its own, so that each uses the index that fits it.
        let mut sql = format!("{SELECT} WHERE 1");
        let mut values: Vec<Box<dyn rusqlite::ToSql + '_>> = Vec::new();
        if let Some(patient) = &listing.patient {
            let person = match listing.linked {
                true => self.person(patient)?.into_iter().collect(),
                false => vec![patient.clone()],
            };
            let mut charts = Vec::new();
            for chart in &person {
                if let Some(chart) = self.known_chart(chart)? {
                    values.push(Box::new(chart));
                    charts.push(format!("?{}", values.len()));
                }
            }
            sql.push_str(&match charts.as_slice() {
                [one] => format!(" AND r.chart = {one}"),
                many => format!(" AND r.chart IN ({})", many.join(", ")),
            });
        }
        if let Some(kind) = &listing.kind {
            values.push(Box::new(Kind(kind)));
            sql.push_str(&format!(" AND r.kind = ?{}", values.len()));
        }
        match &listing.after {
            // From there on, not from the first of the type.
            Some((kind, id)) if Some(kind) == listing.kind.as_ref() => {
                values.push(Box::new(Id::from(id)));
                sql.push_str(&format!(" AND r.id > ?{}", values.len()));
            }
            Some((kind, id)) => {
                values.push(Box::new(Kind(kind)));
                values.push(Box::new(Id::from(id)));
                let at = values.len();
                sql.push_str(&format!(" AND (r.kind, r.id) > (?{}, ?{at})", at - 1));
            }
            None => {}
        }
        if !listing.deleted {
            sql.push_str(" AND r.deleted = 0");
        }
        // The charts of one person are put in order; `+`, or SQLite looks for what is theirs among
        // all of a type, since those are in order.
        let order = if listing.linked { "+r.kind, r.id" } else { "r.kind, r.id" };
        values.push(Box::new(listing.limit as i64));
        sql.push_str(&format!(" ORDER BY {order} LIMIT ?{}", values.len()));
        self.database.all(&sql, rusqlite::params_from_iter(values), read)
    }

    /// How many resources there are of each type, deleted ones not counted.
    pub fn counts_by_kind(&self) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT kind, count(*) FROM resource WHERE deleted = 0 GROUP BY kind";
        let read = |row: &Row<'_>| Ok((row.get::<_, KindText>(0)?.0, row.get::<_, i64>(1)? as u64));
        self.database.all(sql, [], read)
    }

    /// How many resources there are, deleted ones not counted.
    pub fn resource_count(&self) -> Result<u64> {
        self.database.count("SELECT count(*) FROM resource WHERE deleted = 0")
    }

    /// The resources that have registers in these documents, each as document, type and id. Looks
    /// at every resource, so not for every day.
    pub fn at_home_in(
        &self,
        documents: &BTreeSet<DocumentId>,
    ) -> Result<Vec<(DocumentId, String, String)>> {
        let sql = "SELECT l.document, r.kind, r.id FROM resource r JOIN place l USING (place)
                   UNION ALL SELECT document, kind, id FROM home";
        let found = self.database.all(sql, [], |row| {
            let document = DocumentId(row.get(0)?);
            if !documents.contains(&document) {
                return Ok(None);
            }
            let (kind, id): (KindText, IdText) = (row.get(1)?, row.get(2)?);
            Ok(Some((document, kind.0, id.0)))
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The documents in which a resource has registers, in order: more than one after a move.
    pub fn homes(&self, kind: &str, id: &str) -> Result<Vec<DocumentId>> {
        let key = (Kind(kind), Id::from(id));
        let read = |row: &Row<'_>| row.get(0).map(DocumentId);
        let sql = "SELECT l.document FROM resource r JOIN place l ON l.place = r.place
                   WHERE r.kind = ?1 AND r.id = ?2";
        let Some(lives) = self.database.one(sql, key, read)? else { return Ok(Vec::new()) };
        let sql = "SELECT document FROM home WHERE kind = ?1 AND id = ?2";
        let mut homes = self.database.all(sql, key, read)?;
        homes.push(lives);
        homes.sort_unstable();
        Ok(homes)
    }

    /// Replaces the identifiers (system, value) of a resource.
    pub fn put_identifiers(
        &mut self,
        kind: &str,
        id: &str,
        identifiers: &[(String, String)],
    ) -> Result<()> {
        let (kind, id) = (Kind(kind), Id::from(id));
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
        // `+`, or SQLite walks through all ids of that type, since they are in order.
        let sql = "SELECT id FROM identifier WHERE kind = ?1 AND value = ?2
                   AND (?3 IS NULL OR system = ?3) ORDER BY +id";
        let read = |row: &Row<'_>| Ok(row.get::<_, IdText>(0)?.0);
        let mut found = self.database.all(sql, (Kind(kind), value, system), read)?;
        found.dedup();
        Ok(found)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<ResourceRow> {
    let merged: Option<Vec<u8>> = row.get(8)?;
    let version = match merged {
        None => Version {
            id: row.get(9)?,
            updated_ms: row.get::<_, i64>(10)? as u64,
            arrivals: vec![row.get::<_, i64>(7)? as u64],
        },
        Some(merged) => {
            let decoded: std::result::Result<([u8; 32], u64, Vec<u64>), _> = wire::decode(&merged);
            let (id, updated_ms, arrivals) = decoded.map_err(|error| {
                let kind = rusqlite::types::Type::Blob;
                rusqlite::Error::FromSqlConversionFailure(8, kind, Box::new(error))
            })?;
            Version { id, updated_ms, arrivals }
        }
    };
    Ok(ResourceRow {
        kind: row.get::<_, KindText>(0)?.0,
        id: row.get::<_, IdText>(1)?.0,
        document: DocumentId(row.get(2)?),
        patient: row.get::<_, Option<IdText>>(3)?.map(|id| id.0),
        body: row.get(4)?,
        deleted: row.get(5)?,
        conflicted: row.get(6)?,
        version,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::index;
    use super::super::{Brought, LinkageRow, Said};
    use super::*;

    fn row(kind: &str, id: &str, patient: &str) -> ResourceRow {
        ResourceRow {
            kind: kind.into(),
            id: id.into(),
            document: DocumentId([3; 16]),
            patient: Some(patient.into()),
            body: id.as_bytes().to_vec(),
            version: Version { id: [7; 32], updated_ms: 5, arrivals: vec![6] },
            deleted: false,
            conflicted: true,
        }
    }

    #[test]
    fn pages_follow_one_another_by_type_and_by_patient() {
        let (_dir, mut index) = index();
        let brought = Brought { arrival: 6, entry: [7; 32], time_ms: 5, by: None };
        index.put_change(&[1; 32], &brought).unwrap();
        for (kind, id, patient) in
            [("Condition", "b", "p"), ("Condition", "a", "q"), ("Patient", "p", "p")]
        {
            index.put_resource(&row(kind, id, patient), &[], true).unwrap();
        }
        let mut gone = row("Condition", "c", "p");
        gone.deleted = true;
        gone.version = Version { id: [8; 32], updated_ms: 9, arrivals: vec![3, 6] };
        let (lives, left) = (gone.document, DocumentId([1; 16]));
        index.put_resource(&gone, &[left, lives], false).unwrap();
        assert_eq!(index.homes("Condition", "c").unwrap(), [left, lives]);
        index.put_resource(&gone, &[lives], false).unwrap();
        assert_eq!(index.homes("Condition", "c").unwrap(), [lives]);
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
    fn a_question_costs_what_its_answer_holds_however_much_there_is() {
        let (_dir, mut index) = index();
        index.begin().unwrap();
        index
            .put_change(&[1; 32], &Brought { arrival: 6, entry: [7; 32], time_ms: 5, by: None })
            .unwrap();
        for n in 0..3000 {
            let (patient, order) = (format!("p{n:04}"), format!("o{n:04}"));
            index.put_resource(&row("Patient", &patient, &patient), &[], true).unwrap();
            index.put_resource(&row("ServiceRequest", &order, &patient), &[], true).unwrap();
            let number = [("urn:card".to_owned(), n.to_string())];
            index.put_identifiers("Patient", &patient, &number).unwrap();
        }
        let same = LinkageRow {
            id: "l".into(),
            a: "p2000".into(),
            b: "p2001".into(),
            said: Said::Linked,
            disputed: false,
        };
        index.put_linkage("l", &[same]).unwrap();
        index.commit().unwrap();
        let costs = |what: &str, found: &dyn Fn() -> Vec<String>, ids: &[&str]| {
            let (found, steps) = index.database.steps_of(found);
            assert_eq!(found, ids, "{what}");
            assert!((1..2000).contains(&steps), "{what}: {steps} steps");
        };
        let list = |listing: Listing| -> Vec<String> {
            index.list(&listing).unwrap().into_iter().map(|row| row.id).collect()
        };
        let (patient, kind) = (Some("p2000".to_owned()), Some("ServiceRequest".to_owned()));
        let by_number = || index.by_identifier("Patient", None, "2500").unwrap();
        costs("a number", &by_number, &["p2500"]);
        let of_chart = Listing { patient: patient.clone(), ..Listing::default() };
        costs("a chart", &|| list(of_chart.clone()), &["p2000", "o2000"]);
        let of_person = Listing { linked: true, ..of_chart.clone() };
        let all = ["p2000", "p2001", "o2000", "o2001"];
        costs("a person", &|| list(of_person.clone()), &all);
        let orders = Listing { kind: kind.clone(), ..of_person.clone() };
        costs("a person's orders", &|| list(orders.clone()), &["o2000", "o2001"]);
        let page = Listing {
            after: kind.clone().map(|kind| (kind, "o2997".to_owned())),
            kind,
            limit: 1,
            ..Listing::default()
        };
        costs("a later page", &|| list(page.clone()), &["o2998"]);
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
