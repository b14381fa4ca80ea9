//! Whom this node calls, and a sync that somebody waits for.

use super::answer;
use super::membership::{find, state};
use crate::records::membership::NodeRow;
use crate::records::read::instant;
use crate::records::status::PeerStatus;
use crate::service::error::{CommandError, ErrorKind};
use crate::service::node::Node;
use crate::service::reply::{Peer, Synced, SyncedPeer, Unreached};
use crate::service::report::Reporter;
use crate::sync::{PeerAddress, PeerOutcome};
use carnet_sync_protocol::id::{NodeId, TransportKey};
use serde_json::Value;
use std::time::Duration;

/// Remembers a peer, and calls it at once where the node runs.
pub async fn add(
    node: &Node,
    address: String,
    named: Option<String>,
) -> Result<Value, CommandError> {
    let peer = resolve(node, &address, named.as_deref()).await?;
    let (transport, added) = (peer.transport, peer.addresses.clone());
    let addresses = node
        .call(move |records| {
            let known = records.peers()?.into_iter().find(|known| known.transport == transport);
            let mut addresses = known.map(|known| known.addresses).unwrap_or_default();
            addresses.retain(|address| !added.contains(address));
            addresses.splice(..0, added);
            records.put_peer(transport, None, addresses.clone())?;
            Ok(addresses)
        })
        .await?;
    if let Some(network) = node.started_network() {
        network.add_peer(PeerAddress { transport, addresses });
    }
    list(node).await
}

/// Forgets a peer.
pub async fn remove(node: &Node, named: String) -> Result<Value, CommandError> {
    let transport = known(node, &named).await?;
    node.call(move |records| records.remove_peer(&transport)).await?;
    if let Some(network) = node.started_network() {
        network.remove_peer(&transport);
    }
    list(node).await
}

/// Lists the peers.
pub async fn list(node: &Node) -> Result<Value, CommandError> {
    let (held, nodes) = node.call(|records| Ok((records.status()?, records.nodes()))).await?;
    answer(lines(node, held.peers, &nodes))
}

/// What the ledger knows of the peers, with what the links know.
pub fn lines(node: &Node, held: Vec<PeerStatus>, nodes: &[NodeRow]) -> Vec<Peer> {
    let links = node.started_network().map(|network| network.status()).unwrap_or_default();
    let line = |peer: PeerStatus| {
        let link = links.iter().find(|link| link.transport.to_string() == peer.transport);
        // Both are UTC in one form, so that the later one is the greater text.
        let met = link.and_then(|link| link.last_sync_unix_ms).map(instant);
        let known = nodes.iter().find(|row| Some(&row.node) == peer.node.as_ref());
        Peer {
            site: peer.site,
            state: known.map(state).unwrap_or_default().to_owned(),
            node: peer.node.unwrap_or_default(),
            addresses: peer.addresses,
            connected: link.is_some_and(|link| link.connected),
            to_send: peer.to_send,
            to_receive: peer.to_receive,
            last_sync: peer.last_sync.max(met),
        }
    };
    held.into_iter().map(line).collect()
}

/// Reconciles with the peers, and waits until it is done.
pub async fn sync(
    node: &Node,
    named: Option<String>,
    timeout_s: u32,
    reporter: &Reporter,
) -> Result<Value, CommandError> {
    let only = match named {
        Some(named) => Some(vec![known(node, &named).await?]),
        None => None,
    };
    reporter.step("sync", 0, None);
    let network = node.network(None).await?;
    let patience = Duration::from_secs(u64::from(timeout_s));
    let outcomes = network.sync_now(only, patience).await;
    let held = node.call(|records| records.peers()).await?;
    let site = |key: &TransportKey| {
        let peer = held.iter().find(|peer| peer.transport == *key);
        peer.map(|peer| peer.site.clone()).filter(|site| !site.is_empty())
    };
    answer(synced(outcomes, site))
}

