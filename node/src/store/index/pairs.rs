//! Patients who may be the same: with whom each is compared, which pairs came out alike, and what
//! people said of pairs.
//!
//! Patients who share a key form a block, and only within a block are they compared. A block with
//! more than [`BLOCK_MAX`] members says nothing (a telephone number of zeros, a name and a birthday
//! that a whole village shares) and does not count. Which pairs are listed depends on the present
//! patients alone, never on the order in which they came: a pair counts while a block that counts
//! holds both, and when a block shrinks so far that it counts again, it is given back to be compared.

use super::compact::{Id, IdText};
use super::{Index, Result};
use rusqlite::Row;
use std::collections::BTreeSet;

/// Members of a block that are compared with each other.
pub const BLOCK_MAX: usize = 50;

/// What of a patient is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LikenessRow {
    /// The patient's id.
    pub patient: String,
    /// The node that registered the chart.
    pub node: [u8; 32],
    /// The profile, as the caller keeps it.
    pub profile: Vec<u8>,
}

/// Two patients that came out alike; the lesser id first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairRow {
    /// The one.
    pub a: String,
    /// The other.
    pub b: String,
    /// How alike.
    pub score: u32,
}

/// What is said of two patients; the later ones outweigh the earlier where several are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Said {
    /// Nothing any more.
    Nothing,
    /// They are not the same person.
    Distinct,
    /// They are the same person.
    Linked,
}

impl Said {
    const ALL: [Self; 3] = [Self::Nothing, Self::Distinct, Self::Linked];
}

/// What one Linkage says of two patients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkageRow {
    /// The Linkage's id.
    pub id: String,
    /// The patient with the lesser id.
    pub a: String,
    /// The other one.
    pub b: String,
    /// What it says; of several values in conflict the weightiest.
    pub said: Said,
    /// Whether a conflict in it is open.
    pub disputed: bool,
}

/// The size of a block with this key, counted no further than needed.
const BLOCK_SIZE: &str = "SELECT count(*) FROM (SELECT 1 FROM block WHERE key = ?1 LIMIT ?2)";

impl Index {
    /// Replaces what of a patient is compared, and forgets the pairs that it was part of. Gives
    /// back the blocks that count again since the patient left them.
    pub fn put_likeness(&mut self, row: &LikenessRow, keys: &BTreeSet<i64>) -> Result<Vec<i64>> {
        let again = self.change_keys(&row.patient, keys)?;
        let chart = self.chart(&row.patient)?;
        self.database.write(
            "INSERT OR REPLACE INTO likeness VALUES (?1, ?2, ?3)",
            (chart, &row.node, &row.profile),
        )?;
        Ok(again)
    }

    /// The same for a patient who is no longer compared.
    pub fn remove_likeness(&mut self, patient: &str) -> Result<Vec<i64>> {
        let again = self.change_keys(patient, &BTreeSet::new())?;
        let sql = "DELETE FROM likeness WHERE chart = (SELECT chart FROM chart WHERE id = ?1)";
        self.database.write(sql, [Id::from(patient)])?;
        Ok(again)
    }

    fn change_keys(&mut self, patient: &str, keys: &BTreeSet<i64>) -> Result<Vec<i64>> {
        self.database.write("DELETE FROM pair WHERE a = ?1 OR b = ?1", [Id::from(patient)])?;
        let chart = self.chart(patient)?;
        let sql = "SELECT key FROM block WHERE chart = ?1";
        let before: BTreeSet<i64> =
            self.database.all(sql, [chart], |row| row.get(0))?.into_iter().collect();
        let mut again = Vec::new();
        for key in before.difference(keys) {
            let sql = "DELETE FROM block WHERE key = ?1 AND chart = ?2";
            self.database.write(sql, (key, chart))?;
            if self.block_size(*key)? == BLOCK_MAX {
                again.push(*key);
            }
        }
        for key in keys.difference(&before) {
            self.database.write("INSERT INTO block VALUES (?1, ?2)", (key, chart))?;
        }
        Ok(again)
    }

    fn block_size(&self, key: i64) -> Result<usize> {
        let limit = BLOCK_MAX as i64 + 1;
        let size = self.database.one(BLOCK_SIZE, (key, limit), |row| row.get::<_, i64>(0))?;
        Ok(size.unwrap_or(0) as usize)
    }

