//! The review list, and signing off what stands on it.

use super::answer;
use crate::access::Action;
use crate::service::caller::Who;
use crate::service::error::CommandError;
use crate::service::node::Node;
use serde_json::{Value, json};

/// What must be looked at; with what was signed off already, if that is asked for.
pub async fn list(node: &Node, who: Who, signed: bool) -> Result<Value, CommandError> {
    let list =
        node.act(&who, Action::Review, move |records, permit| records.review_list(permit, signed));
    answer(list.await?)
}

/// Signs an item off, for every node.
pub async fn sign_off(
    node: &Node,
    who: Who,
    item: String,
    note: String,
) -> Result<Value, CommandError> {
    let named = item.clone();
    node.act(&who, Action::SignOff, move |records, permit| records.sign_off(permit, &named, &note))
        .await?;
    Ok(json!({"item": item, "signed_off": true}))
}