fn synced(
    outcomes: Vec<PeerOutcome>,
    remembered: impl Fn(&TransportKey) -> Option<String>,
) -> Synced {
    let mut synced = Synced::default();
    for outcome in outcomes {
        let moved = outcome.entries_sent + outcome.entries_received > 0;
        match &outcome.error {
            // What did move is told, also when the time was up or the line broke.
            Some(error) if !outcome.in_sync && !moved => {
                let site = outcome.site.clone().or_else(|| remembered(&outcome.transport));
                synced.unreached.push(Unreached {
                    site: site.unwrap_or_else(|| outcome.transport.to_string()),
                    kind: CommandError::from(error.clone()).kind,
                    reason: error.to_string(),
                });
            }
            _ => synced.peers.push(synced_peer(&outcome)),
        }
    }
    synced
}

/// A sync with one peer, as it is told.
pub fn synced_peer(outcome: &PeerOutcome) -> SyncedPeer {
    SyncedPeer {
        site: outcome.site.clone().unwrap_or_default(),
        node: outcome.node.map(|node| node.to_string()).unwrap_or_default(),
        entries_sent: outcome.entries_sent,
        entries_received: outcome.entries_received,
        bytes_sent: outcome.bytes_sent,
        bytes_received: outcome.bytes_received,
        seconds: outcome.seconds,
        receipt: outcome.receipt.map(|receipt| receipt.to_string()),
        in_sync: outcome.in_sync,
    }
}

/// A peer that is remembered, by its address, site, or the beginning of its node id.
async fn known(node: &Node, named: &str) -> Result<TransportKey, CommandError> {
    let wanted = named.to_lowercase();
    let peers = node.call(|records| records.peers()).await?;
    let same = |peer: &crate::store::peers::Peer| {
        let id = peer.node.map(|node| node.to_string()).unwrap_or_default();
        peer.site.to_lowercase() == wanted
            || peer.addresses.iter().any(|address| address == named)
            || (wanted.len() >= 4
                && (id.starts_with(&wanted) || peer.transport.to_string().starts_with(&wanted)))
    };
    let found: Vec<TransportKey> =
        peers.iter().filter(|peer| same(peer)).map(|peer| peer.transport).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(CommandError::not_found("no such peer is remembered")
            .at(named)
            .advise("`carnet peer list` shows them, `carnet peer add` adds one")),
        _ => Err(CommandError::bad_input("several peers are called so")
            .at(named)
            .advise("Name the address: `carnet peer list`")),
    }
}

/// Whom `[NODE@]HOST:PORT` means. A call is pinned to a key, so the node must be one of the
/// practice's; where only one other is known, it need not be named.
pub async fn resolve(
    node: &Node,
    text: &str,
    named: Option<&str>,
) -> Result<PeerAddress, CommandError> {
    let (named, address) = match text.rsplit_once('@') {
        Some((before, address)) => (Some(before), address),
        None => (named, text),
    };
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none() {
        return Err(CommandError::bad_input("expected HOST:PORT").at(text));
    }
    let addresses = vec![address.to_owned()];
    if named.is_none()
        && let Ok(transport) = known(node, address).await
    {
        return Ok(PeerAddress { transport, addresses });
    }
    let found = match named {
        Some(named) => find(node, named).await?.node,
        None => only_other(node).await?,
    };
    let id: NodeId = found.parse().map_err(|error| CommandError::new(ErrorKind::Failure, error))?;
    let transport = node
        .call(move |records| {
            Ok(records.roster().certificate(&id).map(|known| known.body.keys.transport))
        })
        .await?
        .ok_or_else(|| CommandError::not_found("its certificate has not arrived yet").at(text))?;
    Ok(PeerAddress { transport, addresses })
}

async fn only_other(node: &Node) -> Result<String, CommandError> {
    let rows = node.call(|records| Ok(records.nodes())).await?;
    let mut others = rows.into_iter().filter(|row| !row.this_node && row.standing == "active");
    match (others.next(), others.next()) {
        (Some(one), None) => Ok(one.node),
        (None, _) => Err(CommandError::not_found("no other node of the practice is known yet")
            .advise("Invite one with `carnet invite`")),
        _ => Err(CommandError::bad_input("which node answers there?")
            .advise("Name it: `carnet peer add HOST:PORT --node SITE`")),
    }
}
