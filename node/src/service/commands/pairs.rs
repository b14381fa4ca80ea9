//! The same patient in two charts: what is likely, and what somebody says of it.

use super::answer;
use super::charts::{edited, patient_id};
use crate::access::Action;
use crate::records::duplicates::LikelyPair;
use crate::records::search::PatientHit;
use crate::service::caller::Who;
use crate::service::error::CommandError;
use crate::service::node::Node;
use crate::service::reply::{Duplicate, DuplicatePatient, Reason};
use crate::service::request::Say;
use serde_json::Value;

/// The pairs that wait for somebody to say whether they are one person, the likeliest first.
pub async fn duplicates(node: &Node, who: Who, limit: u32) -> Result<Value, CommandError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let pairs = node
        .act(&who, Action::Search, move |records, permit| records.duplicates(permit, limit))
        .await?;
    answer(pairs.into_iter().map(duplicate).collect::<Vec<_>>())
}

/// Says of two patients that they are one person, that they are not, or nothing any more.
pub async fn say(
    node: &Node,
    who: Who,
    first: String,
    second: String,
    say: Say,
) -> Result<Value, CommandError> {
    let saved = node
        .act(&who, Action::Write, move |records, permit| {
            let (a, b) = (patient_id(&first), patient_id(&second));
            match say {
                Say::Link => records.link(permit, a, b),
                Say::Distinct => records.distinct(permit, a, b),
                Say::Unlink => records.unlink(permit, a, b),
            }
        })
        .await?;
    answer(edited(saved))
}

fn duplicate(pair: LikelyPair) -> Duplicate {
    let reasons = pair.reasons.into_iter().map(|reason| Reason {
        evidence: reason.evidence,
        points: reason.points,
        words: String::new(),
    });
    Duplicate {
        id: pair.id,
        score: pair.score,
        contradicted: pair.contradicted,
        reasons: reasons.collect(),
        patients: pair.patients.into_iter().map(patient).collect(),
    }
}

fn patient(hit: PatientHit) -> DuplicatePatient {
    DuplicatePatient {
        id: hit.id,
        name: hit.name,
        birth_date: hit.birth_date,
        gender: hit.gender,
        identifiers: hit.identifiers,
        site: hit.site,
        conflicted: hit.conflicted,
    }
}
