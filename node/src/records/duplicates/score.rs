//! How likely two profiles are of one person: points for what agrees, against what differs.
//!
//! Pure, and the same whichever of the two comes first. Every point has its reason, which people
//! are shown. The points were set on the examples in `examples.rs`, true and false pairs of
//! several countries; why they are as they are stands in docs/decisions/0040-likely-duplicates.md.
//!
//! What the points must keep apart: twins and siblings share family name, telephone and perhaps
//! birth date, so that another given name outweighs all of these together; in a village many bear
//! one name, so that a name alone never suffices; and a telephone belongs to a household.

use super::name::{NameFinding, compare};
use super::profile::{Born, Number, Profile, Standing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Points from which on a pair is likely.
pub const LIKELY: u32 = 60;

/// One thing that speaks for or against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// A number of the same system agrees.
    SameNumber,
    /// A number that a family may share, or one without a system, agrees.
    SameSharedNumber,
    /// A chart number agrees.
    SameChartNumber,
    /// Each has another number of a system that gives a person one.
    OtherNumber,
    /// Each has another number of one system; nothing says what kind it is.
    OtherPlainNumber,
    /// Each has another chart number, as after two registrations.
    OtherChartNumber,
    /// All words of the name agree.
    SameName,
    /// They agree, given and family name exchanged.
    SwappedName,
    /// They agree but for spelling.
    CloseName,
    /// All words of the shorter name stand in the longer.
    PartOfName,
    /// The given name agrees, the family name does not.
    SameGivenName,
    /// Something agrees, but the given name does not: family.
    OtherGivenName,
    /// No word agrees.
    OtherName,
    /// The day agrees.
    SameBirthDate,
    /// It agrees, but is one that stands for an unknown day.
    RoundBirthDate,
    /// Day and month are exchanged.
    SwappedBirthDate,
    /// They differ by one figure.
    CloseBirthDate,
    /// Only the year, or year and month, agree.
    SameBirthYear,
    /// Years apart that estimates can be.
    NearBirthYear,
    /// They differ.
    OtherBirthDate,
    /// A telephone number agrees.
    SamePhone,
    /// It agrees, but the names don't: a household's.
    HouseholdPhone,
    /// The sex agrees.
    SameSex,
    /// It differs.
    OtherSex,
    /// Two of several born together.
    OtherTwin,
}

/// Evidence with its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What speaks.
    pub evidence: Evidence,
    /// For it, or when negative against it.
    pub points: i32,
}

/// How alike two profiles are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Score {
    /// From 0 to 100.
    pub score: u32,
    /// What speaks for and against, the weightiest first.
    pub reasons: Vec<Reason>,
}

impl Score {
    pub(super) fn is_likely(&self) -> bool {
        self.score >= LIKELY
    }
}

/// Compares two profiles.
pub(super) fn score(a: &Profile, b: &Profile) -> Score {
    let mut reasons = Vec::new();
    let mut add = |evidence, points| reasons.push(Reason { evidence, points });
    let name = compare(&a.names, &b.names);
    if let Some(finding) = &name {
        let (evidence, points) = of_name(finding);
        add(evidence, points);
    }
    numbers(a, b, &mut add);
    if let (Some(a), Some(b)) = (&a.born, &b.born) {
        let (evidence, points) = births(a, b);
        add(evidence, points);
    }
    if shares_phone(a, b) {
        match &name {
            Some(finding) if finding.agrees() => add(Evidence::SamePhone, 20),
            Some(_) => add(Evidence::HouseholdPhone, 5),
            None => add(Evidence::SamePhone, 12),
        }
    }
    match (a.sex, b.sex) {
        (Some(a), Some(b)) if a == b => add(Evidence::SameSex, 2),
        (Some(_), Some(_)) => add(Evidence::OtherSex, -30),
        _ => {}
    }
    let exact = matches!(name, Some(NameFinding::Same { .. }));
    match (a.birth_order, b.birth_order) {
        (Some(a), Some(b)) if a != b => add(Evidence::OtherTwin, -60),
        // Twins are often called nearly alike.
        _ if a.twin && b.twin && !exact => add(Evidence::OtherTwin, -30),
        _ => {}
    }
    reasons.sort_by_key(|reason| (std::cmp::Reverse(reason.points.abs()), reason.evidence));
    let sum: i32 = reasons.iter().map(|reason| reason.points).sum();
    Score { score: sum.clamp(0, 100).unsigned_abs(), reasons }
}

fn of_name(finding: &NameFinding) -> (Evidence, i32) {
    match finding {
        NameFinding::Same { swapped: false } => (Evidence::SameName, 40),
        NameFinding::Same { swapped: true } => (Evidence::SwappedName, 38),
        NameFinding::Close { lost, part, words } => {
            // One word says less than two, most of all when the other name has more.
            let full = match (words, part) {
                (1, true) => 12,
                (1, false) => 22,
                (_, true) => 34,
                (_, false) => 40,
            };
            let evidence = if *part { Evidence::PartOfName } else { Evidence::CloseName };
            (evidence, (full - lost).max(5))
        }
        NameFinding::OneWord => (Evidence::SameName, 22),
        NameFinding::GivenOnly => (Evidence::SameGivenName, 10),
        NameFinding::OtherGiven => (Evidence::OtherGivenName, -50),
        NameFinding::Other => (Evidence::OtherName, -40),
    }
}

