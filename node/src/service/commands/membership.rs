//! Who belongs to the practice: invitations, request files, revocation.

use super::answer;
use crate::access::Action;
use crate::identity::EnrolmentRequest;
use crate::records::membership::{Invite, NodeRow, PracticeSecret};
use crate::records::read::instant;
use crate::service::caller::Who;
use crate::service::create::sound_site;
use crate::service::error::{CommandError, ErrorKind};
use crate::service::listening;
use crate::service::node::Node;
use crate::service::reply::{Approved, Invited, NodeLine};
use crate::service::request::{self, RevokeAction};
use carnet_sync_protocol::certificate::{Capabilities, RevocationKind, Role};
use carnet_sync_protocol::id::NodeId;
use serde_json::Value;

/// How long the grant inside an answered request file is good for.
pub const APPROVAL_HOURS: u32 = 1;

/// What an invitation shall offer.
pub struct Wish {
    /// The new node's site.
    pub site: String,
    /// `clinic` or `relay`.
    pub role: String,
    /// Whether the new node may admit others.
    pub admit: bool,
    /// Where this node answers.
    pub addresses: Vec<String>,
    /// For how many hours.
    pub hours: u32,
}

/// Makes a one-use invitation.
pub async fn invite(
    node: &Node,
    who: Who,
    wish: Wish,
    practice: Option<request::PracticeSecret>,
) -> Result<Value, CommandError> {
    sound_site(&wish.site)?;
    let (site, role) = (wish.site.clone(), wish.role.clone());
    let invite = offer(node, wish, practice)?;
    if invite.addresses.is_empty() {
        return Err(CommandError::bad_input("the new node would not know where to call this one")
            .advise("Start `carnet run --sync-listen ADDRESS:PORT`, or name --address HOST:PORT"));
    }
    let invitation = node
        .act(&who, Action::Administer, move |records, permit| records.invite(permit, invite))
        .await?;
    let expires = instant(invitation.expires_ms);
    answer(Invited { invitation: invitation.to_text(), site, role, expires })
}

/// Answers a request that came as a file.
pub async fn approve(
    node: &Node,
    who: Who,
    request: String,
    wish: Wish,
    practice: Option<request::PracticeSecret>,
) -> Result<Value, CommandError> {
    let request = EnrolmentRequest::from_text(request.trim()).map_err(CommandError::bad_input)?;
    if !wish.site.is_empty() {
        sound_site(&wish.site)?;
    }
    let invite = offer(node, wish, practice)?;
    let approved = node
        .act(&who, Action::Administer, move |records, permit| {
            records.approve(permit, &request, invite)
        })
        .await?;
    answer(Approved { answer: approved.to_text() })
}

fn offer(
    node: &Node,
    wish: Wish,
    practice: Option<request::PracticeSecret>,
) -> Result<Invite, CommandError> {
    let role = match wish.role.as_str() {
        "clinic" => Role::Clinic,
        "relay" => Role::Relay,
        _ => return Err(CommandError::bad_input("expected clinic or relay").at(wish.role)),
    };
    let clinic = role == Role::Clinic;
    let addresses =
        if wish.addresses.is_empty() { listening::announced(node) } else { wish.addresses };
    Ok(Invite {
        site: wish.site,
        role,
        capabilities: Capabilities { admit: wish.admit, restricted: clinic, audit: clinic },
        addresses,
        valid_ms: u64::from(wish.hours) * 3_600_000,
        practice: practice.map(practice_secret).transpose()?,
    })
}

/// What opens the practice key, as the records take it.
pub fn practice_secret(secret: request::PracticeSecret) -> Result<PracticeSecret, CommandError> {
    Ok(match secret {
        request::PracticeSecret::Passphrase(passphrase) => PracticeSecret::Passphrase(passphrase.0),
        request::PracticeSecret::RecoveryCode(code) => {
            PracticeSecret::RecoveryCode(code.expose().parse()?)
        }
    })
}

/// The practice's nodes.
pub async fn list(node: &Node) -> Result<Value, CommandError> {
    let rows = node.call(|records| Ok(records.nodes())).await?;
    answer(rows.into_iter().map(line).collect::<Vec<_>>())
}

/// `active`, `expired`, `suspended`, `revoked` or `unattested`.
pub const fn state(row: &NodeRow) -> &'static str {
    match row.standing.as_bytes() {
        b"active" if row.expired => "expired",
        _ => row.standing,
    }
}

