//! `verify`: every chain, signature, hash and decryption, and the index against the ledger.

use crate::context::{Context, Outcome, Style, typed};
use crate::session;
use crate::words::Word;
use carnet_node::service::error::ExitCode;
use carnet_node::service::reply::Verified;
use carnet_node::service::request::Request;

/// Verifies; the exit code is 1 when something does not hold.
pub async fn execute(context: &Context) -> Outcome {
    let verified: Verified = typed(session::ask(context, Request::Verify).await?)?;
    let code = if verified.ok { ExitCode::Fine } else { ExitCode::Failure };
    if context.answered(&verified)? {
        return Ok(code);
    }
    for problem in &verified.problems {
        context.line(context.paint(Style::Red, &format!("! {problem}")))?;
    }
    let gaps = [
        ("entries", verified.entries.to_string()),
        ("signatures", verified.signatures.to_string()),
        ("documents", verified.documents.to_string()),
        ("conflicts", verified.conflicts.to_string()),
    ];
    let gaps: Vec<_> = gaps.iter().map(|(name, value)| (*name, value.as_str())).collect();
    context.say(if verified.ok { Word::VerifyFine } else { Word::VerifyFailed }, &gaps)?;
    context.say(Word::DigestIs, &[("digest", &verified.state_digest)])?;
    Ok(code)
}