    /// What of a patient is compared.
    pub fn likeness(&self, patient: &str) -> Result<Option<LikenessRow>> {
        let sql = "SELECT c.id, l.node, l.profile FROM chart c JOIN likeness l USING (chart)
                   WHERE c.id = ?1";
        self.database.one(sql, [Id::from(patient)], read_likeness)
    }

    /// The members of a block; none if there are so many that it does not count.
    pub fn block(&self, key: i64) -> Result<Vec<LikenessRow>> {
        if self.block_size(key)? > BLOCK_MAX {
            return Ok(Vec::new());
        }
        let sql = "SELECT c.id, l.node, l.profile FROM block b JOIN likeness l USING (chart)
                   JOIN chart c USING (chart) WHERE b.key = ?1 ORDER BY c.id";
        self.database.all(sql, [key], read_likeness)
    }

    /// Everybody who shares a block that counts with these keys, each once.
    pub fn neighbours(&self, keys: &BTreeSet<i64>) -> Result<Vec<LikenessRow>> {
        let mut known = BTreeSet::new();
        let mut neighbours = Vec::new();
        for key in keys {
            for row in self.block(*key)? {
                if known.insert(row.patient.clone()) {
                    neighbours.push(row);
                }
            }
        }
        Ok(neighbours)
    }