fn line(row: NodeRow) -> NodeLine {
    let state = state(&row);
    NodeLine {
        node: row.node,
        site: row.site,
        role: row.role.to_owned(),
        state: state.to_owned(),
        expires: row.expires,
        this: row.this_node,
    }
}

/// Puts a node out, or lets it in again.
pub async fn revoke(
    node: &Node,
    who: Who,
    named: String,
    action: RevokeAction,
    dry_run: bool,
    practice: Option<request::PracticeSecret>,
) -> Result<Value, CommandError> {
    let found = find(node, &named).await?;
    if dry_run {
        return answer(found);
    }
    let id: NodeId =
        found.node.parse().map_err(|error| CommandError::new(ErrorKind::Failure, error))?;
    let kind = match action {
        RevokeAction::Revoke => RevocationKind::Revoke,
        RevokeAction::Suspend => RevocationKind::Suspend,
        RevokeAction::Reinstate => RevocationKind::Reinstate,
    };
    let practice = practice.map(practice_secret).transpose()?;
    let transport = node
        .act(&who, Action::Administer, move |records, permit| {
            records.set_standing(permit, &id, kind, practice.as_ref())?;
            Ok(records.roster().shown_certificate(&id).map(|known| known.body.keys.transport))
        })
        .await?;
    if let Some(transport) = transport.filter(|_| action != RevokeAction::Reinstate) {
        node.drop_link(&transport);
    }
    answer(find(node, &found.node).await?)
}

/// Gives a node, this one if none is named, a new certificate.
pub async fn renew(
    node: &Node,
    who: Who,
    named: Option<String>,
    practice: Option<request::PracticeSecret>,
) -> Result<Value, CommandError> {
    let named = match named {
        Some(named) => named,
        None => node.call(|records| Ok(records.keyring().node().to_string())).await?,
    };
    let found = find(node, &named).await?;
    let id: NodeId =
        found.node.parse().map_err(|error| CommandError::new(ErrorKind::Failure, error))?;
    let practice = practice.map(practice_secret).transpose()?;
    node.act(&who, Action::Administer, move |records, permit| {
        records.renew(permit, &id, practice.as_ref())
    })
    .await?;
    answer(find(node, &found.node).await?)
}

/// The one node of this site, or whose id begins so.
pub async fn find(node: &Node, named: &str) -> Result<NodeLine, CommandError> {
    let rows = node.call(|records| Ok(records.nodes())).await?;
    one_of(rows.into_iter().map(line).collect(), named)
}

fn one_of(rows: Vec<NodeLine>, named: &str) -> Result<NodeLine, CommandError> {
    let same = |row: &NodeLine| {
        row.site.to_lowercase() == named.to_lowercase()
            || (named.len() >= 4 && row.node.starts_with(&named.to_lowercase()))
    };
    let mut found: Vec<NodeLine> = rows.into_iter().filter(same).collect();
    match (found.pop(), found.is_empty()) {
        (Some(row), true) => Ok(row),
        (None, _) => Err(CommandError::not_found("no node of this site or id")
            .at(named)
            .advise("`carnet node list` shows them")),
        (Some(_), false) => Err(CommandError::bad_input("several nodes are called so")
            .at(named)
            .advise("Name the node id: `carnet node list`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(site: &str, node: &str) -> NodeLine {
        NodeLine {
            node: node.into(),
            site: site.into(),
            role: "clinic".into(),
            state: "active".into(),
            expires: String::new(),
            this: false,
        }
    }

    #[test]
    fn a_node_is_named_by_its_site_or_the_beginning_of_its_id() {
        let rows = || vec![row("Sédhiou", "aabbcc"), row("Kolda", "aabbdd"), row("Kolda", "ff00")];
        assert_eq!(one_of(rows(), "sédhiou").expect("found").node, "aabbcc");
        assert_eq!(one_of(rows(), "aabbd").expect("found").site, "Kolda");
        assert_eq!(one_of(rows(), "aabb").expect_err("two").kind, ErrorKind::BadInput);
        assert_eq!(one_of(rows(), "Kolda").expect_err("two").kind, ErrorKind::BadInput);
        assert_eq!(one_of(rows(), "ff").expect_err("too short").kind, ErrorKind::NotFound);
    }
}
