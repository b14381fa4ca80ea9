//! `peer add|remove|list`: whom this node calls.

use super::status::peer_line;
use crate::context::{Context, Outcome, typed};
use crate::session;
use crate::words::Word;
use carnet_node::service::error::ExitCode;
use carnet_node::service::reply::Peer;
use carnet_node::service::request::Request;

/// Peers that this node calls.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Remember a peer
    Add {
        /// Where it answers: HOST:PORT
        address: String,
        /// Its site or node id, as `node list` shows it [default: the only other node]
        #[arg(long)]
        node: Option<String>,
    },
    /// Forget a peer; what was received from it stays
    Remove {
        /// Its address, site or node id
        peer: String,
    },
    /// List the peers
    List,
}

/// Does it.
pub async fn execute(context: &Context, command: Command) -> Outcome {
    let (request, word) = match command {
        Command::Add { address, node } => {
            (Request::PeerAdd { address, node }, Some(Word::PeerAdded))
        }
        Command::Remove { peer } => (Request::PeerRemove { peer }, Some(Word::PeerRemoved)),
        Command::List => (Request::PeerList, None),
    };
    let peers: Vec<Peer> = typed(session::ask(context, request).await?)?;
    if context.answered(&peers)? {
        return Ok(ExitCode::Fine);
    }
    if let Some(word) = word {
        context.say(word, &[])?;
    }
    for peer in &peers {
        peer_line(context, peer)?;
        for address in &peer.addresses {
            context.line(format!("    {address}"))?;
        }
    }
    if peers.is_empty() {
        context.say(Word::NoPeers, &[])?;
    }
    Ok(ExitCode::Fine)
}
