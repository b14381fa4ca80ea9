//! `node list|revoke|renew`: the practice's nodes.

use super::status::clock;
use crate::context::{Context, Failure, Outcome, Style, typed};
use crate::secrets::{self, PracticeArguments};
use crate::session::{self, Session};
use crate::words::Word;
use carnet_node::service::error::ExitCode;
use carnet_node::service::reply::NodeLine;
use carnet_node::service::request::{Request, RevokeAction};

/// Nodes of the practice.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the nodes
    List,
    /// End what a node may do, for good or for a while
    Revoke(Revoke),
    /// Give a node a new certificate, before or after the old one has expired
    Renew {
        /// Its site or node id, or a beginning of it; this node if none is named
        node: Option<String>,
        #[command(flatten)]
        practice: PracticeArguments,
    },
}

/// Arguments of `node revoke`.
#[derive(Debug, clap::Args)]
pub struct Revoke {
    /// Its site or node id, or a beginning of it
    node: String,
    /// Only until it is reinstated; any administrator may do this, without the practice key
    #[arg(long, conflicts_with = "reinstate")]
    suspend: bool,
    /// End a suspension
    #[arg(long)]
    reinstate: bool,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    practice: PracticeArguments,
}

/// Does it.
pub async fn execute(context: &Context, command: Command) -> Outcome {
    match command {
        Command::List => {
            let nodes: Vec<NodeLine> = typed(session::ask(context, Request::NodeList).await?)?;
            list(context, &nodes)
        }
        Command::Revoke(arguments) => revoke(context, arguments).await,
        Command::Renew { node, practice } => {
            let request = Request::NodeRenew { node, practice: practice.secret()? };
            let node: NodeLine = typed(session::ask(context, request).await?)?;
            if !context.answered(&node)? {
                let expires = clock(&node.expires, context.environment.unix_ms());
                let gaps = [("site", node.site.as_str()), ("expires", &expires)];
                context.say(Word::RenewDone, &gaps)?;
            }
            Ok(ExitCode::Fine)
        }
    }
}

fn list(context: &Context, nodes: &[NodeLine]) -> Outcome {
    if context.answered(&nodes)? {
        return Ok(ExitCode::Fine);
    }
    for node in nodes {
        let state = match node.state.as_str() {
            "active" => context.paint(Style::Green, context.words.text(Word::StateActive)),
            "expired" => context.paint(Style::Yellow, context.words.text(Word::StateExpired)),
            "suspended" => context.paint(Style::Yellow, context.words.text(Word::StateSuspended)),
            "unattested" => context.paint(Style::Red, context.words.text(Word::StateUnattested)),
            _ => context.paint(Style::Red, context.words.text(Word::StateRevoked)),
        };
        let this = if node.this { context.words.text(Word::ThisNode) } else { "" };
        let id: String = node.node.chars().take(16).collect();
        context.line(format!("{:<24} {:<7} {id} {state} {this}", node.site, node.role))?;
    }
    Ok(ExitCode::Fine)
}

async fn revoke(context: &Context, arguments: Revoke) -> Outcome {
    let action = match (arguments.suspend, arguments.reinstate) {
        (true, _) => RevokeAction::Suspend,
        (_, true) => RevokeAction::Reinstate,
        _ => RevokeAction::Revoke,
    };
    let practice = arguments.practice.secret()?;
    let request = |dry_run| Request::NodeRevoke {
        node: arguments.node.clone(),
        action,
        dry_run,
        practice: practice.clone(),
    };
    let session = Session::open(context).await?;
    let outcome: Result<(NodeLine, bool), Failure> = async {
        let found: NodeLine = typed(session.ask(context, request(true)).await?)?;
        if arguments.dry_run {
            return Ok((found, false));
        }
        if action == RevokeAction::Revoke {
            let gaps = [("site", found.site.as_str()), ("node", &found.node)];
            let prompt = context.words.fill(Word::RevokeAsk, &gaps);
            secrets::confirm(context, &prompt, arguments.yes || context.json)?;
        }
        Ok((typed(session.ask(context, request(false)).await?)?, true))
    }
    .await;
    session.close().await;
    let (node, done) = outcome?;
    if context.answered(&node)? {
        return Ok(ExitCode::Fine);
    }
    let gaps = [("site", node.site.as_str()), ("node", &node.node)];
    let word = match (done, action) {
        (false, _) => Word::RevokeDryRun,
        (_, RevokeAction::Revoke) => Word::RevokeDone,
        (_, RevokeAction::Suspend) => Word::SuspendDone,
        (_, RevokeAction::Reinstate) => Word::ReinstateDone,
    };
    context.say(word, &gaps)?;
    Ok(ExitCode::Fine)
}
