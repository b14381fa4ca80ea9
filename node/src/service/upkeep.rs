//! What a running node does by itself while nobody needs it: it packs what all nodes hold.

use super::commands::compact::slice;
use super::error::CommandError;
use super::node::Node;
use crate::records::Advance;
use crate::records::compact::{CompactReport, Thrift};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};

/// When it does so.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// For so long nothing was written, received or read on record.
    pub quiet: Duration,
    /// From the end of one compaction to the next.
    pub between: Duration,
    /// The rest after each slice, in times of what the slice took: an old laptop stays cool, and
    /// who comes in between finds the node free.
    pub rest: u32,
}

impl Default for Rhythm {
    fn default() -> Self {
        let (quiet, between) = (Duration::from_secs(5 * 60), Duration::from_secs(12 * 3600));
        Self { quiet, between, rest: 4 }
    }
}

/// Packs now and then, for as long as the node runs.
pub async fn keep_compact(node: Arc<Node>, rhythm: Rhythm) {
    let mut advances = node.advances();
    loop {
        if !is_quiet(&mut advances, rhythm.quiet).await {
            continue;
        }
        if node.is_locked().await {
            sleep(rhythm.quiet).await;
            continue;
        }
        match compact(&node, &mut advances, &rhythm).await {
            Ok(report) if report.entries > 0 => tracing::info!(
                entries = report.entries,
                before = report.bytes_before,
                after = report.bytes_after,
                "packed"
            ),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "nothing more is packed for now"),
        }
        sleep(rhythm.between).await;
    }
}

async fn compact(
    node: &Node,
    advances: &mut Receiver<Advance>,
    rhythm: &Rhythm,
) -> Result<CompactReport, CommandError> {
    let begin =
        |records: &mut crate::records::Records| records.begin_own_compaction(Thrift::default());
    let mut compaction = node.call(begin).await?;
    loop {
        let started = node.environment.monotonic_ms();
        let more;
        (compaction, more) = slice(node, compaction).await?;
        if !more {
            break;
        }
        let took = Duration::from_millis(node.environment.monotonic_ms().saturating_sub(started));
        let mut rest = took * rhythm.rest;
        while !is_quiet(advances, rest).await {
            rest = rhythm.quiet;
        }
    }
    let report = compaction.into_report();
    if report.packs > 0 {
        let saved = report.bytes_before.saturating_sub(report.bytes_after);
        node.call(move |records| records.give_room_back(saved)).await?;
    }
    Ok(report)
}

/// Whether nothing becomes durable for so long; returns at once when something does.
async fn is_quiet(advances: &mut Receiver<Advance>, long: Duration) -> bool {
    match timeout(long, advances.recv()).await {
        Err(_) => true,
        Ok(Ok(_) | Err(RecvError::Lagged(_))) => false,
        // The node is ending, and ends this too.
        Ok(Err(RecvError::Closed)) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Action, operator_permit};
    use crate::base::environment::Environment;
    use crate::chart::Resource;
    use crate::records::{Records, RecordsError};
    use crate::service::config::{Config, Flags};
    use crate::service::create::{self, Founding};
    use crate::service::request::{Closure, Opener, Secret};
    use serde_json::json;
    use tokio::time::Instant;

    const PASSPHRASE: &str = "hibiscus and baobab";

    fn write(records: &mut Records, number: usize) -> Result<(), RecordsError> {
        let body = match number {
            0 => json!({"resourceType": "Patient", "id": "p"}),
            _ => json!({"resourceType": "Observation", "id": format!("o{number}"),
                "status": "final", "subject": {"reference": "Patient/p"},
                "code": {"text": "weight"}, "valueQuantity": {"value": 50 + number}}),
        };
        let resource = Resource::from_value(body).expect("a resource");
        records.put(&operator_permit(Action::Write), &resource).map(drop)
    }

    /// Entries that a compaction would pack now.
    async fn unpacked(node: &Node) -> u64 {
        let look = |records: &mut Records| {
            records.compact(&operator_permit(Action::Operate), Thrift::default(), true)
        };
        node.call(look).await.expect("looked at").entries
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_unlocked_node_packs_by_itself_once_it_is_left_alone() {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("node");
        let founding = Founding {
            practice: "Casamance".into(),
            site: "Sédhiou".into(),
            closure: Closure::Passphrase(Secret::new(PASSPHRASE.into())),
            practice_passphrase: None,
        };
        create::init(&dir, &Environment::system(), founding).await.expect("founded");
        let config = Config::load(&dir, Flags::default(), &|_| None).expect("settings");
        let node = Node::open(&dir, Environment::system(), config).await.expect("opened");
        let node = Arc::new(node);
        let opener = Opener::Passphrase(Secret::new(PASSPHRASE.into()));
        node.unlock(opener).await.expect("unlocked");
        for number in 0..60 {
            node.call(move |records| write(records, number)).await.expect("written");
        }
        let entries = |records: &mut Records| Ok(records.status()?.entries);
        let held = node.call(entries).await.expect("counted");
        assert!(unpacked(&node).await > 0);
        let quiet = Duration::from_millis(300);
        let rhythm = Rhythm { quiet, between: quiet, rest: 1 };
        let upkeep = tokio::spawn(keep_compact(node.clone(), rhythm));
        let started = Instant::now();
        while unpacked(&node).await > 0 {
            assert!(started.elapsed() < Duration::from_secs(60), "nothing was packed");
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(
            node.call(entries).await.expect("counted"),
            held,
            "it wrote no entry of its own"
        );
        // As much again comes later, and is packed too.
        for number in 60..120 {
            node.call(move |records| write(records, number)).await.expect("written");
        }
        while unpacked(&node).await > 0 {
            assert!(started.elapsed() < Duration::from_secs(120), "nothing was packed again");
            sleep(Duration::from_millis(50)).await;
        }
        upkeep.abort();
    }
}
