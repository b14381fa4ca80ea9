//! Whom a command asks: the node that runs on the directory, or, when none does, the store itself,
//! opened under its lock in this process.

use crate::context::{Context, Failure};
use crate::progress;
use crate::secrets;
use crate::words::Word;
use carnet_node::service::commands;
use carnet_node::service::control::Client;
use carnet_node::service::error::{CommandError, ErrorKind};
use carnet_node::service::node::Node;
use carnet_node::service::report;
use carnet_node::service::request::{Opener, Request};
use serde_json::Value;

/// See the head of the file.
pub enum Session {
    /// A node runs; each request is a call of its own.
    Running,
    /// None runs; this process holds the directory.
    Here(Box<Node>),
}

impl Session {
    /// Finds the running node, or opens the store.
    pub async fn open(context: &Context) -> Result<Self, Failure> {
        if Client::connect(&context.dir).await?.is_some() {
            return Ok(Self::Running);
        }
        let config = context.config()?;
        let passphrase_file = config.passphrase_file.value.clone();
        let node = Node::open(&context.dir, context.environment.clone(), config).await?;
        if node.is_locked().await
            && let Some(path) = passphrase_file
        {
            node.unlock(Opener::Passphrase(secrets::from_file(&path)?)).await?;
        }
        Ok(Self::Here(Box::new(node)))
    }

    /// Asks, and waits for the whole answer.
    pub async fn ask(&self, context: &Context, request: Request) -> Result<Value, Failure> {
        self.stream(context, request, |_| Ok(())).await
    }

    /// Asks, and hands over the parts of a long answer as they come.
    pub async fn stream(
        &self,
        context: &Context,
        request: Request,
        on_item: impl FnMut(Value) -> Result<(), Failure>,
    ) -> Result<Value, Failure> {
        let (reporter, reports) = report::channel();
        let work = async move {
            match self {
                Self::Running => {
                    let gone = || CommandError::new(ErrorKind::Failure, "the node has just ended");
                    let client = Client::connect(&context.dir).await?.ok_or_else(gone)?;
                    Ok::<_, Failure>(client.ask(context.asked(request)?, &reporter).await?)
                }
                Self::Here(node) => {
                    if request.needs_unlock() {
                        self.open_charts(context, node).await?;
                    }
                    Ok(commands::execute(node, context.asked(request)?, reporter).await?)
                }
            }
        };
        let watched = progress::watch(context, reports, on_item);
        let (reply, watched) = tokio::join!(work, watched);
        watched?;
        reply
    }

    /// Without a running node there is nobody who was unlocked before: ask now.
    async fn open_charts(&self, context: &Context, node: &Node) -> Result<(), Failure> {
        if node.is_locked().await && context.can_ask() && node.has_passphrase().await {
            let passphrase = secrets::ask(context, Word::PassphrasePrompt)?;
            node.unlock(Opener::Passphrase(passphrase)).await?;
        }
        Ok(())
    }

    /// Lets go of the directory.
    pub async fn close(self) {
        if let Self::Here(node) = self {
            node.close().await;
        }
    }
}

/// Asks one thing and is done.
pub async fn ask(context: &Context, request: Request) -> Result<Value, Failure> {
    let session = Session::open(context).await?;
    let reply = session.ask(context, request).await;
    session.close().await;
    reply
}
