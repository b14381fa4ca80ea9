//! `run`: the node itself, in the foreground.

use crate::context::{Context, Failure, Outcome};
use crate::secrets;
use crate::words::Word;
use carnet_node::service::config::{Config, Flags};
use carnet_node::service::daemon;
use carnet_node::service::error::ExitCode;
use carnet_node::service::reply::Ready;
use carnet_node::service::request::Opener;
use std::net::SocketAddr;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Address and port on which peers are answered; without it the node only calls
    #[arg(long, value_name = "ADDRESS:PORT")]
    sync_listen: Option<SocketAddr>,
    /// Peer to call, beside those that the node remembers: HOST:PORT, or NODE@HOST:PORT
    #[arg(long, value_name = "PEER")]
    peer: Vec<String>,
}

/// Runs until SIGTERM or Ctrl-C.
pub async fn execute(context: &Context, arguments: Arguments) -> Outcome {
    let Arguments { sync_listen, peer } = arguments;
    let flags = Flags {
        sync_listen,
        sync_peers: (!peer.is_empty()).then_some(peer),
        ..context.flags.clone()
    };
    let config = Config::load(&context.dir, flags, &|name| std::env::var(name).ok())?;
    let opener = match &config.passphrase_file.value {
        Some(path) => Some(Opener::Passphrase(secrets::from_file(path)?)),
        None => None,
    };
    let mut closed = None;
    let environment = context.environment.clone();
    daemon::run(&context.dir, environment, config, opener, |ready| {
        closed = announce(context, ready).err();
    })
    .await?;
    match closed {
        Some(Failure::Command(error)) => Err(error.into()),
        // The service manager closed our output; that is its right, and the node ran on.
        _ => Ok(ExitCode::Fine),
    }
}

fn announce(context: &Context, ready: &Ready) -> Result<(), Failure> {
    if ready.locked {
        context.note(Word::RunLocked, &[]);
    }
    if context.json {
        return context.print_json(&serde_json::json!({ "ready": ready }));
    }
    // `ready` is for scripts, in every language.
    let line = ["ready".to_owned()].into_iter().chain(ready.listening.iter().cloned());
    context.line(line.collect::<Vec<_>>().join(" "))
}
