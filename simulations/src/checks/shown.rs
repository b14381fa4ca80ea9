//! What a node holds and shows at the end, and whether two nodes agree.

use super::Flaw;
use crate::workload::permit;
use carnet_node::access::Action;
use carnet_node::records::read::OpenConflict;
use carnet_node::records::{Records, RecordsError};
use carnet_node::store::index::{Listing, TrailFilter};
use carnet_sync_protocol::certificate::Role;
use carnet_sync_protocol::frontier::Frontier;
use carnet_sync_protocol::id::EntryId;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a node holds and shows.
pub struct Shown {
    /// What it holds.
    pub frontier: Frontier,
    /// What it shows; a relay shows nothing.
    pub charts: Option<Charts>,
}

/// What a node shows.
pub struct Charts {
    /// Whether it may read what is restricted.
    pub restricted: bool,
    /// Every resource, deleted ones too, as it is shown, by type and id.
    pub resources: BTreeMap<String, Value>,
    conflicts: Vec<OpenConflict>,
    /// The ids of the events of the trail.
    trail: BTreeSet<String>,
    /// What it knows of those who work here, and of what they decided.
    staff: String,
    /// The entries that are set aside since another has their place, or that of one on which they
    /// build; looked for where somebody wrote what no honest node would.
    pub outcasts: BTreeSet<EntryId>,
    /// Entries set aside, those that wait for others, and those without a key.
    aside: (u64, u64, u64),
    /// What `verify` found, where it was asked.
    digest: Option<String>,
}

impl Shown {
    /// Looks at a node, and has it check itself if it is `asked`. What it finds wrong with itself
    /// is a flaw, but for entries that it set aside where somebody wrote what is to be set aside.
    pub fn of(records: &mut Records, asked: bool, rogues: bool) -> Result<Self, Flaw> {
        let frontier = records.frontier().clone();
        let certificate = records.own_certificate().map_err(failed)?.clone();
        let (role, restricted) = (certificate.body.role, certificate.body.capabilities.restricted);
        let mut digest = None;
        if asked {
            let report = records.verify(&permit(Action::Administer), |_, _| {}).map_err(failed)?;
            let lie = |problem: &str| {
                problem.contains("is set aside") || problem.contains("the sealed bytes do not fit")
            };
            let wrong = |problem: &&String| !(rogues && lie(problem));
            if let Some(problem) = report.problems.iter().find(wrong) {
                return Err(Flaw::new("a node finds nothing wrong with itself", problem.clone()));
            }
            digest = Some(report.state_digest);
        }
        if role == Role::Relay {
            return Ok(Self { frontier, charts: None });
        }
        let all = Listing { deleted: true, limit: 1_000_000, ..Listing::default() };
        let mut resources = BTreeMap::new();
        for shown in records.list(&permit(Action::Read), &all).map_err(failed)?.shown {
            let part = |name: &str| shown.resource[name].as_str().unwrap_or_default().to_owned();
            let key = format!("{}/{}", part("resourceType"), part("id"));
            let mut resource = shown.resource;
            resource["_deleted"] = shown.deleted.into();
            resources.insert(key, resource);
        }
        // A node lists them as they came up there.
        let mut conflicts = records.conflicts(&permit(Action::Read), None).map_err(failed)?;
        conflicts
            .sort_by_cached_key(|one| [&one.resource, &one.element, &one.seen].map(String::clone));
        let filter = TrailFilter { limit: usize::MAX >> 1, ..TrailFilter::default() };
        let trail = records.trail(&permit(Action::Audit), &filter).map_err(failed)?;
        let trail = trail.into_iter().map(|event| event.id).collect();
        let status = records.status().map_err(failed)?;
        let aside = (
            status.quarantined.unwrap_or(0),
            status.waiting.unwrap_or(0),
            status.unreadable.unwrap_or(0),
        );
        let staff = format!("{:?}", records.staff().map_err(failed)?);
        let outcasts = if rogues { outcasts(records)? } else { BTreeSet::new() };
        let charts = Some(Charts {
            restricted,
            resources,
            conflicts,
            trail,
            staff,
            outcasts,
            aside,
            digest,
        });
        Ok(Self { frontier, charts })
    }

