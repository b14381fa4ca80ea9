//! Entries that are set aside, and what somebody decides of them.

use super::answer;
use crate::access::Action;
use crate::service::caller::Who;
use crate::service::error::CommandError;
use crate::service::node::Node;
use crate::service::request::QuarantineRequest;
use serde_json::Value;

/// Does what is asked about them.
pub async fn execute(
    node: &Node,
    who: Who,
    request: QuarantineRequest,
) -> Result<Value, CommandError> {
    match request {
        QuarantineRequest::List => {
            let list =
                node.act(&who, Action::Review, |records, permit| records.quarantine_list(permit));
            answer(list.await?)
        }
        QuarantineRequest::Rule { entry, ruling, note } => {
            let outcome = node.act(&who, Action::SignOff, move |records, permit| {
                records.rule(permit, &entry, ruling, &note)
            });
            answer(outcome.await?)
        }
    }
}
