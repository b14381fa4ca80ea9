//! The demonstration: two real nodes on loopback, the link cut, the same dose edited on both sides.
//!
//! Nothing is simulated but the people: the nodes are what `carnet run` runs, and the numbers are
//! what they measured.

use super::caller::Who;
use super::commands::{bulk, charts, peers};
use super::config::{Config, Flags};
use super::create::{self, Founding};
use super::error::{CommandError, ErrorKind};
use super::node::Node;
use super::reply::{Apart, Conflict, Resolution, Story, SyncedPeer};
use super::report::Reporter;
use super::request::{Choose, Closure};
use crate::access::{Action, operator_permit};
use crate::base::environment::Environment;
use crate::records::import::{Import, Source};
use crate::records::membership::Invite;
use crate::sample::{Generator, Size};
use crate::store::index::Listing;
use crate::sync::LinkStatus;
use carnet_sync_protocol::certificate::{Capabilities, Role};
use carnet_sync_protocol::id::TransportKey;
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SITES: [&str; 2] = ["Sédhiou", "Kolda"];

/// On loopback a sync takes milliseconds; longer than this, something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the story is to be played.
#[derive(Clone, Debug)]
pub struct Script {
    /// Where the two nodes are left; a temporary directory, removed at the end, otherwise.
    pub keep: Option<PathBuf>,
    /// How many patients are invented.
    pub patients: u32,
    /// From what they are drawn.
    pub seed: u64,
}

/// Plays the story and tells what happened.
pub async fn play(
    environment: &Environment,
    script: Script,
    reporter: Reporter,
) -> Result<Story, CommandError> {
    let begun = environment.monotonic_ms();
    let stage = Stage::set(environment, script.keep.clone())?;
    let played = perform(environment, &stage, &script, &reporter).await;
    let mut story = played?;
    story.seconds = environment.monotonic_ms().saturating_sub(begun) as f64 / 1000.0;
    story.kept = script.keep.map(|path| path.display().to_string());
    Ok(story)
}

/// The directory of the two nodes; removed when the play is over, unless it is to be kept.
struct Stage {
    root: PathBuf,
    keep: bool,
}

impl Stage {
    fn set(environment: &Environment, keep: Option<PathBuf>) -> Result<Self, CommandError> {
        let root = match &keep {
            Some(path) => path.clone(),
            None => std::env::temp_dir().join(format!("carnet-demo-{}", environment.uuid())),
        };
        fs::create_dir_all(&root).map_err(|error| CommandError::file(&error, &root))?;
        Ok(Self { root, keep: keep.is_some() })
    }

    fn dir(&self, site: usize) -> PathBuf {
        self.root.join(["first", "second"][site])
    }

