//! Sessions, PINs and API tokens.

use crate::access::Action;
use crate::records::read::instant;
use crate::service::caller::Who;
use crate::service::error::CommandError;
use crate::service::node::{Node, blocking};
use crate::service::request::{LoginRequest, Secret};
use crate::vault::password::{self, is_pin, make_check};
use serde_json::{Value, json};

/// Does what is asked.
pub async fn execute(node: &Node, who: Who, request: LoginRequest) -> Result<Value, CommandError> {
    match request {
        LoginRequest::Login => {
            let actor = who.actor.clone();
            let token = node.call(move |records| records.open_session(&actor)).await?;
            Ok(json!({ "actor": who.actor.to_string(), "session": token.expose() }))
        }
        LoginRequest::Logout { session } => {
            node.call(move |records| records.close_session(session.expose())).await?;
            Ok(json!({ "session": null }))
        }
        LoginRequest::SetPin { pin } => {
            set_pin(node, &who, pin).await?;
            Ok(json!({ "actor": who.actor.to_string(), "pin": true }))
        }
        LoginRequest::Switch { session, id, pin } => switch(node, session, id, pin).await,
        LoginRequest::AddToken { id, name, scopes, patient, days } => {
            let named = id.clone();
            let secret = node
                .act(&who, Action::ManageStaff, move |records, permit| {
                    records.add_token(permit, &named, &name, &scopes, patient, days)
                })
                .await?;
            Ok(json!({ "id": id, "token": secret.expose() }))
        }
        LoginRequest::RevokeToken { id } => {
            let named = id.clone();
            node.act(&who, Action::ManageStaff, move |records, permit| {
                records.revoke_token(permit, &named)
            })
            .await?;
            Ok(json!({ "id": id, "revoked": true }))
        }
        LoginRequest::ListTokens => list_tokens(node).await,
        LoginRequest::UnlockLogin { id } => {
            let named = id.clone();
            node.act(&who, Action::ManageStaff, move |records, permit| {
                records.unlock_login(permit, &named)
            })
            .await?;
            Ok(json!({ "id": id, "locked": false }))
        }
    }
}

async fn set_pin(node: &Node, who: &Who, pin: Secret) -> Result<(), CommandError> {
    if !is_pin(pin.expose()) {
        return Err(CommandError::bad_input("a PIN has 4 to 12 digits, not all the same"));
    }
    let (environment, actor) = (node.environment.clone(), who.actor.clone());
    let id = actor.to_string();
    let check = blocking(move || make_check(&environment, &id, &pin.0)).await??;
    node.call(move |records| records.set_pin(&actor, check)).await
}

async fn switch(
    node: &Node,
    session: Secret,
    id: String,
    pin: Secret,
) -> Result<Value, CommandError> {
    let (asked, held) = (id.clone(), session.clone());
    let check = node.call(move |records| records.pin_begin(held.expose(), &asked)).await?;
    let user = id.clone();
    let right = blocking(move || password::check(&check, &user, &pin.0)).await?;
    let switched = id.clone();
    let token =
        node.call(move |records| records.pin_end(session.expose(), &switched, right)).await?;
    Ok(json!({ "actor": id, "session": token.expose() }))
}

async fn list_tokens(node: &Node) -> Result<Value, CommandError> {
    let now = node.environment.unix_ms();
    let tokens = node
        .call(move |records| {
            let programs = records.staff()?.programs();
            Ok(programs.map(|program| program.token.clone()).collect::<Vec<_>>())
        })
        .await?;
    let line = |token: crate::access::statement::Token| {
        let state = match (token.revoked, now > token.expires_ms) {
            (true, _) => "revoked",
            (_, true) => "expired",
            _ => "active",
        };
        json!({
            "id": token.id, "name": token.name, "scopes": token.scopes.to_string(),
            "patient": token.scopes.patient(), "expires": instant(token.expires_ms), "state": state,
        })
    };
    Ok(tokens.into_iter().map(line).collect())
}
