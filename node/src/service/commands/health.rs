//! Is everything as it should be: `status` and `verify`.

use super::{answer, peers};
use crate::access::Action;
use crate::records::status as records;
use crate::service::caller::Who;
use crate::service::error::{CommandError, ErrorKind};
use crate::service::node::Node;
use crate::service::reply::{Problem, Status, Verified};
use crate::service::report::Reporter;
use serde_json::Value;

/// The state of the node; needs no unlocking.
pub async fn status(node: &Node) -> Result<Value, CommandError> {
    let (held, nodes) = node.call(|records| Ok((records.status()?, records.nodes()))).await?;
    let problems: Vec<Problem> = held.problems.iter().map(problem).collect();
    let listening = node.started_network().and_then(|network| network.listening());
    answer(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ok: !problems.iter().any(|problem| problem.serious),
        locked: held.locked,
        running: node.running,
        practice: held.practice,
        site: held.site,
        node: held.node,
        entries: held.entries,
        conflicts: held.conflicts,
        listening: listening.iter().map(ToString::to_string).collect(),
        peers: peers::lines(node, held.peers, &nodes),
        problems,
    })
}

fn problem(problem: &records::Problem) -> Problem {
    Problem {
        code: problem.code().to_owned(),
        count: problem.count(),
        time: problem.time().to_owned(),
        serious: problem.is_serious(),
    }
}

/// Checks every chain, signature, hash and decryption, and the index against the ledger.
pub async fn verify(node: &Node, who: Who, reporter: Reporter) -> Result<Value, CommandError> {
    let (report, locked) = node
        .act(&who, Action::Operate, move |records, permit| {
            let step = |done, total| reporter.step("verify", done, Some(total));
            Ok((records.verify(permit, step)?, records.is_locked()))
        })
        .await?;
    let told = answer(Verified {
        ok: report.ok,
        entries: report.entries,
        signatures: report.signatures,
        closed: report.closed,
        documents: report.documents,
        conflicts: report.conflicts,
        state_digest: report.state_digest,
        problems: report.problems.clone(),
    })?;
    if locked && report.problems.is_empty() {
        // Half a check must not pass for a whole one.
        return Err(CommandError::new(
            ErrorKind::Locked,
            "chains and signatures hold, and what is sealed was not checked",
        )
        .with_done(told));
    }
    Ok(told)
}
