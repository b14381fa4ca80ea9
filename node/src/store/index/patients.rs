//! Finding patients by what people remember of them.

use super::compact::{Id, IdKey};
use super::words::{digits, errors_forgiven, trigrams, words};
use super::{Index, Result};
use rusqlite::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Words of the index that one mistyped word is compared with.
const CANDIDATES_MAX: i64 = 400;

/// Patients looked at for one word. Well above those who share the commonest name of a practice,
/// or the one meant could be missing when another word narrows the search.
const MATCHES_MAX: i64 = 20_000;

/// Digits from which on a number is looked for among telephone numbers.
const PHONE_DIGITS_MIN: usize = 4;

/// How well patients fit.
type Hits = BTreeMap<IdKey, u32>;

/// What a patient can be found by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatientTerms {
    /// Names, as they are written.
    pub names: Vec<String>,
    /// Identifiers: system and value.
    pub identifiers: Vec<(String, String)>,
    /// The birth date as FHIR writes it.
    pub birth_date: Option<String>,
    /// Telephone numbers, as they are written.
    pub phones: Vec<String>,
}

/// A patient found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The patient's id.
    pub patient: String,
    /// How well it fits; the higher the better.
    pub score: u32,
}

impl Index {
    /// Replaces what a patient can be found by.
    pub fn put_patient(&mut self, id: &str, terms: &PatientTerms) -> Result<()> {
        self.remove_patient(id)?;
        let patient = Id::from(id);
        self.database.write("INSERT INTO patient VALUES (?1, ?2)", (patient, &terms.birth_date))?;
        for word in terms.names.iter().flat_map(|name| words(name)) {
            let sql = "INSERT OR IGNORE INTO word VALUES (?1, ?2)";
            if self.database.write(sql, (&word, patient))? > 0 {
                for trigram in trigrams(&word) {
                    let sql = "INSERT OR IGNORE INTO trigram VALUES (?1, ?2)";
                    self.database.write(sql, (trigram, &word))?;
                }
            }
        }
        for phone in terms.phones.iter().map(|phone| digits(phone)) {
            if phone.len() >= PHONE_DIGITS_MIN {
                let sql = "INSERT OR IGNORE INTO phone VALUES (?1, ?2)";
                // Backwards: people leave out the country's prefix, never the end.
                self.database.write(sql, (reversed(&phone), patient))?;
            }
        }
        self.put_identifiers("Patient", id, &terms.identifiers)
    }

    /// Forgets a patient; false if there was none. Words that nobody bears any more stay among
    /// those that typing errors are compared with: they find nobody.
    pub fn remove_patient(&mut self, id: &str) -> Result<bool> {
        let patient = Id::from(id);
        self.database.write("DELETE FROM word WHERE patient = ?1", [patient])?;
        self.database.write("DELETE FROM phone WHERE patient = ?1", [patient])?;
        self.put_identifiers("Patient", id, &[])?;
        Ok(self.database.write("DELETE FROM patient WHERE id = ?1", [patient])? > 0)
    }

    /// How many patients can be found.
    pub fn patient_count(&self) -> Result<u64> {
        self.database.count("SELECT count(*) FROM patient")
    }

    /// Patients that fit every word of the query, the best first. A word may be the beginning of a
    /// name, a mistyped name, an identifier, a birth date (or its year), or a telephone number.
    pub fn search_patients(&self, query: &str, limit: usize) -> Result<Vec<Found>> {
        // What a single word finds is narrowed by no other: more than are asked for are of no use.
        let alone = query.split_whitespace().count() < 2 && words(query).len() < 2;
        let most = if alone { limit.min(MATCHES_MAX as usize) } else { MATCHES_MAX as usize };
        let mut scores: Option<Hits> = None;
        for hits in self.hits_of_parts(query, most)? {
            scores = Some(match scores {
                None => hits,
                Some(before) => before
                    .into_iter()
                    .filter_map(|(id, score)| hits.get(&id).map(|more| (id, score + more)))
                    .collect(),
            });
        }
        let mut found: Vec<(IdKey, u32)> = scores.unwrap_or_default().into_iter().collect();
        found.sort_by(|(id, score), (other, more)| more.cmp(score).then_with(|| id.cmp(other)));
        found.truncate(limit);
        let spelled = |(id, score): (IdKey, u32)| Found { patient: id.spelled(), score };
        Ok(found.into_iter().map(spelled).collect())
    }

