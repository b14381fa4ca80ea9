//! Changes that are held and not in their documents: the places that they claim there, and which of
//! them do not count since another one has the place.

use super::{Index, Result};
use carnet_sync_protocol::id::DocumentId;
use std::collections::BTreeMap;

/// The place that a change claims in its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its actor.
    pub actor: [u8; 16],
    /// Its number among its actor's changes.
    pub sequence: u64,
    /// Its hash.
    pub change: [u8; 32],
}

/// Why a change does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcast {
    /// Another has its place.
    Rival,
    /// It builds on one of those.
    Built,
}

/// What there is of these of one document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Whether there are any.
    pub any: bool,
    /// Whether some of them do not count.
    pub outcasts: bool,
}

impl Index {
    /// Notes the place that a change claims.
    pub fn put_claim(&mut self, document: &DocumentId, claim: &Claim) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO claim VALUES (?1, ?2, ?3, ?4)";
        let Claim { actor, sequence, change } = claim;
        self.database.write(sql, (&document.0, actor, *sequence as i64, change))?;
        Ok(())
    }

    /// Whether another change claims the same place.
    pub fn has_rival(&self, document: &DocumentId, claim: &Claim) -> Result<bool> {
        let sql = "SELECT 1 FROM claim
                   WHERE document = ?1 AND actor = ?2 AND sequence = ?3 AND change != ?4";
        let Claim { actor, sequence, change } = claim;
        let key = (&document.0, actor, *sequence as i64, change);
        Ok(self.database.one(sql, key, |row| row.get::<_, i64>(0))?.is_some())
    }

    /// Notes that a change does not count.
    pub fn put_outcast(
        &mut self,
        document: &DocumentId,
        change: &[u8; 32],
        outcast: Outcast,
    ) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO outcast VALUES (?1, ?2, ?3)";
        self.database.write(sql, (&document.0, change, outcast == Outcast::Built))?;
        Ok(())
    }

    /// Why a change does not count; nothing if it may.
    pub fn outcast(&self, document: &DocumentId, change: &[u8; 32]) -> Result<Option<Outcast>> {
        let sql = "SELECT built FROM outcast WHERE document = ?1 AND change = ?2";
        self.database.one(sql, (&document.0, change), |row| Ok(why(row.get(0)?)))
    }

    /// The changes of a document that do not count.
    pub fn outcasts(&self, document: &DocumentId) -> Result<BTreeMap<[u8; 32], Outcast>> {
        let sql = "SELECT change, built FROM outcast WHERE document = ?1";
        let rows =
            self.database.all(sql, [&document.0], |row| Ok((row.get(0)?, why(row.get(1)?))))?;
        Ok(rows.into_iter().collect())
    }

    /// Whether there is anything of this of a document.
    pub fn claims(&self, document: &DocumentId) -> Result<Claims> {
        let sql = "SELECT EXISTS (SELECT 1 FROM claim WHERE document = ?1),
                          EXISTS (SELECT 1 FROM outcast WHERE document = ?1)";
        let claims = self.database.one(sql, [&document.0], |row| {
            let (claims, outcasts): (bool, bool) = (row.get(0)?, row.get(1)?);
            Ok(Claims { any: claims || outcasts, outcasts })
        })?;
        Ok(claims.unwrap_or_default())
    }
}

const fn why(built: bool) -> Outcast {
    if built { Outcast::Built } else { Outcast::Rival }
}
