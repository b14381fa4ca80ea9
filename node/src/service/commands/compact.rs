//! Compaction, slice by slice, so that nobody waits long for the records.

use super::answer;
use crate::access::Action;
use crate::records::compact::{Compaction, Thrift};
use crate::service::caller::Who;
use crate::service::error::CommandError;
use crate::service::node::Node;
use crate::service::reply::Compacted;
use crate::service::report::Reporter;
use serde_json::Value;

/// Packs whatever it pays to pack, and gives the room back to the disk.
pub async fn compact(
    node: &Node,
    who: Who,
    dry_run: bool,
    reporter: &Reporter,
) -> Result<Value, CommandError> {
    let started = node.environment.monotonic_ms();
    let begin = move |records: &mut crate::records::Records, permit: &_| {
        records.begin_compaction(permit, Thrift::default(), dry_run)
    };
    let mut compaction = node.act(&who, Action::Operate, begin).await?;
    loop {
        let (done, total) = compaction.progress();
        reporter.step("compact", done, Some(total));
        let more;
        (compaction, more) = slice(node, compaction).await?;
        if !more {
            break;
        }
    }
    let report = compaction.into_report();
    let saved = report.bytes_before.saturating_sub(report.bytes_after);
    let log_bytes = node
        .call(move |records| match dry_run {
            true => records.ledger_bytes().map(|bytes| (bytes, bytes)),
            false => records.give_room_back(saved),
        })
        .await?;
    answer(Compacted {
        dry_run,
        documents: report.documents,
        entries: report.entries,
        packs: report.packs,
        bytes_before: report.bytes_before,
        bytes_after: report.bytes_after,
        kept: report.kept,
        waiting: report.waiting,
        waiting_for: report.waiting_for,
        log_bytes,
        seconds: node.environment.monotonic_ms().saturating_sub(started) as f64 / 1000.0,
    })
}

/// Packs the next documents; whether there are more.
pub async fn slice(
    node: &Node,
    mut compaction: Compaction,
) -> Result<(Compaction, bool), CommandError> {
    node.call(move |records| {
        let more = records.compact_slice(&mut compaction)?;
        Ok((compaction, more))
    })
    .await
}