    /// In one line, for the log of the history.
    pub fn summary(&self) -> String {
        let held = blake3::Hash::from(self.frontier.digest_all()).to_hex();
        let Some(charts) = &self.charts else {
            return format!("nothing, and holds {}", &held[..8]);
        };
        let mut hasher = blake3::Hasher::new();
        for (key, resource) in &charts.resources {
            hasher.update(key.as_bytes());
            hasher.update(resource.to_string().as_bytes());
        }
        for conflict in &charts.conflicts {
            hasher.update(format!("{conflict:?}").as_bytes());
        }
        let shown = hasher.finalize().to_hex();
        format!(
            "{} resources {}, {} conflicts, {:?} aside, state {}, and holds {}",
            charts.resources.len(),
            &shown[..8],
            charts.conflicts.len(),
            charts.aside,
            charts.digest.as_deref().and_then(|digest| digest.get(..8)).unwrap_or("-"),
            &held[..8]
        )
    }
}

fn outcasts(records: &mut Records) -> Result<BTreeSet<EntryId>, Flaw> {
    let listed = records.quarantine_list(&permit(Action::Review)).map_err(failed)?.entries;
    let outcasts = listed.iter().filter(|one| one.reason.contains("in one place"));
    Ok(outcasts.filter_map(|one| one.entry.parse().ok()).collect())
}

fn failed(error: RecordsError) -> Flaw {
    Flaw::new("no error without a cause", error.to_string())
}

/// What two nodes hold differently, in words.
fn difference(a: &Frontier, b: &Frontier) -> String {
    let logs: BTreeSet<_> = a.0.keys().chain(b.0.keys()).collect();
    let differs = logs.into_iter().filter(|log| a.heads(log) != b.heads(log));
    let words = differs.map(|log| {
        let ends = |frontier: &Frontier| {
            let ends = frontier.heads(log).iter().map(|head| head.sequence.to_string());
            ends.collect::<Vec<_>>().join("+")
        };
        format!(
            " {} of {:.8} up to [{}] and [{}]",
            log.channel.name(),
            log.author.node.to_string(),
            ends(a),
            ends(b)
        )
    });
    format!("what they hold:{}", words.collect::<Vec<_>>().join(","))
}

/// Equal sets of entries give equal heads, charts, conflicts and index; what is set aside is the
/// same everywhere.
pub fn agree(shown: &[(usize, Shown)]) -> Result<(), Flaw> {
    let differ = |a: usize, b: usize, what: String| {
        let oracle = "equal entries give equal heads, charts, conflicts and index";
        Err(Flaw::new(oracle, format!("c{a} and c{b} differ in {what}")))
    };
    let Some((first, model)) = shown.first() else { return Ok(()) };
    for (at, one) in shown {
        if one.frontier != model.frontier {
            return differ(*first, *at, difference(&model.frontier, &one.frontier));
        }
        let Some(charts) = &one.charts else { continue };
        let like = |(at, shown): &(usize, Shown)| {
            let other = shown.charts.as_ref()?;
            (other.restricted == charts.restricted).then_some(*at)
        };
        let Some(first) = shown.iter().find_map(like) else { continue };
        let model = shown.iter().find(|(at, _)| *at == first);
        let Some(model) = model.and_then(|(_, shown)| shown.charts.as_ref()) else { continue };
        for key in model.resources.keys().chain(charts.resources.keys()) {
            let (a, b) = (model.resources.get(key), charts.resources.get(key));
            if a != b {
                let text = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
                return differ(first, *at, format!("{key}: {} and {}", text(a), text(b)));
            }
        }
        if model.conflicts != charts.conflicts {
            let what = format!("{:?} and {:?}", model.conflicts, charts.conflicts);
            return differ(first, *at, what);
        }
        if model.trail != charts.trail {
            let missing = model.trail.symmetric_difference(&charts.trail).count();
            return differ(first, *at, format!("{missing} events of the trail"));
        }
        if model.staff != charts.staff {
            return differ(first, *at, "what they know of the staff".into());
        }
        if model.outcasts != charts.outcasts {
            return differ(first, *at, "which of two changes in one place counts".into());
        }
        if model.aside != charts.aside {
            let what = format!("what is set aside: {:?} and {:?}", model.aside, charts.aside);
            return differ(first, *at, what);
        }
        if let (Some(a), Some(b)) = (&model.digest, &charts.digest)
            && a != b
        {
            return differ(first, *at, "their digest".into());
        }
    }
    Ok(())
}
