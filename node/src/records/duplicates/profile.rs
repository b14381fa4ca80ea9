//! What of a Patient is compared with others: names, birth date, numbers, telephones, sex.
//!
//! A profile is a function of the resource alone, folded as the search folds words. Its keys say
//! with whom it is compared at all: two patients that share none are never looked at together, so
//! nobody is compared with everybody. What each key is for stands beside it.

use super::super::search::{items, text};
use super::name::{is_undivided, sound};
use crate::store::index::{digits, words};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// Bounds on what a hostile resource can make us compare; a person has fewer of each.
const NAMES_MAX: usize = 4;
const WORDS_MAX: usize = 8;
const NUMBERS_MAX: usize = 16;
const PHONES_MAX: usize = 6;

/// Words of a name of which pairs become keys.
const PAIRED_WORDS_MAX: usize = 5;

/// Digits at the end of a telephone number by which it is looked up; prefixes are left out or
/// written in many ways.
const PHONE_TAIL: usize = 7;

/// Digits that a telephone number has at least.
const PHONE_DIGITS_MIN: usize = 6;

/// Parts of names that many write and many leave out.
const PARTICLES: [&str; 12] =
    ["al", "el", "bin", "ibn", "bint", "van", "von", "der", "den", "de", "dos", "abu"];

/// Which part of a name a word stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    Given,
    Family,
    /// Of a name that was written whole.
    Unknown,
}

/// One way in which a patient is called: its words, folded, and where each stands.
pub(super) type Name = Vec<(String, Part)>;

/// What a number is worth as evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Standing {
    /// One for each person in the country: identity card, passport, health card.
    Official,
    /// Nothing says what it is.
    Unknown,
    /// What a place of care hands out: the same person gets another one at each registration.
    Local,
    /// What a family may share: a member's number of an insurance.
    Household,
}

/// A number that somebody gave to the patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Number {
    pub system: String,
    pub value: String,
    pub standing: Standing,
    /// No longer in use: it may be found again, and another one says nothing against.
    pub old: bool,
}

/// A birth date, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Born {
    pub year: u16,
    pub month: Option<u8>,
    pub day: Option<u8>,
}

/// The sexes that are told apart; all else is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Sex {
    Female,
    Male,
}

/// See the head of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Profile {
    pub names: Vec<Name>,
    pub numbers: Vec<Number>,
    pub born: Option<Born>,
    pub phones: Vec<String>,
    pub sex: Option<Sex>,
    /// Whether the patient is one of several born together.
    pub twin: bool,
    /// Which of them.
    pub birth_order: Option<i64>,
}

impl Profile {
    /// The profile of a Patient resource.
    pub(super) fn of(body: &Value) -> Self {
        let mut phones: Vec<String> = items(&body["telecom"])
            .filter(|telecom| !matches!(telecom["system"].as_str(), Some("email" | "url")))
            .filter_map(|telecom| phone(telecom["value"].as_str()?))
            .collect();
        phones.sort_unstable();
        phones.dedup();
        phones.truncate(PHONES_MAX);
        let birth_order = body["multipleBirthInteger"].as_i64();
        Self {
            names: items(&body["name"]).filter_map(name).take(NAMES_MAX).collect(),
            numbers: items(&body["identifier"]).filter_map(number).take(NUMBERS_MAX).collect(),
            born: body["birthDate"].as_str().and_then(Born::parse),
            phones,
            sex: match body["gender"].as_str() {
                Some("female") => Some(Sex::Female),
                Some("male") => Some(Sex::Male),
                _ => None,
            },
            twin: birth_order.is_some() || body["multipleBirthBoolean"] == true,
            birth_order,
        }
    }

