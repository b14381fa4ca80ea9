//! Patients who are likely the same person, registered twice: at two sites, or on two days.
//!
//! Whenever a Patient is shown anew, whoever wrote it, its profile is compared with those that
//! share a key with it (see `profile.rs`), and pairs that come out alike (see `score.rs`) are kept
//! in the index. All of that is a function of the patients as they stand: nodes that have converged
//! list the same pairs. Nothing is linked here; that is a person's to say (see [`super::linked`]).

#[cfg(test)]
mod examples;
mod name;
mod profile;
mod score;

pub use score::{Evidence, LIKELY, Reason};

use super::body::body_of;
use super::linked::People;
use super::search::{PatientHit, patient_hit};
use super::{Records, RecordsError};
use crate::access::{Action, Permit};
use crate::store::index::{Index, LikenessRow, PairRow};
use carnet_sync_protocol::id::NodeId;
use profile::Profile;
use score::{Score, score};
use serde::Serialize;
use serde_json::Value;

/// Two charts about which a person has to say whether they are of one patient: they are likely to
/// be, and nobody has said so or otherwise; or people have said both.
#[derive(Clone, Debug, Serialize)]
pub struct LikelyPair {
    /// Names the pair, the same on every node and at every time.
    pub id: String,
    /// How alike they are, to 100; from [`LIKELY`] on they are likely the same.
    pub score: u32,
    /// What speaks for and against, the weightiest first.
    pub reasons: Vec<Reason>,
    /// Whether they are linked, if only over other charts, and somebody has said that they are not
    /// the same. Such pairs come first, however alike they are.
    pub contradicted: bool,
    /// The two, the lesser id first.
    pub patients: [PatientHit; 2],
}

/// A patient who is likely the same as one that was asked about.
#[derive(Clone, Debug, Serialize)]
pub struct LikelySame {
    /// The patient; its score says how likely.
    pub patient: PatientHit,
    /// What speaks for and against, the weightiest first.
    pub reasons: Vec<Reason>,
}

impl Records {
    /// The pairs that wait for a person to say whether they are the same, the likeliest first.
    pub fn duplicates(
        &mut self,
        permit: &Permit,
        limit: usize,
    ) -> Result<Vec<LikelyPair>, RecordsError> {
        self.require(permit, Action::Search)?;
        self.catch_up()?;
        let seen = self.open_duplicates(permit, limit)?;
        self.note_search(permit, seen.len());
        Ok(seen)
    }

    /// The same, for whoever has asked for leave and puts it on record.
    pub(super) fn open_duplicates(
        &self,
        permit: &Permit,
        limit: usize,
    ) -> Result<Vec<LikelyPair>, RecordsError> {
        let people = People::of(&self.charts()?.index.linkages(None)?);
        let mut open = Vec::new();
        for (a, b) in people.contradictions() {
            let pair = self.likely_pair(a, b)?;
            open.extend(pair.map(|pair| LikelyPair { contradicted: true, ..pair }));
        }
        for pair in self.open_pairs(None)? {
            if open.len() >= limit {
                break;
            }
            open.extend(self.likely_pair(&pair.a, &pair.b)?);
        }
        let judge = self.judge(permit);
        let mut seen = Vec::new();
        for pair in open.into_iter().take(limit) {
            let [a, b] = &pair.patients;
            if judge.admits_patient(&a.id)? && judge.admits_patient(&b.id)? {
                seen.push(pair);
            }
        }
        Ok(seen)
    }

    /// The patients who are likely the same as one that is registered, the likeliest first;
    /// without those of whom somebody has said whether they are.
    pub fn duplicates_of(
        &mut self,
        permit: &Permit,
        patient: &str,
    ) -> Result<Vec<LikelySame>, RecordsError> {
        self.require(permit, Action::Search)?;
        self.catch_up()?;
        let mut likely = Vec::new();
        for pair in self.open_pairs(Some(patient))? {
            if let Some(LikelyPair { reasons, patients: [a, b], .. }) =
                self.likely_pair(&pair.a, &pair.b)?
            {
                let mut other = if a.id == patient { b } else { a };
                other.score = pair.score;
                likely.push(LikelySame { patient: other, reasons });
            }
        }
        self.only_seen(permit, likely)
    }

