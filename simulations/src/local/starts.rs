//! One document to which many starts of the process wrote: each brings an actor of its own.

use super::node::{self, Site};
use super::{Outcome, observation};
use carnet_node::access::{Action, operator_permit};
use carnet_node::chart::{Resource, ResourceKey};
use serde_json::{Value, json};

/// Starts after which the document is looked at.
const STEPS: [usize; 3] = [10, 300, 3_000];

/// Starts the process again and again, an edit and a new observation each time, and tells what the
/// next start takes, at each step up to `starts` and at the end.
pub fn measure(starts: usize) -> Outcome<Value> {
    let mut site = Site::found()?;
    let permit = operator_permit(Action::Write);
    let patient = json!({"resourceType": "Patient", "id": "p", "gender": "female"});
    site.records.put(&permit, &Resource::from_value(patient)?)?;
    site.records.commit()?;
    let mut steps = Vec::new();
    for n in 1..=starts {
        site = site.reopened()?;
        edit(&mut site, n)?;
        if n == starts || STEPS.contains(&n) {
            site = site.reopened()?;
            steps.push(look(&mut site, n)?);
        }
    }
    Ok(steps.into())
}

fn edit(site: &mut Site, n: usize) -> Outcome<()> {
    let permit = operator_permit(Action::Write);
    let key = ResourceKey::new("Patient", "p")?;
    let status = json!({"text": format!("status {n}")});
    site.records.set_element(&permit, &key, &[("maritalStatus".into(), Some(status))])?;
    site.records.put(&permit, &observation(n, "p")?)?;
    site.records.commit()?;
    Ok(())
}

fn look(site: &mut Site, starts: usize) -> Outcome<Value> {
    let started = node::now();
    edit(site, starts + 1_000_000)?;
    let first_edit_ms = node::ms(started.elapsed());
    let started = node::now();
    edit(site, starts + 2_000_000)?;
    let next_edit_ms = node::ms(started.elapsed());
    let key = ResourceKey::new("Patient", "p")?;
    let started = node::now();
    let versions = site.records.history(&operator_permit(Action::Read), &key)?.len();
    let history_ms = node::ms(started.elapsed());
    Ok(json!({
        "starts": starts, "first_edit_ms": first_edit_ms, "next_edit_ms": next_edit_ms,
        "versions": versions, "history_ms": history_ms,
        "log_bytes": site.size("log.db"), "index_bytes": site.size("index.db"),
    }))
}