    /// The hits of each part. Telephone numbers are often written in groups, so that figures in a
    /// row are looked for as one number first, and if there is none each for itself.
    fn hits_of_parts(&self, query: &str, most: usize) -> Result<Vec<Hits>> {
        let parts: Vec<&str> = query.split_whitespace().collect();
        let mut all = Vec::new();
        for group in parts.chunk_by(|one, next| is_figures(one) && is_figures(next)) {
            if group.len() > 1 {
                let hits = self.part_hits(&group.concat(), most)?;
                if !hits.is_empty() {
                    all.push(hits);
                    continue;
                }
            }
            for part in group {
                all.push(self.part_hits(part, most)?);
            }
        }
        Ok(all)
    }

    fn part_hits(&self, part: &str, most: usize) -> Result<Hits> {
        let mut hits = Hits::new();
        let mut add = |ids: Vec<IdKey>, score: u32| {
            for id in ids {
                let best = hits.entry(id).or_insert(0);
                *best = score.max(*best);
            }
        };
        let numbered = self.by_identifier("Patient", None, part)?;
        add(numbered.iter().map(|id| id.as_str().into()).collect(), 120);
        if is_date(part) {
            let sql = "SELECT id FROM patient WHERE birth_date >= ?1 AND birth_date < ?2
                       ORDER BY birth_date LIMIT ?3";
            let end = format!("{part}~");
            add(self.database.all(sql, (part, end, most as i64), |row| row.get(0))?, 100);
        }
        let number = digits(part);
        if number.len() >= PHONE_DIGITS_MIN && part.chars().all(|c| !c.is_alphabetic()) {
            // A trunk zero before the number stands in no international form.
            let tail = reversed(number.trim_start_matches('0'));
            let end = format!("{tail}~");
            let sql = "SELECT DISTINCT patient FROM phone WHERE digits >= ?1 AND digits < ?2
                       LIMIT ?3";
            add(self.database.all(sql, (tail, end, most as i64), |row| row.get(0))?, 90);
        }
        let mut of_words: Option<Hits> = None;
        for word in words(part) {
            let of_word = self.word_hits(&word, most)?;
            of_words = Some(match of_words {
                None => of_word,
                Some(before) => {
                    before.into_iter().filter(|(id, _)| of_word.contains_key(id)).collect()
                }
            });
        }
        for (id, score) in of_words.unwrap_or_default() {
            add(vec![id], score);
        }
        Ok(hits)
    }

