//! The audit trail as it is searched: one row an event, in the form that `records` gives it.

use super::compact::{Id, IdText};
use super::{Index, Result};
use rusqlite::{Row, ToSql};

/// An event of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailRow {
    /// The arrival of the entry that brought it.
    pub arrival: u64,
    /// Its place in that entry.
    pub number: u32,
    /// When, by the recording node's clock.
    pub time_ms: u64,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// Whose record.
    pub patient: Option<String>,
    /// The whole event, in whatever form the caller keeps it.
    pub event: Vec<u8>,
}

/// Which events to list; in order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrailFilter {
    /// Only about this patient.
    pub patient: Option<String>,
    /// Only by this actor.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only from this time on.
    pub since_ms: Option<u64>,
    /// Only before this time.
    pub until_ms: Option<u64>,
    /// Only after this place.
    pub after: Option<(u64, u32)>,
    /// How many at most.
    pub limit: usize,
}

impl Index {
    /// Notes an event; one that is noted already stays as it is.
    pub fn put_trail(&mut self, row: &TrailRow) -> Result<()> {
        self.database.write(
            "INSERT OR IGNORE INTO trail VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                row.arrival as i64,
                row.number,
                row.time_ms as i64,
                &row.actor,
                &row.action,
                row.patient.as_ref().map(Id::from),
                &row.event,
            ),
        )?;
        Ok(())
    }

    /// A page of events.
    pub fn trail(&self, filter: &TrailFilter) -> Result<Vec<TrailRow>> {
        let mut sql = String::from(
            "SELECT arrival, number, time_ms, actor, action, patient, event FROM trail WHERE 1",
        );
        let mut values: Vec<Box<dyn ToSql + '_>> = Vec::new();
        let mut only = |clause: &str, value| {
            values.push(value);
            sql.push_str(&format!(" AND {clause} ?{}", values.len()));
        };
        if let Some(patient) = &filter.patient {
            only("patient =", Box::new(Id::from(patient)));
        }
        for (column, value) in [("actor =", &filter.actor), ("action =", &filter.action)] {
            if let Some(value) = value {
                only(column, Box::new(value));
            }
        }
        if let Some(since) = filter.since_ms {
            only("time_ms >=", Box::new(since as i64));
        }
        if let Some(until) = filter.until_ms {
            only("time_ms <", Box::new(until as i64));
        }
        if let Some((arrival, number)) = filter.after {
            only("arrival >=", Box::new(arrival as i64));
            values.push(Box::new(arrival as i64));
            values.push(Box::new(number));
            let at = values.len();
            sql.push_str(&format!(" AND (arrival > ?{} OR number > ?{at})", at - 1));
        }
        values.push(Box::new(filter.limit as i64));
        sql.push_str(&format!(" ORDER BY arrival, number LIMIT ?{}", values.len()));
        self.database.all(&sql, rusqlite::params_from_iter(values), read)
    }

    /// How many events there are.
    pub fn trail_count(&self) -> Result<u64> {
        Ok(self.database.value::<i64>("SELECT count(*) FROM trail")? as u64)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<TrailRow> {
    Ok(TrailRow {
        arrival: row.get::<_, i64>(0)? as u64,
        number: row.get(1)?,
        time_ms: row.get::<_, i64>(2)? as u64,
        actor: row.get(3)?,
        action: row.get(4)?,
        patient: row.get::<_, Option<IdText>>(5)?.map(|id| id.0),
        event: row.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::index;
    use super::*;

    #[test]
    fn events_are_found_by_each_filter_and_page_by_page() {
        let (_dir, mut index) = index();
        for number in 0..6_u32 {
            let row = TrailRow {
                arrival: 10 + u64::from(number / 2),
                number: number % 2,
                time_ms: 1_000 * u64::from(number),
                actor: if number < 3 { "awa".into() } else { "ben".into() },
                action: if number == 5 { "search".into() } else { "read".into() },
                patient: (number != 5).then(|| "p".into()),
                event: vec![number as u8],
            };
            index.put_trail(&row).unwrap();
            index.put_trail(&row).unwrap();
        }
        let all = TrailFilter { limit: 100, ..TrailFilter::default() };
        let events = |filter: &TrailFilter| -> Vec<u8> {
            index.trail(filter).unwrap().iter().map(|row| row.event[0]).collect()
        };
        assert_eq!(events(&all), [0, 1, 2, 3, 4, 5]);
        assert_eq!(index.trail_count().unwrap(), 6);
        assert_eq!(events(&TrailFilter { actor: Some("ben".into()), ..all.clone() }), [3, 4, 5]);
        assert_eq!(events(&TrailFilter { action: Some("search".into()), ..all.clone() }), [5]);
        assert_eq!(
            events(&TrailFilter { patient: Some("p".into()), ..all.clone() }),
            [0, 1, 2, 3, 4]
        );
        let between = TrailFilter { since_ms: Some(2_000), until_ms: Some(4_000), ..all.clone() };
        assert_eq!(events(&between), [2, 3]);
        assert_eq!(events(&TrailFilter { after: Some((11, 0)), limit: 2, ..all }), [3, 4]);
    }
}
