//! `sync`: reconcile with every reachable peer, and wait until it is done.

use crate::context::{Context, Outcome, Style, typed};
use crate::session;
use crate::words::Word;
use carnet_node::service::error::{ErrorKind, ExitCode};
use carnet_node::service::reply::Synced;
use carnet_node::service::request::Request;

/// Arguments of `sync`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// One peer only: its site, node id or address
    peer: Option<String>,
    /// Give up on a peer after so many seconds without progress
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u32,
}

/// Syncs.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    let request = Request::Sync { peer: arguments.peer.clone(), timeout_s: arguments.timeout };
    let synced: Synced = typed(session::ask(context, request).await?)?;
    // A peer that is away is no fault; one that refuses is, and one that was asked for by name.
    let code = match (&arguments.peer, synced.peers.is_empty()) {
        _ if synced.unreached.iter().any(|peer| peer.kind != ErrorKind::Unreachable) => {
            ExitCode::Denied
        }
        _ if synced.peers.iter().any(|peer| !peer.in_sync) => ExitCode::Partial,
        (Some(_), true) => ExitCode::Failure,
        _ => ExitCode::Fine,
    };
    if context.answered(&synced)? {
        return Ok(code);
    }
    for peer in &synced.peers {
        let gaps = [
            ("site", peer.site.as_str()),
            ("sent", &peer.entries_sent.to_string()),
            ("received", &peer.entries_received.to_string()),
            ("bytes", &bytes(peer.bytes_sent + peer.bytes_received)),
            ("seconds", &format!("{:.1}", peer.seconds)),
        ];
        context.line(context.paint(Style::Green, &context.words.fill(Word::SyncedWith, &gaps)))?;
        if let Some(receipt) = &peer.receipt {
            let short: String = receipt.chars().take(16).collect();
            context.say(Word::ReceiptIs, &[("receipt", &short)])?;
        }
    }
    for peer in &synced.unreached {
        let gaps = [("site", peer.site.as_str()), ("reason", &peer.reason)];
        context.line(context.paint(Style::Dim, &context.words.fill(Word::SyncAway, &gaps)))?;
    }
    if synced.peers.is_empty() && synced.unreached.is_empty() {
        context.say(Word::NoPeers, &[])?;
    }
    Ok(code)
}

/// So many bytes, for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{} kB", count / 1000),
        _ => format!("{} MB", count / 1_000_000),
    }
}
