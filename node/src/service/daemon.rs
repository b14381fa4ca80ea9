//! The running node: records, network and control socket joined, until somebody ends it.

use super::commands;
use super::config::Config;
use super::control::{self, ControlSocket};
use super::error::{CommandError, ErrorKind};
use super::listening;
use super::logs;
use super::node::Node;
use super::reply::Ready;
use super::request::Opener;
use super::upkeep::{self, Rhythm};
use crate::base::environment::Environment;
use std::path::Path;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

/// Callers served at once; more wait at the socket.
const CALLERS_MAX: usize = 64;

/// What the main loop waits for.
enum Event {
    Caller(std::io::Result<UnixStream>),
    End(&'static str),
}

/// Runs the node in `dir` until SIGTERM, SIGINT or SIGHUP. `on_ready` is told once, when peers and
/// commands are answered.
pub async fn run(
    dir: &Path,
    environment: Environment,
    config: Config,
    opener: Option<Opener>,
    on_ready: impl FnOnce(&Ready),
) -> Result<(), CommandError> {
    let listen = config.sync_listen.value;
    // The node first: it holds the directory's lock, and nothing may be written there without it.
    let mut node = Node::open(dir, environment, config).await?;
    let _logging = logs::start(dir, &node.config)?;
    node.running = true;
    let started = async {
        if let Some(opener) = opener {
            node.unlock(opener).await?;
        }
        node.network(listen).await?;
        let control = ControlSocket::bind(dir).map_err(|error| CommandError::file(&error, dir))?;
        Ok(control)
    };
    let control = match started.await {
        Ok(control) => control,
        Err(error) => {
            node.close().await;
            return Err(error);
        }
    };
    // Before anybody is told that it is ready, and may want to end it.
    let signals = Signals::catch()?;
    let ready = ready(&node).await;
    tracing::info!(locked = ready.locked, "ready");
    on_ready(&ready);
    serve(Arc::new(node), control, signals).await;
    Ok(())
}

async fn ready(node: &Node) -> Ready {
    let address = node.started_network().and_then(|network| network.listening());
    if let Some(address) = address
        && let Err(error) = listening::remember(&node.dir, &listening::reachable(address))
    {
        tracing::warn!(%error, "the addresses could not be kept");
    }
    let id = node.call(|records| Ok(records.keyring().node().to_string())).await;
    Ready {
        listening: address.iter().map(ToString::to_string).collect(),
        locked: node.is_locked().await,
        node: id.unwrap_or_default(),
    }
}

/// The signals that end a node cleanly.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> Result<Self, CommandError> {
        let catch =
            |kind| signal(kind).map_err(|error| CommandError::new(ErrorKind::Failure, error));
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

async fn serve(node: Arc<Node>, control: ControlSocket, mut signals: Signals) {
    let mut tasks = JoinSet::new();
    tasks.spawn(upkeep::keep_compact(node.clone(), Rhythm::default()));
    loop {
        while tasks.len() > CALLERS_MAX {
            tasks.join_next().await;
        }
        let event = tokio::select! {
            caller = control.accept() => Event::Caller(caller),
            signal = signals.next() => Event::End(signal),
        };
        match event {
            Event::Caller(Ok(stream)) => {
                tasks.spawn(answer(node.clone(), stream));
            }
            Event::Caller(Err(error)) => tracing::warn!(%error, "a caller was lost"),
            Event::End(signal) => {
                tracing::info!(signal, "ending");
                break;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
    // No caller finds a node that is about to end.
    drop(control);
    tasks.shutdown().await;
    if let Some(node) = Arc::into_inner(node) {
        node.close().await;
    }
}

async fn answer(node: Arc<Node>, stream: UnixStream) {
    let execute = |request, reporter| commands::execute(&node, request, reporter);
    if let Err(error) = control::serve(stream, execute).await {
        tracing::debug!(%error, "a caller went away");
    }
}