    /// The keys under which others are found who may be the same.
    pub(super) fn keys(&self) -> BTreeSet<i64> {
        let mut keys = BTreeSet::new();
        let mut add = |parts: &[&str]| {
            keys.insert(key(parts));
        };
        for number in &self.numbers {
            add(&["number", &number.system, &number.value]);
        }
        for phone in &self.phones {
            add(&["phone", tail(phone)]);
        }
        let Some(born) = &self.born else { return keys };
        let year = born.year.to_string();
        for name in &self.names {
            // With the same birth date, day and month exchanged or not: one word of the name that
            // begins alike. Forgives any error further on in the word, and another second word.
            if let (Some(month), Some(day)) = (born.month, born.day) {
                let date = format!("{year}-{}-{}", month.min(day), month.max(day));
                for (word, _) in name {
                    for start in starts(word) {
                        add(&["date", &date, &start]);
                    }
                }
            }
            // With the same two words: the same year, or the same day of the year. Forgives any
            // error in the other half of the date.
            let mut words: Vec<&str> = name.iter().map(|(word, _)| word.as_str()).collect();
            words.sort_unstable();
            words.truncate(PAIRED_WORDS_MAX);
            for (at, one) in words.iter().enumerate() {
                for other in &words[at + 1..] {
                    add(&["year", &year, one, other]);
                    if let (Some(month), Some(day)) = (born.month, born.day) {
                        add(&["day", &format!("{month}-{day}"), one, other]);
                    }
                }
            }
        }
        keys
    }
}

impl Born {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let year = parts.next()?.parse().ok()?;
        let month = parts.next().map(str::parse).transpose().ok()?;
        let day = parts.next().map(str::parse).transpose().ok()?;
        Some(Self { year, month, day })
    }

    /// Whether the day is not known, or the one that stands in for an unknown one.
    pub(super) fn is_round(&self) -> bool {
        self.day.is_none() || (self.month == Some(1) && self.day == Some(1))
    }
}

fn name(name: &Value) -> Option<Name> {
    let mut all: Name = Vec::new();
    let mut add = |text: &str, part: Part| {
        for word in words(text) {
            let word = plain(word);
            let known = all.iter().any(|(one, _)| *one == word);
            if all.len() < WORDS_MAX && !(known && part == Part::Unknown) {
                all.push((word, part));
            }
        }
    };
    for given in items(&name["given"]) {
        add(given.as_str().unwrap_or_default(), Part::Given);
    }
    add(name["family"].as_str().unwrap_or_default(), Part::Family);
    add(name["text"].as_str().unwrap_or_default(), Part::Unknown);
    let is_particle = |word: &str| PARTICLES.contains(&word);
    if !all.iter().all(|(word, _)| is_particle(word)) {
        all.retain(|(word, _)| !is_particle(word));
    }
    (!all.is_empty()).then_some(all)
}

/// A word without the Arabic article, which is as often left out.
fn plain(word: String) -> String {
    match word.strip_prefix("ال") {
        Some(rest) if rest.chars().count() >= 3 => rest.to_owned(),
        _ => word,
    }
}

fn number(identifier: &Value) -> Option<Number> {
    let value = text(&identifier["value"])?;
    // As people copy it: without spaces, dots and dashes, in any figures.
    let value: String = words(&value).concat();
    let mut letters = value.chars();
    let first = letters.next()?;
    let filled = value == "0" || (value.len() > 2 && letters.all(|letter| letter == first));
    let words_for_none = matches!(
        value.as_str(),
        "none" | "na" | "nil" | "unknown" | "inconnu" | "aucun" | "neant" | "sans" | "test"
    );
    (!filled && !words_for_none).then(|| Number {
        system: text(&identifier["system"]).unwrap_or_default(),
        standing: standing(identifier),
        old: identifier["use"] == "old",
        value,
    })
}

