//! `staff`: who works here, and in which roles.

use crate::context::{Context, Failure, Outcome, Style};
use crate::secrets;
use crate::session;
use crate::words::Word;
use carnet_node::access::{Action, Class, Role, Tightening, policy};
use carnet_node::service::error::ExitCode;
use carnet_node::service::request::{LoginRequest, Request, StaffChange, StaffRequest};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Who works here.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a member of staff
    Add(Add),
    /// List the members of staff
    List,
    /// Give somebody other roles
    SetRole {
        /// The user id
        id: String,
        /// A role; several with commas, or --role again
        #[arg(long = "role", value_name = "ROLE", required = true, value_delimiter = ',')]
        roles: Vec<String>,
    },
    /// Change somebody's name, sites or rights
    Set(Set),
    /// Let somebody work no longer, here now and elsewhere after the next sync
    Suspend {
        /// The user id
        id: String,
    },
    /// Let somebody work again
    Reinstate {
        /// The user id
        id: String,
    },
    /// Set somebody's password and let them in again
    Reset(Reset),
    /// Let somebody try again who was locked on this device after too many wrong passwords
    Unlock {
        /// The user id
        id: String,
    },
    /// Print the role table: who may do what
    Roles,
    /// Say whether the operator may open charts though there is an administrator
    OperatorCharts {
        /// allow or refuse
        #[arg(value_parser = ["allow", "refuse"])]
        choice: String,
    },
}

/// Arguments of `staff add`.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// The user id: a-z, 0-9, dots and hyphens
    id: String,
    /// The name that others see
    #[arg(long)]
    name: String,
    /// A role; several with commas, or --role again
    #[arg(long = "role", value_name = "ROLE", required = true, value_delimiter = ',')]
    roles: Vec<String>,
    /// Works at this site only; may be given again
    #[arg(long = "site", value_name = "SITE")]
    sites: Vec<String>,
    /// The id of their Practitioner resource, where it is not the user id
    #[arg(long, value_name = "ID")]
    practitioner: Option<String>,
    /// Lets their password unlock nodes
    #[arg(long)]
    may_unlock: bool,
    /// The administrator's choice, with the first one: the operator may go on opening charts
    #[arg(long)]
    allow_operator_charts: bool,
    /// File whose first line is the new person's password; --password-file after `add` says the same
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

/// Arguments of `staff set`.
#[derive(Debug, clap::Args)]
pub struct Set {
    /// The user id
    id: String,
    /// The name that others see
    #[arg(long)]
    name: Option<String>,
    /// Works at this site only; may be given again
    #[arg(long = "site", value_name = "SITE", conflicts_with = "everywhere")]
    sites: Vec<String>,
    /// Works at every site
    #[arg(long)]
    everywhere: bool,
    /// The id of their Practitioner resource
    #[arg(long, value_name = "ID")]
    practitioner: Option<String>,
    /// Whether their password unlocks nodes
    #[arg(long, value_name = "true|false")]
    may_unlock: Option<bool>,
}

/// Arguments of `staff reset`.
#[derive(Debug, clap::Args)]
pub struct Reset {
    /// The user id
    id: String,
    /// File with the practice's recovery code; without it an administrator does this (--as)
    #[arg(long, value_name = "FILE")]
    recovery_code_file: Option<PathBuf>,
    /// File whose first line is the new password; --password-file after `reset` says the same
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

/// Does it.
pub async fn execute(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Add(add) => return self::add(context, add).await,
        Command::List => return list(context).await,
        Command::SetRole { id, roles } => {
            let change = StaffChange { roles: Some(roles), ..StaffChange::default() };
            changed(context, StaffRequest::Change { id, change }).await?;
        }
        Command::Set(set) => {
            let sites = (set.everywhere || !set.sites.is_empty()).then_some(set.sites);
            let change = StaffChange {
                name: set.name,
                sites,
                practitioner: set.practitioner,
                may_unlock: set.may_unlock,
                ..StaffChange::default()
            };
            changed(context, StaffRequest::Change { id: set.id, change }).await?;
        }
        Command::Suspend { id } => stand(context, id, true).await?,
        Command::Reinstate { id } => stand(context, id, false).await?,
        Command::Reset(reset) => {
            let code = reset.recovery_code_file.as_deref().map(secrets::from_file).transpose()?;
            let file = reset.new_password_file.as_deref();
            let password = secrets::new_passphrase(context, file, Word::NewPasswordPrompt)?;
            changed(context, StaffRequest::Reset { id: reset.id, password, code }).await?;
        }
        Command::Unlock { id } => {
            let request = Request::Login(LoginRequest::UnlockLogin { id });
            let reply = session::ask(context, request).await?;
            if !context.answered(&reply)? {
                context.say(Word::LoginUnlocked, &[])?;
            }
        }
        Command::Roles => return roles(context),
        Command::OperatorCharts { choice } => {
            let allow = choice == "allow";
            let request = Request::Staff(StaffRequest::OperatorCharts { allow });
            let reply = session::ask(context, request).await?;
            if !context.answered(&reply)? {
                let word = if allow { Word::OperatorAllowed } else { Word::OperatorRefused };
                context.say(word, &[])?;
            }
        }
    }
    Ok(ExitCode::Fine)
}

