//! A backup, written beside everything else that the node does.

use super::answer;
use crate::access::Action;
use crate::audit::AuditOutcome;
use crate::records::read::instant;
use crate::service::caller::Who;
use crate::service::error::{CommandError, ErrorKind};
use crate::service::node::{Node, blocking};
use crate::service::reply::BackedUp;
use crate::service::report::Reporter;
use serde_json::Value;
use std::path::PathBuf;

/// Writes a backup; the records are asked for leave, and for nothing else.
pub async fn backup(
    node: &Node,
    who: Who,
    to: PathBuf,
    reporter: Reporter,
) -> Result<Value, CommandError> {
    let started = node.environment.monotonic_ms();
    // Held by the work itself, which goes on when its caller leaves.
    let turn = node.backup.clone().try_lock_owned().map_err(|_| {
        CommandError::new(ErrorKind::Failure, "a backup is being made already")
            .advise("Wait until it is done")
    })?;
    let backup =
        node.act(&who, Action::Operate, |records, permit| records.begin_backup(permit)).await?;
    let made = blocking(move || {
        let _turn = turn;
        backup.write(&to, &mut |phase, done, total| {
            reporter.step(phase, done, (total > 0).then_some(total));
        })
    })
    .await?;
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            let actor = who.actor;
            node.call(move |records| {
                records.note_act(&actor, "backup", "", AuditOutcome::Failed);
                Ok(())
            })
            .await?;
            return Err(error.into());
        }
    };
    answer(BackedUp {
        file: made.path.display().to_string(),
        bytes: made.bytes,
        entries: made.entries,
        signatures: made.signatures,
        verified: true,
        made: instant(made.made_ms),
        seconds: node.environment.monotonic_ms().saturating_sub(started) as f64 / 1000.0,
    })
}