    /// The registered patients who are likely the same as one who is not registered yet, the
    /// likeliest first: to be shown before a form is saved.
    pub fn likely_same(
        &mut self,
        permit: &Permit,
        candidate: &Value,
        limit: usize,
    ) -> Result<Vec<LikelySame>, RecordsError> {
        self.require(permit, Action::Search)?;
        self.catch_up()?;
        let profile = Profile::of(candidate);
        let mut found: Vec<(Score, String)> = Vec::new();
        for row in self.charts()?.index.neighbours(&profile.keys())? {
            let score = score(&profile, &read_profile(&row)?);
            if score.is_likely() && candidate["id"] != row.patient.as_str() {
                found.push((score, row.patient));
            }
        }
        found.sort_by(|(a, one), (b, other)| b.score.cmp(&a.score).then_with(|| one.cmp(other)));
        let mut likely = Vec::new();
        for (Score { score, reasons }, patient) in found.into_iter().take(limit) {
            let patient = self.patient_hit(&patient, score)?;
            likely.extend(patient.map(|patient| LikelySame { patient, reasons }));
        }
        self.only_seen(permit, likely)
    }

    /// Those that the permit covers, on record.
    fn only_seen(
        &mut self,
        permit: &Permit,
        likely: Vec<LikelySame>,
    ) -> Result<Vec<LikelySame>, RecordsError> {
        let judge = self.judge(permit);
        let mut seen = Vec::new();
        for same in likely {
            if judge.admits_patient(&same.patient.id)? {
                seen.push(same);
            }
        }
        self.note_search(permit, seen.len());
        Ok(seen)
    }

    pub(super) fn open_pairs(&self, patient: Option<&str>) -> Result<Vec<PairRow>, RecordsError> {
        let index = &self.charts()?.index;
        let mut pairs = index.pairs(patient)?;
        if !pairs.is_empty() {
            let people = People::of(&index.linkages(None)?);
            pairs.retain(|pair| !people.are_judged(&pair.a, &pair.b));
        }
        Ok(pairs)
    }

    fn likely_pair(&self, a: &str, b: &str) -> Result<Option<LikelyPair>, RecordsError> {
        let index = &self.charts()?.index;
        let (Some(one), Some(other)) = (index.likeness(a)?, index.likeness(b)?) else {
            return Ok(None);
        };
        let Score { score, reasons } = score(&read_profile(&one)?, &read_profile(&other)?);
        let hits = (self.patient_hit(a, score)?, self.patient_hit(b, score)?);
        let (Some(one), Some(other)) = hits else { return Ok(None) };
        let (id, patients) = (self.pair_id(a, b)?, [one, other]);
        Ok(Some(LikelyPair { id, score, reasons, contradicted: false, patients }))
    }

    fn patient_hit(&self, id: &str, score: u32) -> Result<Option<PatientHit>, RecordsError> {
        let Some(row) = self.charts()?.index.resource("Patient", id)? else { return Ok(None) };
        Ok(Some(patient_hit(&row, &body_of(&row)?, self.registered_at(id)?, score)))
    }

    /// The site that registered a patient; empty while the Patient is still on its way.
    pub(super) fn registered_at(&self, patient: &str) -> Result<String, RecordsError> {
        let row = self.charts()?.index.likeness(patient)?;
        Ok(row.map_or_else(String::new, |row| self.site_of(&NodeId(row.node))))
    }
}

/// Compares a patient anew with all who share a key.
pub(super) fn index_patient(
    index: &mut Index,
    id: &str,
    body: &Value,
    node: NodeId,
) -> Result<(), RecordsError> {
    let profile = Profile::of(body);
    let keys = profile.keys();
    let bytes = postcard::to_allocvec(&profile)
        .map_err(|error| RecordsError::Bug(format!("a profile can't be written: {error}")))?;
    let row = LikenessRow { patient: id.to_owned(), node: node.0, profile: bytes };
    let again = index.put_likeness(&row, &keys)?;
    for other in index.neighbours(&keys)? {
        if other.patient != id {
            keep_pair(index, (id, &profile), (&other.patient, &read_profile(&other)?))?;
        }
    }
    compare_blocks(index, &again)
}

/// Compares a patient no more.
pub(super) fn forget_patient(index: &mut Index, id: &str) -> Result<(), RecordsError> {
    let again = index.remove_likeness(id)?;
    compare_blocks(index, &again)
}