async fn add(context: &Context, add: Add) -> Outcome {
    let file = add.new_password_file.as_deref();
    let password = secrets::new_passphrase(context, file, Word::NewPasswordPrompt)?;
    let change = StaffChange {
        name: Some(add.name),
        roles: Some(add.roles),
        sites: Some(add.sites),
        password: Some(password),
        may_unlock: Some(add.may_unlock),
        practitioner: add.practitioner,
        ..StaffChange::default()
    };
    if add.allow_operator_charts {
        // Said before there is an administrator: afterwards only one of them may say it.
        let allow = Request::Staff(StaffRequest::OperatorCharts { allow: true });
        session::ask(context, allow).await?;
    }
    changed(context, StaffRequest::Add { id: add.id, change }).await?;
    Ok(ExitCode::Fine)
}

async fn stand(context: &Context, id: String, suspended: bool) -> Result<(), Failure> {
    let change = StaffChange { suspended: Some(suspended), ..StaffChange::default() };
    changed(context, StaffRequest::Change { id, change }).await
}

async fn changed(context: &Context, request: StaffRequest) -> Result<(), Failure> {
    let person = session::ask(context, Request::Staff(request)).await?;
    if context.answered(&person)? {
        return Ok(());
    }
    context.line(line(context, &person))
}

async fn list(context: &Context) -> Outcome {
    let people = session::ask(context, Request::Staff(StaffRequest::List)).await?;
    if context.answered(&people)? {
        return Ok(ExitCode::Fine);
    }
    let people = people.as_array().cloned().unwrap_or_default();
    if people.is_empty() {
        context.say(Word::NoStaff, &[])?;
    }
    for person in &people {
        context.line(line(context, person))?;
    }
    Ok(ExitCode::Fine)
}

fn line(context: &Context, person: &Value) -> String {
    let text = |key: &str| person[key].as_str().unwrap_or_default();
    let texts = |key: &str| -> Vec<&str> {
        person[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let state = if text("standing") == "active" {
        context.paint(Style::Green, context.words.text(Word::StateActive))
    } else {
        context.paint(Style::Yellow, context.words.text(Word::StateSuspended))
    };
    let sites = texts("sites").join(", ");
    let disputed = if person["disputed"] == true {
        context.paint(Style::Red, context.words.text(Word::StaffDisputed))
    } else {
        String::new()
    };
    let locked = if person["locked_out"] == true {
        context.paint(Style::Red, context.words.text(Word::StaffLockedOut))
    } else {
        String::new()
    };
    format!(
        "{:<16} {:<24} {:<32} {state} {sites} {locked} {disputed}",
        text("id"),
        text("name"),
        texts("roles").join(", ")
    )
    .trim_end()
    .to_owned()
}

/// The table, from the code's own.
fn roles(context: &Context) -> Outcome {
    if !context.json {
        context.line(policy::table().trim_end())?;
        return Ok(ExitCode::Fine);
    }
    let none = Tightening::default();
    let of_role = |role: Role| {
        let rights: serde_json::Map<String, Value> = Class::ALL
            .into_iter()
            .map(|class| (class.id().to_owned(), policy::right(role, class, &none).id().into()))
            .collect();
        let acts: Vec<&str> = Action::ALL
            .into_iter()
            .filter(|action| policy::may(role, *action))
            .map(Action::name)
            .collect();
        json!({ "role": role.id(), "staff": role.is_for_staff(), "rights": rights, "acts": acts })
    };
    context.print_json(&Role::ALL.map(of_role))?;
    Ok(ExitCode::Fine)
}