    /// Whole words before beginnings, beginnings before typing errors, until there are enough.
    fn word_hits(&self, word: &str, most: usize) -> Result<Hits> {
        let mut hits = Hits::new();
        let mut add = |(id, score): (IdKey, u32)| {
            hits.entry(id).or_insert(score);
            Ok(if hits.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        };
        let end = format!("{word}\u{10ffff}");
        let sql = "SELECT patient, iif(word = ?1, 80, 60) FROM word WHERE word >= ?1 AND word < ?2
                   ORDER BY word, patient LIMIT ?3";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let begun = (word, end, MATCHES_MAX);
        let mut enough = self.database.until(sql, begun, read, &mut add)?.is_some();
        let mut mistyped = if enough { Vec::new() } else { self.mistyped(word)? };
        mistyped.sort_by_key(|(_, errors)| *errors);
        for (like, errors) in mistyped {
            if !enough {
                let sql = "SELECT patient FROM word WHERE word = ?1 ORDER BY patient LIMIT ?2";
                let read = |row: &Row<'_>| Ok((row.get(0)?, 50 - 10 * errors as u32));
                let bearers = (&like, MATCHES_MAX);
                enough = self.database.until(sql, bearers, read, &mut add)?.is_some();
            }
        }
        Ok(hits)
    }

    /// Words of the index that this one may have been meant to be, with the errors in it.
    fn mistyped(&self, word: &str) -> Result<Vec<(String, usize)>> {
        let letters = word.chars().count();
        let forgiven = errors_forgiven(letters);
        if forgiven == 0 {
            return Ok(Vec::new());
        }
        let pieces = trigrams(word);
        let places: Vec<String> = (1..=pieces.len()).map(|at| format!("?{at}")).collect();
        let sql = format!(
            "SELECT word FROM trigram WHERE trigram IN ({}) GROUP BY word
             ORDER BY count(*) DESC LIMIT {CANDIDATES_MAX}",
            places.join(", ")
        );
        let candidates: BTreeSet<String> = self
            .database
            .all(&sql, rusqlite::params_from_iter(&pieces), |row| row.get(0))?
            .into_iter()
            .collect();
        let mut like = Vec::new();
        for candidate in candidates {
            // The beginning of a long name may be mistyped too.
            let whole = strsim::damerau_levenshtein(word, &candidate);
            let begun: String = candidate.chars().take(letters).collect();
            let errors = whole.min(strsim::damerau_levenshtein(word, &begun) + 1);
            if errors > 0 && errors <= forgiven {
                like.push((candidate, errors));
            }
        }
        Ok(like)
    }
}

fn is_figures(text: &str) -> bool {
    !digits(text).is_empty() && !text.chars().any(char::is_alphabetic)
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

/// `1987`, `1987-03` or `1987-03-02`.
fn is_date(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    matches!(shape.as_str(), "9999" | "9999-99" | "9999-99-99")
}

#[cfg(test)]
mod tests {
    use super::super::testing::index;
    use super::*;

    fn people(index: &mut Index) {
        let person = |name: &[&str], birth: &str, phone: &str, number: &str| PatientTerms {
            names: name.iter().map(|part| (*part).to_owned()).collect(),
            identifiers: vec![("urn:card".into(), number.into())],
            birth_date: Some(birth.into()),
            phones: vec![phone.into()],
        };
        for (id, terms) in [
            ("awa", person(&["Awa", "Diatta"], "1987-03-02", "+221 77 123 45 67", "SN-1")),
            ("fatou", person(&["Fatou", "N'Diaye"], "1987-11-20", "+221 70 000 11 22", "SN-2")),
            ("giorgos", person(&["Γιώργος", "Παπαδόπουλος"], "1950-01-01", "210 1234567", "GR-9")),
            ("sita", person(&["सीता", "थापा"], "2001-05-06", "९८४१०००१११", "NP-4")),
            ("abebe", person(&["አበበ", "ቢቂላ"], "1932-08-07", "0911000000", "ET-7")),
            ("ahmad", person(&["أحمد", "الخطيب"], "1999-09-09", "0599000111", "PS-3")),
        ] {
            index.put_patient(id, &terms).unwrap();
        }
    }

    fn found(index: &Index, query: &str) -> Vec<String> {
        let hits = index.search_patients(query, 10).unwrap();
        hits.into_iter().map(|hit| hit.patient).collect()
    }

    #[test]
    fn beginnings_accents_and_typing_errors_find_in_every_script() {
        let (_dir, mut index) = index();
        people(&mut index);
        for (query, id) in [
            ("dia", "awa"),
            ("diata", "awa"),
            ("DIATAT awa", "awa"),
            ("ndiaye", "fatou"),
            ("n’diaye", "fatou"),
            ("παπαδοπουλοσ", "giorgos"),
            ("γιωργ", "giorgos"),
            ("सीता", "sita"),
            ("አበ", "abebe"),
            ("أَحمد", "ahmad"),
        ] {
            assert_eq!(found(&index, query), [id], "{query}");
        }
        assert_eq!(found(&index, "diatta fatou"), Vec::<String>::new());
        assert_eq!(found(&index, ""), Vec::<String>::new());
    }

    #[test]
    fn identifiers_birth_dates_and_telephones_find() {
        let (_dir, mut index) = index();
        people(&mut index);
        assert_eq!(found(&index, "SN-1"), ["awa"]);
        assert_eq!(found(&index, "1987"), ["awa", "fatou"]);
        assert_eq!(found(&index, "1987-03 awa"), ["awa"]);
        assert_eq!(found(&index, "1234567 awa"), ["awa"]);
        assert_eq!(found(&index, "771234567"), ["awa"]);
        assert_eq!(found(&index, "+221 77 123 45 67"), ["awa"], "written in groups");
        assert_eq!(found(&index, "77 123 4567 Awa"), ["awa"], "with a group like a year");
        assert_eq!(found(&index, "771234567 1987"), ["awa"], "a number and a year");
        assert_eq!(found(&index, "771234567 1911"), Vec::<String>::new());
        assert_eq!(found(&index, "9841000111"), ["sita"]);
        index.remove_patient("awa").unwrap();
        assert_eq!(found(&index, "diatta"), Vec::<String>::new());
        assert_eq!(found(&index, "SN-1"), Vec::<String>::new());
    }

    #[test]
    fn a_whole_name_comes_before_a_beginning_and_both_before_an_error() {
        let (_dir, mut index) = index();
        for (id, name) in [("a", "Marina"), ("b", "Mari"), ("c", "Mary")] {
            let terms = PatientTerms { names: vec![name.into()], ..PatientTerms::default() };
            index.put_patient(id, &terms).unwrap();
        }
        assert_eq!(found(&index, "mari"), ["b", "a", "c"]);
    }

    #[test]
    fn a_single_word_gives_the_best_of_as_many_as_are_asked_for() {
        let (_dir, mut index) = index();
        let named =
            |name: &str| PatientTerms { names: vec![name.into()], ..PatientTerms::default() };
        for (id, name) in [
            ("a", "Marina Marin"),
            ("b", "Marinella"),
            ("c", "Mari Maria"),
            ("d", "Mary"),
            ("e", "Mari"),
        ] {
            index.put_patient(id, &named(name)).unwrap();
        }
        let first = |limit| -> Vec<String> {
            let hits = index.search_patients("mari", limit).unwrap();
            hits.into_iter().map(|hit| hit.patient).collect()
        };
        assert_eq!(first(1), ["c"]);
        assert_eq!(first(2), ["c", "e"]);
        assert_eq!(first(4), ["c", "e", "a", "b"], "nobody is counted twice");
        assert_eq!(first(5), ["c", "e", "a", "b", "d"]);
    }

    #[test]
    fn a_name_that_thousands_share_hides_nobody() {
        let (_dir, mut index) = index();
        index.begin().unwrap();
        for n in 0..6000u32 {
            let given = if n == 5999 { "Zeynabou" } else { "Aminata" };
            let terms =
                PatientTerms { names: vec![format!("{given} Diop")], ..PatientTerms::default() };
            index.put_patient(&format!("{n:04}"), &terms).unwrap();
        }
        index.commit().unwrap();
        assert_eq!(found(&index, "diop zeynabou"), ["5999"]);
        assert_eq!(found(&index, "zeinabou diop"), ["5999"]);
    }

    #[test]
    fn among_ten_thousand_patients_the_one_meant_is_first() {
        let (_dir, mut index) = index();
        index.begin().unwrap();
        for n in 0..10_000u32 {
            let name = format!("Name{:05}", n * 7919 % 100_000);
            let terms = PatientTerms { names: vec![name], ..PatientTerms::default() };
            index.put_patient(&n.to_string(), &terms).unwrap();
        }
        people(&mut index);
        index.commit().unwrap();
        assert_eq!(found(&index, "diata awa"), ["awa"]);
        assert_eq!(index.patient_count().unwrap(), 10_006);
    }
}