/// Compares the members of blocks that had been too large.
fn compare_blocks(index: &mut Index, keys: &[i64]) -> Result<(), RecordsError> {
    for key in keys {
        let mut members = Vec::new();
        for row in index.block(*key)? {
            members.push((read_profile(&row)?, row.patient));
        }
        for (at, (profile, id)) in members.iter().enumerate() {
            for (other, other_id) in &members[at + 1..] {
                keep_pair(index, (id, profile), (other_id, other))?;
            }
        }
    }
    Ok(())
}

fn keep_pair(
    index: &mut Index,
    (one, profile): (&str, &Profile),
    (other, other_profile): (&str, &Profile),
) -> Result<(), RecordsError> {
    let score = score(profile, other_profile);
    if score.is_likely() {
        index.put_pair(one, other, score.score)?;
    }
    Ok(())
}

fn read_profile(row: &LikenessRow) -> Result<Profile, RecordsError> {
    postcard::from_bytes(&row.profile)
        .map_err(|error| RecordsError::Bug(format!("an indexed profile is unreadable: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::private::Private;
    use crate::sample::{Generator, Size};
    use crate::store::index::BLOCK_MAX;
    use serde_json::json;

    fn index() -> (tempfile::TempDir, Index) {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::create(&dir.path().join("index.db"), &Private::new([9; 32])).unwrap();
        (dir, index)
    }

    fn put(index: &mut Index, id: &str, body: &Value) {
        index_patient(index, id, body, NodeId([0; 32])).unwrap();
    }

    /// Patients of whom too many share a telephone, and some much more.
    fn crowd() -> Vec<(String, Value)> {
        let person = |n: usize| {
            let (given, day) = (["Awa", "Fatou", "Khady"][n % 3], 1 + n % 28);
            let family = ["Diatta", "Sané", "Mané", "Sow", "Baldé"][n / 3 % 5];
            let body = json!({"name": [{"given": [given], "family": family}], "gender": "female",
                "birthDate": (!n.is_multiple_of(4)).then(|| format!("1987-03-{day:02}")),
                "telecom": [{"value": "33 991 10 00"}]});
            (format!("p{n:03}"), body)
        };
        (0..2 * BLOCK_MAX).map(person).collect()
    }

    #[test]
    fn the_pairs_do_not_depend_on_the_order_in_which_patients_come_and_go() {
        let crowd = crowd();
        let leaving = |n: usize| n % 5 < 3;
        let mut lists = Vec::new();
        for step in [1, 37, 63] {
            let (_dir, mut index) = index();
            index.begin().unwrap();
            let order = (0..crowd.len()).map(|n| n * step % crowd.len());
            for (id, body) in order.clone().map(|n| &crowd[n]) {
                put(&mut index, id, body);
            }
            let all = index.pairs(None).unwrap();
            for n in order.filter(|n| leaving(*n)) {
                forget_patient(&mut index, &crowd[n].0).unwrap();
            }
            lists.push((all, index.pairs(None).unwrap()));
        }
        assert_eq!(lists[0], lists[1]);
        assert_eq!(lists[0], lists[2]);

        // Those who were never there make no difference either.
        let (_dir, mut index) = index();
        for (_, (id, body)) in crowd.iter().enumerate().filter(|(n, _)| !leaving(*n)) {
            put(&mut index, id, body);
        }
        let (all, left) = &lists[0];
        assert_eq!(*left, index.pairs(None).unwrap());
        let only_phone = |pair: &&PairRow| !all.contains(pair);
        assert!(left.iter().any(|pair| only_phone(&pair)), "the telephone counts again");
        assert!(!all.is_empty());
    }

    #[test]
    fn invented_people_of_eight_countries_are_not_taken_for_one_another() {
        let mut generator = Generator::new(11, 1_772_323_200_000);
        let mut profiles = Vec::new();
        for _ in 0..400 {
            let bundle = generator.patient(Size::Small);
            let entries = bundle["entry"].as_array().unwrap().iter();
            let mut resources = entries.map(|entry| &entry["resource"]);
            let body = resources.find(|body| body["resourceType"] == "Patient").unwrap();
            let mut without_papers = body.clone();
            without_papers["identifier"] = json!([]);
            profiles.push(Profile::of(&without_papers));
        }
        for (at, one) in profiles.iter().enumerate() {
            assert!(score(one, one).is_likely() || one.born.is_some_and(|born| born.is_round()));
            for other in &profiles[at + 1..] {
                let found = score(one, other);
                assert!(!found.is_likely(), "{one:?} {other:?} {found:?}");
            }
        }
    }
}
