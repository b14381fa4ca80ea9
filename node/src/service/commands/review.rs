//! The review list, and signing off what stands on it.

use super::answer;
use crate::access::{Action, operator_permit};
use crate::service::error::CommandError;
use crate::service::node::Node;
use serde_json::{Value, json};

/// What must be looked at; with what was signed off already, if that is asked for.
pub async fn list(node: &Node, signed: bool) -> Result<Value, CommandError> {
    let permit = operator_permit(Action::Review);
    answer(node.call(move |records| records.review_list(&permit, signed)).await?)
}

/// Signs an item off, for every node.
pub async fn sign_off(node: &Node, item: String, note: String) -> Result<Value, CommandError> {
    let permit = operator_permit(Action::Review);
    let named = item.clone();
    node.call(move |records| records.sign_off(&permit, &named, &note)).await?;
    Ok(json!({"item": item, "signed_off": true}))
}
