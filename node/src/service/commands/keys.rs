//! What opens the node, and the practice key.

use super::answer;
use super::membership::practice_secret;
use crate::access::{Action, Actor};
use crate::audit::AuditOutcome;
use crate::service::caller::Who;
use crate::service::error::CommandError;
use crate::service::node::Node;
use crate::service::reply::LockState;
use crate::service::request::{Opener, PracticeSecret, Secret};
use serde_json::{Value, json};

/// Opens the charts. The recovery code may bring a new passphrase for the forgotten one.
pub async fn unlock(node: &Node, with: Opener, new: Option<Secret>) -> Result<Value, CommandError> {
    let secret = node.secret(with).await?;
    node.call(move |records| {
        records.unlock(&secret)?;
        records.note_act(&Actor::Operator, "unlock", "", AuditOutcome::Done);
        match new {
            Some(new) => records.change_passphrase(&secret, &new.0),
            None => Ok(()),
        }
    })
    .await?;
    answer(LockState { locked: false })
}

/// Closes the charts.
pub async fn lock(node: &Node) -> Result<Value, CommandError> {
    node.call(|records| records.lock()).await?;
    answer(LockState { locked: true })
}

/// Replaces the passphrase; any secret that opens the node may do so.
pub async fn change_passphrase(
    node: &Node,
    old: Opener,
    new: Secret,
) -> Result<Value, CommandError> {
    let old = node.secret(old).await?;
    let locked = node
        .call(move |records| {
            records.change_passphrase(&old, &new.0)?;
            Ok(records.is_locked())
        })
        .await?;
    answer(LockState { locked })
}

/// Hands out the practice key, sealed under a passphrase; with `remove` it leaves this node.
pub async fn export_practice_key(
    node: &Node,
    who: Who,
    practice: PracticeSecret,
    seal: Secret,
    remove: bool,
) -> Result<Value, CommandError> {
    let practice = practice_secret(practice)?;
    let sealed = node
        .act(&who, Action::Administer, move |records, permit| {
            records.export_practice_key(permit, &practice, &seal.0, remove)
        })
        .await?;
    Ok(json!({ "sealed": sealed }))
}

/// Takes a practice key in; it stays sealed under the passphrase of its file.
pub async fn import_practice_key(
    node: &Node,
    who: Who,
    sealed: String,
    passphrase: Secret,
) -> Result<Value, CommandError> {
    node.act(&who, Action::Administer, move |records, permit| {
        records.import_practice_key(permit, &sealed, &passphrase.0)
    })
    .await?;
    Ok(json!({ "imported": true }))
}
