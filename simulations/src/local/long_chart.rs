//! One chart with very many resources: how long until it is open, edited, merged.

use super::node::{self, Site};
use super::{Outcome, observation};
use carnet_node::access::{Action, operator_permit};
use carnet_node::chart::ResourceKey;
use carnet_node::records::import::Source;
use carnet_node::store::index::Listing;
use serde_json::{Value, json};

/// Observations of each encounter.
const OBSERVATIONS: usize = 20;

/// Resources on the first page of a chart.
const PAGE: usize = 100;

/// A chart of so many encounters, after a restart each time: its first page, all of it, its first
/// edit, and a change of it that came from another node.
pub fn measure(encounters: usize) -> Outcome<Value> {
    let mut here = Site::found()?;
    let mut there = here.join(Vec::new())?;
    let source = Source::bytes("chart".into(), bundle(encounters)?.to_string().into());
    let write = operator_permit(Action::Import);
    here.records.import(&write, vec![source], |_, _| {})?;
    there.take_all(&here)?;
    let (mut here, mut there) = (here.reopened()?, there.reopened()?);
    let page = |limit| Listing { patient: Some("p".into()), limit, ..Listing::default() };
    let read = operator_permit(Action::Read);
    let started = node::now();
    here.records.list(&read, &page(PAGE))?;
    here.records.commit()?;
    let first_page_ms = node::ms(started.elapsed());
    let started = node::now();
    let resources = here.records.list(&read, &page(usize::MAX >> 1))?.shown.len();
    let open_whole_ms = node::ms(started.elapsed());
    let started = node::now();
    let key = ResourceKey::new("Encounter", "e0")?;
    here.records.set_element(&write, &key, &[("status".into(), Some("cancelled".into()))])?;
    here.records.commit()?;
    let first_edit_ms = node::ms(started.elapsed());
    let started = node::now();
    there.take_all(&here)?;
    let merge_ms = node::ms(started.elapsed());
    if there.records.read(&read, &key)?.resource["status"] != "cancelled" {
        return Err("the edit did not arrive".into());
    }
    Ok(json!({"encounters": encounters, "resources": resources, "first_page_ms": first_page_ms,
        "open_whole_ms": open_whole_ms, "first_edit_ms": first_edit_ms, "merge_ms": merge_ms}))
}

fn bundle(encounters: usize) -> Outcome<Value> {
    let mut entry = vec![json!({"resource": {"resourceType": "Patient", "id": "p"},
        "request": {"method": "PUT", "url": "Patient/p"}})];
    for n in 0..encounters {
        entry.push(json!({"request": {"method": "PUT", "url": format!("Encounter/e{n}")},
            "resource": {"resourceType": "Encounter", "id": format!("e{n}"), "status": "finished",
                "class": {"code": "AMB"}, "subject": {"reference": "Patient/p"}}}));
        for k in 0..OBSERVATIONS {
            let observation = observation(n * OBSERVATIONS + k, "p")?;
            let url = observation.key().to_string();
            entry.push(json!({"resource": observation.into_body(),
                "request": {"method": "PUT", "url": url}}));
        }
    }
    Ok(json!({"resourceType": "Bundle", "type": "transaction", "entry": entry}))
}
