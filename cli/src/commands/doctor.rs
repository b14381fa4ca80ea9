//! `doctor`: looks for trouble and says what to do; changes nothing.

use crate::context::{Context, Outcome, Style};
use carnet_node::service::doctor;
use carnet_node::service::error::ExitCode;
use carnet_node::service::reply::CheckStatus;

/// Examines the directory, and the node that runs on it if one does.
pub async fn execute(context: &Context) -> Outcome {
    let checks = doctor::examine(&context.dir, &context.environment, context.config()).await;
    let failed = checks.iter().any(|check| check.status == CheckStatus::Failed);
    let code = if failed { ExitCode::Failure } else { ExitCode::Fine };
    if context.answered(&checks)? {
        return Ok(code);
    }
    for check in &checks {
        let mark = match check.status {
            CheckStatus::Ok => context.paint(Style::Green, "ok     "),
            CheckStatus::Warning => context.paint(Style::Yellow, "warning"),
            CheckStatus::Failed => context.paint(Style::Red, "failed "),
        };
        context.line(format!("{mark} {:<12} {}", check.name, check.detail))?;
        if !check.fix.is_empty() {
            context.line(format!("{:20} -> {}", "", check.fix))?;
        }
    }
    Ok(code)
}