/// The best number that agrees, and the worst that does not.
fn numbers(a: &Profile, b: &Profile, add: &mut impl FnMut(Evidence, i32)) {
    let mut best = None;
    let mut worst = None;
    let systems: BTreeSet<&str> = a.numbers.iter().map(|number| number.system.as_str()).collect();
    for system in systems {
        let of_a: Vec<&Number> = a.numbers.iter().filter(|n| n.system == system).collect();
        let of_b: Vec<&Number> = b.numbers.iter().filter(|n| n.system == system).collect();
        let pairs = of_a.iter().flat_map(|one| of_b.iter().map(move |other| (one, other)));
        let shared = pairs.filter(|(one, other)| one.value == other.value);
        // What one side calls a household's number is one for both.
        let agreeing = shared.map(|(one, other)| agreement(system, weaker(one, other)));
        if let Some((evidence, points)) = agreeing.max_by_key(|(_, points)| *points) {
            best = best.max(Some((points, evidence)));
        } else if !system.is_empty()
            && let Some((evidence, points)) = disagreement(&of_a, &of_b)
        {
            worst = worst.filter(|known| *known < (points, evidence)).or(Some((points, evidence)));
        }
    }
    for (points, evidence) in best.into_iter().chain(worst) {
        add(evidence, points);
    }
}

fn weaker<'a>(one: &'a Number, other: &'a Number) -> &'a Number {
    let rank = |number: &Number| match number.standing {
        Standing::Household => 0,
        Standing::Local => 1,
        Standing::Unknown => 2,
        Standing::Official => 3,
    };
    if rank(one) <= rank(other) { one } else { other }
}

fn agreement(system: &str, number: &Number) -> (Evidence, i32) {
    // Without a system it may be a number of anything.
    if system.is_empty() {
        let points = if number.value.chars().count() >= 6 { 40 } else { 5 };
        return (Evidence::SameSharedNumber, points);
    }
    match number.standing {
        Standing::Official => (Evidence::SameNumber, 75),
        Standing::Unknown => (Evidence::SameNumber, 60),
        // Two sites may count their charts from 1 under one system.
        Standing::Local => (Evidence::SameChartNumber, 35),
        Standing::Household => (Evidence::SameSharedNumber, 25),
    }
}

fn disagreement(a: &[&Number], b: &[&Number]) -> Option<(Evidence, i32)> {
    let one = a.iter().find(|number| !number.old)?;
    let other = b.iter().find(|number| !number.old)?;
    if is_swap(&one.value, &other.value) {
        return None;
    }
    Some(match weaker(one, other).standing {
        Standing::Official => (Evidence::OtherNumber, -40),
        Standing::Unknown => (Evidence::OtherPlainNumber, -20),
        Standing::Local | Standing::Household => (Evidence::OtherChartNumber, -5),
    })
}

/// Two neighbours exchanged, as fingers do. Another single figure is no typing error here: twins
/// are often registered one after the other.
fn is_swap(a: &str, b: &str) -> bool {
    a.chars().count() == b.chars().count()
        && strsim::osa_distance(a, b) == 1
        && strsim::levenshtein(a, b) == 2
}

fn births(a: &Born, b: &Born) -> (Evidence, i32) {
    let years = a.year.abs_diff(b.year);
    if a == b && a.day.is_some() {
        return if a.is_round() {
            (Evidence::RoundBirthDate, 15)
        } else {
            (Evidence::SameBirthDate, 30)
        };
    }
    if a.is_round() || b.is_round() {
        return match years {
            0 if a.month.is_some() && a.month == b.month => (Evidence::SameBirthYear, 12),
            0 => (Evidence::SameBirthYear, 8),
            1..=2 => (Evidence::NearBirthYear, 3),
            3..=5 => (Evidence::NearBirthYear, -5),
            6..=12 => (Evidence::OtherBirthDate, -30),
            _ => (Evidence::OtherBirthDate, -50),
        };
    }
    if years == 0 && (a.month, a.day) == (b.day, b.month) {
        return (Evidence::SwappedBirthDate, 22);
    }
    if strsim::osa_distance(&figures(a), &figures(b)) == 1 {
        return (Evidence::CloseBirthDate, 18);
    }
    match years {
        0 => (Evidence::SameBirthYear, -2),
        1 => (Evidence::OtherBirthDate, -20),
        2..=12 => (Evidence::OtherBirthDate, -35),
        _ => (Evidence::OtherBirthDate, -50),
    }
}

fn figures(born: &Born) -> String {
    format!("{:04}{:02}{:02}", born.year, born.month.unwrap_or(0), born.day.unwrap_or(0))
}

fn shares_phone(a: &Profile, b: &Profile) -> bool {
    let same = |one: &str, other: &str| {
        // Whoever leaves out the country's prefix writes a zero in its place, or nothing.
        let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
        let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
        short.len() >= 6 && long.ends_with(short)
    };
    a.phones.iter().any(|one| b.phones.iter().any(|other| same(one, other)))
}