/// What a number is worth, by its type (HL7 table 0203), or else by its use.
fn standing(identifier: &Value) -> Standing {
    for coding in items(&identifier["type"]["coding"]) {
        match coding["code"].as_str().unwrap_or_default() {
            "MR" | "MRT" | "PI" | "PT" | "AN" | "VN" => return Standing::Local,
            "MB" | "SB" | "MS" => return Standing::Household,
            "NI" | "NH" | "SS" | "PPN" | "DL" | "BCT" | "CZ" | "PRC" | "HC" | "JHN" | "MC"
            | "TAX" | "NIIP" => return Standing::Official,
            code if code.starts_with("NN") => return Standing::Official,
            _ => {}
        }
    }
    match identifier["use"].as_str() {
        Some("official") => Standing::Official,
        Some("usual" | "secondary" | "temp") => Standing::Local,
        _ => Standing::Unknown,
    }
}

fn phone(written: &str) -> Option<String> {
    let digits = digits(written);
    let first = digits.chars().next()?;
    let plausible = digits.len() >= PHONE_DIGITS_MIN && digits.chars().any(|digit| digit != first);
    plausible.then_some(digits)
}

/// How a word begins: its first two consonants as they sound, or where it has fewer (or is not in
/// Latin letters) its first two letters. Where names are not divided into words, each sign.
fn starts(word: &str) -> Vec<String> {
    if is_undivided(word) {
        return word.chars().take(WORDS_MAX).map(String::from).collect();
    }
    let sound = sound(word);
    let from = if sound.len() >= 2 { sound.as_str() } else { word };
    vec![from.chars().take(2).collect()]
}

fn tail(phone: &str) -> &str {
    &phone[phone.len().saturating_sub(PHONE_TAIL)..]
}

/// Half of the hash's bits would do: two texts that fall together cost one more comparison.
fn key(parts: &[&str]) -> i64 {
    let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 likeness key v1");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_profile_holds_what_is_compared_in_one_form() {
        let profile = Profile::of(&json!({
            "resourceType": "Patient",
            "name": [{"text": "Émilie N'Diaye", "family": "N'Diaye", "given": ["Émilie"]},
                     {"text": "أحمد الخطيب"}],
            "birthDate": "1987-03", "gender": "female", "multipleBirthInteger": 2,
            "telecom": [{"system": "phone", "value": "+221 77-123 45 67"},
                        {"system": "phone", "value": "000 000 000"},
                        {"system": "email", "value": "e1234567@example.org"}],
            "identifier": [
                {"use": "official", "system": "urn:card", "value": " 1 234.567-X "},
                {"type": {"coding": [{"code": "MR"}]}, "system": "urn:chart", "value": "77"},
                {"system": "urn:card", "value": "0000000"}, {"value": "N/A"}],
        }));
        let plain = |name: &Name| -> Vec<String> { name.iter().map(|(w, _)| w.clone()).collect() };
        assert_eq!(plain(&profile.names[0]), ["emilie", "ndiaye"]);
        assert_eq!(plain(&profile.names[1]), ["احمد", "خطيب"]);
        assert_eq!(profile.phones, ["221771234567"]);
        let numbers: Vec<_> =
            profile.numbers.iter().map(|n| (n.value.as_str(), n.standing)).collect();
        assert_eq!(numbers, [("1234567x", Standing::Official), ("77", Standing::Local)]);
        assert_eq!(profile.born, Some(Born { year: 1987, month: Some(3), day: None }));
        assert_eq!((profile.sex, profile.birth_order), (Some(Sex::Female), Some(2)));
    }

    #[test]
    fn a_hostile_resource_has_few_keys_and_nonsense_has_none() {
        let name = |n: usize| json!({"text": format!("a{n} b{n} c{n} d{n} e{n} f{n} ").repeat(50)});
        let names: Vec<Value> = (0..500).map(name).collect();
        let profile = Profile::of(&json!({"name": names, "birthDate": "1980-02-03"}));
        assert!(profile.keys().len() < 200, "{}", profile.keys().len());
        let none = Profile::of(&json!({"name": "x", "birthDate": "soon", "telecom": 3}));
        assert_eq!((none.keys().len(), none), (0, Profile::default()));
    }
}