    fn key_file(&self, site: usize) -> PathBuf {
        self.root.join(["first.key", "second.key"][site])
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

async fn perform(
    environment: &Environment,
    stage: &Stage,
    script: &Script,
    reporter: &Reporter,
) -> Result<Story, CommandError> {
    let closure = Closure::KeyFile(stage.key_file(0));
    let founding = Founding {
        practice: "Casamance".to_owned(),
        site: SITES[0].to_owned(),
        closure,
        practice_passphrase: None,
    };
    create::init(&stage.dir(0), environment, founding).await?;
    let first = open(&stage.dir(0), environment).await?;
    let outcome = with_first(environment, stage, script, reporter, &first).await;
    first.close().await;
    outcome
}

async fn open(dir: &Path, environment: &Environment) -> Result<Node, CommandError> {
    // The visitor's own settings have no part in the story.
    let config = Config::load(dir, Flags::default(), &|_| None)?;
    Node::open(dir, environment.clone(), config).await
}

async fn with_first(
    environment: &Environment,
    stage: &Stage,
    script: &Script,
    reporter: &Reporter,
    first: &Node,
) -> Result<Story, CommandError> {
    let resources = invent_patients(environment, script, reporter, first).await?;
    first.network(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).await?;
    let invitation = invite(first).await?;
    let closure = Closure::KeyFile(stage.key_file(1));
    create::join(&stage.dir(1), environment, &invitation, closure).await?;
    let second = open(&stage.dir(1), environment).await?;
    let outcome = with_both(reporter, first, &second).await;
    second.close().await;
    let mut story = outcome?;
    story.resources = resources;
    story.patients = u64::from(script.patients);
    Ok(story)
}

async fn invent_patients(
    environment: &Environment,
    script: &Script,
    reporter: &Reporter,
    first: &Node,
) -> Result<u64, CommandError> {
    let mut generator = Generator::new(script.seed, environment.unix_ms());
    let sources = (0..script.patients)
        .map(|number| {
            let patient = generator.patient(Size::Standard).to_string();
            Source::bytes(format!("patient {}", number + 1), patient.into_bytes())
        })
        .collect();
    let report = bulk::take(first, Who::operator(), Import::new(sources), reporter).await?;
    match report.failures.first() {
        None => Ok(report.resources),
        Some(failure) => Err(CommandError::new(ErrorKind::Failure, &failure.reason)),
    }
}

async fn invite(first: &Node) -> Result<String, CommandError> {
    let address = first.network(None).await?.listening();
    let address = address
        .ok_or_else(|| CommandError::new(ErrorKind::Failure, "no port could be had on loopback"))?;
    let invite = Invite {
        site: SITES[1].to_owned(),
        role: Role::Clinic,
        capabilities: Capabilities { admit: false, restricted: true, audit: true },
        addresses: vec![address.to_string()],
        valid_ms: 3_600_000,
        practice: None,
    };
    let permit = operator_permit(Action::Administer);
    let invitation = first.call(move |records| records.invite(&permit, invite)).await?;
    Ok(invitation.to_text())
}

async fn with_both(
    reporter: &Reporter,
    first: &Node,
    second: &Node,
) -> Result<Story, CommandError> {
    reporter.step("demo", 1, Some(4));
    let first_sync = sync(second).await?;
    let peer = second.known_peers().await?.into_iter().next().ok_or_else(|| {
        CommandError::new(ErrorKind::Failure, "the second node forgot who invited it")
    })?;

    cut(first, second, &peer.transport).await?;
    let apart = work_apart(first, second).await?;

    reporter.step("demo", 2, Some(4));
    second.network(None).await?.add_peer(peer);
    let second_sync = sync(second).await?;
    let merged = merged(first, second, &apart).await?;
    let conflicts = charts::open_conflicts(first, Who::operator(), None).await?;
    let conflict = conflicts.first().cloned();

    reporter.step("demo", 3, Some(4));
    let resolution = match &conflict {
        Some(conflict) => Some(decide(second, conflict).await?),
        None => None,
    };
    let third_sync = sync(second).await?;
    let (resolution, state_digests) = compare(first, second, resolution).await?;
    let syncs = [&first_sync, &second_sync, &third_sync];
    let sum = |of: fn(&SyncedPeer) -> u64| syncs.iter().map(|sync| of(sync)).sum();
    let open = resolution.iter().flat_map(|resolution| &resolution.open).sum::<u64>();
    Ok(Story {
        converged: state_digests.windows(2).all(|pair| pair[0] == pair[1])
            && !state_digests.iter().any(String::is_empty)
            && open == 0,
        conflicts: conflicts.len() as u64,
        entries_sent: sum(|sync| sync.entries_sent + sync.entries_received),
        bytes_sent: sum(|sync| sync.bytes_sent + sync.bytes_received),
        receipts: syncs.iter().filter_map(|sync| sync.receipt.clone()).collect(),
        state_digests,
        seconds: 0.0,
        sites: SITES.map(str::to_owned).to_vec(),
        resources: 0,
        patients: 0,
        first_sync,
        apart,
        second_sync,
        merged,
        conflict,
        resolution,
        third_sync,
        kept: None,
    })
}

async fn sync(node: &Node) -> Result<SyncedPeer, CommandError> {
    let outcomes = node.network(None).await?.sync_now(None, PATIENCE).await;
    let outcome = outcomes.first().ok_or_else(|| {
        CommandError::new(ErrorKind::Failure, "the two nodes do not know each other")
    })?;
    match &outcome.error {
        Some(reason) if !outcome.in_sync => Err(CommandError::new(ErrorKind::Unreachable, reason)),
        _ => Ok(peers::synced_peer(outcome)),
    }
}

/// Cuts the link, and waits until both sides have noticed.
async fn cut(first: &Node, second: &Node, peer: &TransportKey) -> Result<(), CommandError> {
    second.network(None).await?.remove_peer(peer);
    let network = first.network(None).await?;
    let connected = |links: Vec<LinkStatus>| links.iter().any(|link| link.connected);
    let gone = async {
        while connected(network.status()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .map_err(|_| CommandError::new(ErrorKind::Failure, "the link could not be cut"))
}

/// Both sides change the same dose, and each writes something that the other does not touch.
async fn work_apart(first: &Node, second: &Node) -> Result<Vec<Apart>, CommandError> {
    let order = one(first, "MedicationRequest").await?;
    let dose = |text: &str, tablets: u32| {
        json!([{
            "text": text,
            "doseAndRate": [{ "doseQuantity": { "value": tablets, "unit": "tablet" } }],
        }])
    };
    let element = "dosageInstruction";
    let mut apart = vec![
        set(first, 0, &order, element, dose("2 tablets, morning and evening", 2)).await?,
        set(second, 1, &order, element, dose("1 tablet, in the morning", 1)).await?,
    ];
    let subject = order["subject"].clone();
    let weight = json!({
        "resourceType": "Observation", "id": first.environment.uuid(), "status": "final",
        "code": { "text": "Body weight" }, "subject": subject,
        "valueQuantity": { "value": 61, "unit": "kg" },
    });
    apart.push(add(first, 0, weight, "Body weight 61 kg").await?);
    let allergy = json!({
        "resourceType": "AllergyIntolerance", "id": second.environment.uuid(),
        "code": { "text": "Penicillin" }, "patient": subject, "criticality": "high",
    });
    apart.push(add(second, 1, allergy, "Penicillin allergy, high criticality").await?);
    Ok(apart)
}

async fn one(node: &Node, kind: &str) -> Result<Value, CommandError> {
    let page = Listing { kind: Some(kind.to_owned()), limit: 1, ..Listing::default() };
    let permit = operator_permit(Action::Read);
    let found = node.call(move |records| records.list(&permit, &page)).await?;
    found.shown.into_iter().next().map(|shown| shown.resource).ok_or_else(|| {
        CommandError::not_found(format!("nobody was given a {kind}"))
            .advise("Invent more patients: `carnet demo --patients 50`")
    })
}

fn name_of(resource: &Value) -> String {
    let part = |key: &str| resource[key].as_str().unwrap_or_default();
    format!("{}/{}", part("resourceType"), part("id"))
}

async fn set(
    node: &Node,
    site: usize,
    resource: &Value,
    element: &str,
    value: Value,
) -> Result<Apart, CommandError> {
    let name = name_of(resource);
    charts::edit(
        node,
        Who::operator(),
        name.clone(),
        vec![(element.to_owned(), value.clone())],
        false,
    )
    .await?;
    let title = charts::title(&resource["medicationCodeableConcept"]).unwrap_or_default();
    Ok(Apart {
        site: SITES[site].to_owned(),
        resource: name,
        title,
        element: element.to_owned(),
        value,
    })
}

async fn add(node: &Node, site: usize, resource: Value, said: &str) -> Result<Apart, CommandError> {
    let name = name_of(&resource);
    charts::put(node, Who::operator(), resource).await?;
    Ok(Apart {
        site: SITES[site].to_owned(),
        resource: name,
        title: said.to_owned(),
        element: "new".to_owned(),
        value: said.into(),
    })
}

/// What was written on one side and now shows on the other, without anybody's help.
async fn merged(first: &Node, second: &Node, apart: &[Apart]) -> Result<Vec<String>, CommandError> {
    let mut merged = Vec::new();
    for edit in apart.iter().filter(|edit| edit.element == "new") {
        let other = if edit.site == SITES[0] { second } else { first };
        charts::show(other, Who::operator(), edit.resource.clone()).await?;
        merged.push(edit.title.clone());
    }
    Ok(merged)
}

/// The clinician at the second site keeps what was written there: the lower dose.
async fn decide(node: &Node, conflict: &Conflict) -> Result<Resolution, CommandError> {
    let kept = conflict.values.iter().find(|value| value.site == SITES[1]);
    let kept = kept
        .or(conflict.values.first())
        .ok_or_else(|| CommandError::new(ErrorKind::Failure, "a conflict without values"))?;
    let choose = Choose::Value(kept.id.clone());
    let (resource, element) = (conflict.resource.clone(), conflict.element.clone());
    charts::resolve(node, Who::operator(), resource, element, choose, conflict.seen.clone())
        .await?;
    Ok(Resolution { site: SITES[1].to_owned(), value: kept.value.clone(), open: Vec::new() })
}

async fn compare(
    first: &Node,
    second: &Node,
    mut resolution: Option<Resolution>,
) -> Result<(Option<Resolution>, Vec<String>), CommandError> {
    let mut digests = Vec::new();
    for node in [first, second] {
        let permit = operator_permit(Action::Administer);
        let report = node.call(move |records| records.verify(&permit, |_, _| {})).await?;
        if let Some(problem) = report.problems.first() {
            return Err(CommandError::new(ErrorKind::Damaged, problem));
        }
        digests.push(report.state_digest);
        if let Some(resolution) = &mut resolution {
            resolution.open.push(report.conflicts);
        }
    }
    Ok((resolution, digests))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::report;

    #[tokio::test(flavor = "multi_thread")]
    async fn two_clinics_come_together_and_a_person_decides() {
        let kept = tempfile::tempdir().expect("a directory");
        let root = kept.path().join("demo");
        let script = Script { keep: Some(root.clone()), patients: 12, seed: 7 };
        let (reporter, _reports) = report::channel();
        let story = play(&Environment::system(), script, reporter).await.expect("it is played");
        assert!(story.converged, "{:?}", story.state_digests);
        assert_eq!(story.conflicts, 1);
        assert_eq!(story.merged.len(), 2);
        let conflict = story.conflict.expect("a conflict");
        assert_eq!((conflict.kind.as_str(), conflict.values.len()), ("same-element", 2));
        assert_eq!(story.resolution.expect("decided").open, [0, 0]);
        assert!(story.first_sync.entries_received > 0, "the second site received nothing");
        assert!(story.second_sync.entries_sent > 0 && story.second_sync.entries_received > 0);
        assert!(!story.receipts.is_empty());
        assert!(root.join("first/log.db").exists() && root.join("second/log.db").exists());
    }
}