    /// Keeps that two patients came out alike.
    pub fn put_pair(&mut self, one: &str, other: &str, score: u32) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO pair VALUES (?1, ?2, ?3)";
        let (a, b) = (one.min(other), one.max(other));
        self.database.write(sql, (Id::from(a), Id::from(b), score))?;
        Ok(())
    }

    /// The pairs that a block which counts holds; of one patient or all. The most alike first.
    pub fn pairs(&self, patient: Option<&str>) -> Result<Vec<PairRow>> {
        let read = |row: &Row<'_>| {
            Ok(PairRow { a: id_at(row, 0)?, b: id_at(row, 1)?, score: row.get(2)? })
        };
        let of = match patient {
            Some(_) => "(a = ?1 OR b = ?1)",
            None => "?1 IS NULL",
        };
        let sql = format!("SELECT a, b, score FROM pair WHERE {of} ORDER BY score DESC, a, b");
        let mut pairs = self.database.all(&sql, [patient.map(Id::from)], read)?;
        let mut error = None;
        pairs.retain(|pair| match self.share_a_block(pair) {
            Ok(share) => share,
            Err(failed) => {
                error = Some(failed);
                false
            }
        });
        error.map_or(Ok(pairs), Err)
    }

    fn share_a_block(&self, pair: &PairRow) -> Result<bool> {
        let sql = "SELECT one.key FROM block one JOIN block other USING (key)
                   WHERE one.chart = ?1 AND other.chart = ?2";
        let both = (self.known_chart(&pair.a)?, self.known_chart(&pair.b)?);
        let shared: Vec<i64> = self.database.all(sql, both, |row| row.get(0))?;
        for key in shared {
            if self.block_size(key)? <= BLOCK_MAX {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Replaces what a Linkage says.
    pub fn put_linkage(&mut self, id: &str, rows: &[LinkageRow]) -> Result<()> {
        let id = Id::from(id);
        self.database.write("DELETE FROM linkage WHERE id = ?1", [id])?;
        for row in rows {
            self.database.write(
                "INSERT INTO linkage VALUES (?1, ?2, ?3, ?4, ?5)",
                (id, Id::from(&row.a), Id::from(&row.b), row.said as i64, row.disputed),
            )?;
        }
        Ok(())
    }

    /// What Linkages say of this patient and others, or of all.
    pub fn linkages(&self, patient: Option<&str>) -> Result<Vec<LinkageRow>> {
        let of = match patient {
            Some(_) => "(a = ?1 OR b = ?1)",
            None => "?1 IS NULL",
        };
        let sql =
            format!("SELECT id, a, b, said, disputed FROM linkage WHERE {of} ORDER BY a, b, id");
        self.database.all(&sql, [patient.map(Id::from)], |row| {
            let said = row.get::<_, i64>(3)?;
            let known = Said::ALL.into_iter().find(|one| *one as i64 == said);
            Ok(LinkageRow {
                id: id_at(row, 0)?,
                a: id_at(row, 1)?,
                b: id_at(row, 2)?,
                said: known.unwrap_or(Said::Nothing),
                disputed: row.get(4)?,
            })
        })
    }

    /// The charts of one person: this patient's, and all that are linked with it, also over others.
    pub fn person(&self, patient: &str) -> Result<BTreeSet<String>> {
        let mut person = BTreeSet::from([patient.to_owned()]);
        let mut next = vec![patient.to_owned()];
        while let Some(one) = next.pop() {
            for row in self.linkages(Some(&one))? {
                let other = if row.a == one { row.b } else { row.a };
                if row.said == Said::Linked && person.insert(other.clone()) {
                    next.push(other);
                }
            }
        }
        Ok(person)
    }
}

fn id_at(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(row.get::<_, IdText>(column)?.0)
}

fn read_likeness(row: &Row<'_>) -> rusqlite::Result<LikenessRow> {
    Ok(LikenessRow { patient: id_at(row, 0)?, node: row.get(1)?, profile: row.get(2)? })
}

#[cfg(test)]
mod tests {
    use super::super::testing::index;
    use super::*;

    fn put(index: &mut Index, patient: &str, keys: &[i64]) -> Vec<i64> {
        let row = LikenessRow { patient: patient.into(), node: [0; 32], profile: vec![] };
        index.put_likeness(&row, &keys.iter().copied().collect()).unwrap()
    }

    fn pairs(index: &Index) -> Vec<(String, String)> {
        index.pairs(None).unwrap().into_iter().map(|pair| (pair.a, pair.b)).collect()
    }

    #[test]
    fn a_block_counts_while_it_is_small_and_is_given_back_when_it_is_small_again() {
        let (_dir, mut index) = index();
        put(&mut index, "b", &[1, 2]);
        put(&mut index, "a", &[1, 3]);
        index.put_pair("b", "a", 70).unwrap();
        assert_eq!(pairs(&index), [("a".to_owned(), "b".to_owned())]);
        for n in 2..=BLOCK_MAX {
            assert!(put(&mut index, &format!("x{n:02}"), &[1]).is_empty());
        }
        assert_eq!(pairs(&index), [], "{} share the key now", BLOCK_MAX + 1);
        assert_eq!(index.block(1).unwrap(), []);
        assert_eq!(put(&mut index, "x02", &[7]), [1], "it counts again");
        assert_eq!(pairs(&index).len(), 1);
        assert_eq!(index.block(1).unwrap().len(), BLOCK_MAX);
        assert!(index.remove_likeness("x03").unwrap().is_empty());
        put(&mut index, "a", &[1, 3]);
        assert_eq!(pairs(&index), [], "what changed is to be compared anew");
    }

    #[test]
    fn neighbours_share_a_key_and_come_once() {
        let (_dir, mut index) = index();
        put(&mut index, "a", &[1, 2]);
        put(&mut index, "b", &[2, 3]);
        put(&mut index, "c", &[4]);
        let found = index.neighbours(&BTreeSet::from([1, 2, 3])).unwrap();
        let found: Vec<_> = found.into_iter().map(|row| row.patient).collect();
        assert_eq!(found, ["a", "b"]);
        index.remove_likeness("a").unwrap();
        assert_eq!(index.neighbours(&BTreeSet::from([1])).unwrap(), []);
    }

    #[test]
    fn a_chain_of_links_is_one_person_and_other_statements_link_nobody() {
        let (_dir, mut index) = index();
        let say = |index: &mut Index, a: &str, b: &str, said| {
            let id = format!("{a}{b}");
            let row =
                LinkageRow { id: id.clone(), a: a.into(), b: b.into(), said, disputed: false };
            index.put_linkage(&id, &[row]).unwrap();
        };
        say(&mut index, "a", "b", Said::Linked);
        say(&mut index, "b", "c", Said::Linked);
        say(&mut index, "c", "d", Said::Distinct);
        let person: Vec<String> = index.person("c").unwrap().into_iter().collect();
        assert_eq!(person, ["a", "b", "c"]);
        assert_eq!(index.linkages(Some("c")).unwrap().len(), 2);
        say(&mut index, "b", "c", Said::Nothing);
        assert_eq!(index.person("a").unwrap().len(), 2);
        index.put_linkage("ab", &[]).unwrap();
        assert_eq!(index.person("a").unwrap().len(), 1);
        assert_eq!(index.linkages(None).unwrap().len(), 2);
    }
}
