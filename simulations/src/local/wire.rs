//! What edits made apart cost on the wire, over real QUIC on loopback.

use super::{Outcome, node::Site, observation};
use carnet_node::access::{Action, operator_permit};
use carnet_node::base::environment::Environment;
use carnet_node::chart::{Resource, ResourceKey};
use carnet_node::records::{Handle, Owner};
use carnet_node::sync::{Network, NetworkConfig, PeerAddress, PeerOutcome};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// One node; the directory lives as long as it does.
struct Live {
    handle: Handle,
    _owner: Owner,
    _dir: tempfile::TempDir,
}

impl Live {
    fn start(site: Site) -> Self {
        let (records, dir) = site.into_parts();
        let (handle, owner) = Handle::start(records);
        Self { handle, _owner: owner, _dir: dir }
    }

    async fn network(&self, listen: bool) -> Outcome<Network> {
        let seed = self.handle.call(|r| Ok(r.keyring().transport().seed().clone())).await?;
        let listen = listen.then_some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let environment = Environment::system();
        let config = NetworkConfig { environment, transport_seed: seed, listen };
        Ok(Network::start(config, Arc::new(self.handle.clone())).await?)
    }
}

/// Edits on both sides while apart, one sync, and the bytes of it.
pub fn measure(edits: usize) -> Outcome<Value> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measured(edits))
}

async fn measured(edits: usize) -> Outcome<Value> {
    let mut here = Site::found()?;
    let permit = operator_permit(Action::Write);
    for n in 0..edits {
        let body = json!({"resourceType": "Patient", "id": format!("p{n}"), "gender": "female",
            "name": [{"family": "Diatta", "given": ["Awa"]}], "birthDate": "1987-03-02"});
        here.records.put(&permit, &Resource::from_value(body)?)?;
    }
    here.records.commit()?;
    let there = here.join(Vec::new())?;
    let (here, there) = (Live::start(here), Live::start(there));
    let first = sync(&there, &here).await?;
    let idle = sync(&there, &here).await?;
    edit(&here, edits, 0).await?;
    edit(&there, edits, edits).await?;
    let outage = sync(&there, &here).await?;
    let bytes = outage.bytes_sent + outage.bytes_received;
    let moved = outage.entries_sent + outage.entries_received;
    Ok(json!({
        "first_sync": outcome(&first), "idle": outcome(&idle), "outage": outcome(&outage),
        "bytes_per_edit": bytes as f64 / moved.max(1) as f64,
    }))
}

/// One new connection, one sync, and away.
async fn sync(from: &Live, to: &Live) -> Outcome<PeerOutcome> {
    let transport = to.handle.call(|records| Ok(records.transport_key())).await?;
    let (caller, answerer) = (from.network(false).await?, to.network(true).await?);
    let address = answerer.listening().ok_or("not listening")?.to_string();
    caller.add_peer(PeerAddress { transport, addresses: vec![address] });
    let mut outcomes = caller.sync_now(Some(vec![transport]), PATIENCE).await;
    caller.shutdown().await;
    answerer.shutdown().await;
    let outcome = outcomes.pop().ok_or("no outcome")?;
    if !outcome.in_sync {
        return Err(format!("not in sync: {:?}", outcome.error).into());
    }
    Ok(outcome)
}

/// A new observation for each patient, and one changed element of each.
async fn edit(node: &Live, edits: usize, first: usize) -> Outcome<()> {
    for n in 0..edits {
        let resource = observation(first + n, &format!("p{n}"))?;
        let key = ResourceKey::new("Patient", &format!("p{n}"))?;
        node.handle
            .call(move |records| {
                let permit = operator_permit(Action::Write);
                records.put(&permit, &resource)?;
                if first == 0 {
                    let married = json!({"text": "married"});
                    records.set_element(
                        &permit,
                        &key,
                        &[("maritalStatus".into(), Some(married))],
                    )?;
                }
                Ok(())
            })
            .await?;
    }
    Ok(())
}

fn outcome(outcome: &PeerOutcome) -> Value {
    json!({
        "entries_sent": outcome.entries_sent, "entries_received": outcome.entries_received,
        "bytes_sent": outcome.bytes_sent, "bytes_received": outcome.bytes_received,
        "seconds": outcome.seconds,
    })
}
