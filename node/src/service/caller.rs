//! Who calls: the operator, or somebody who proves who they are with each command.

use super::error::{CommandError, ErrorKind};
use super::node::{Node, blocking};
use super::request::Caller;
use crate::access::{Action, Actor, Permit, Purpose};
use crate::records::{Records, RecordsError};
use crate::vault::password;

/// Somebody whose word was checked.
#[derive(Clone, Debug)]
pub struct Who {
    /// Who.
    pub actor: Actor,
    /// Why they say they act; what is usual for their role, where they say nothing.
    pub purpose: Option<Purpose>,
}

impl Who {
    /// Whoever owns the directory.
    pub const fn operator() -> Self {
        Self { actor: Actor::Operator, purpose: None }
    }

    /// Leave to do this, or why not.
    pub fn permit(&self, records: &mut Records, action: Action) -> Result<Permit, RecordsError> {
        // What is no matter of charts has one purpose, whatever the charts are opened for.
        let of_charts = !matches!(
            action,
            Action::Operate | Action::Administer | Action::ManageStaff | Action::Emergency
        );
        records.authorize(&self.actor, action, self.purpose.filter(|_| of_charts))
    }
}

/// Finds out who calls.
pub async fn identify(
    node: &Node,
    caller: Caller,
    purpose: Option<String>,
) -> Result<Who, CommandError> {
    let purpose = match purpose {
        None => None,
        Some(code) => Some(Purpose::of_code(&code).ok_or_else(|| {
            CommandError::bad_input("no such purpose")
                .at(format!("--purpose {code}"))
                .advise("One of TREAT, ETREAT, HPAYMT, HOPERAT, PUBHLTH, PATRQT")
        })?),
    };
    let actor = match caller {
        Caller::Operator => Actor::Operator,
        Caller::Token(token) => {
            node.call(move |records| records.token_actor(token.expose())).await?
        }
        Caller::Session { token, id } => {
            let actor = node.call(move |records| records.session_actor(token.expose())).await?;
            if id.is_some_and(|id| actor != Actor::Staff(id)) {
                return Err(CommandError::new(
                    ErrorKind::Denied,
                    "the session of this device is another person's",
                )
                .advise("Log in with `carnet login ID`, or name --password-file"));
            }
            actor
        }
        Caller::Password { id, password } => {
            let asked = id.clone();
            let check = node.call(move |records| records.login_begin(&asked)).await?;
            let (user, password, right) = blocking(move || {
                let right = password::check(&check, &id, &password.0);
                (id, password, right)
            })
            .await?;
            node.call(move |records| {
                let actor = records.login_end(&user, right)?;
                records.let_unlock(&user, &password.0)?;
                Ok(actor)
            })
            .await?
        }
    };
    Ok(Who { actor, purpose })
}
