//! `login`, `logout`, `pin`, `token`: who one is for the commands that follow.

use crate::context::{Context, Failure, Outcome};
use crate::secrets;
use crate::session;
use crate::words::Word;
use carnet_node::service::error::{CommandError, ExitCode};
use carnet_node::service::request::{LoginRequest, Request, Secret};
use serde_json::Value;
use std::path::PathBuf;

/// Arguments of `login`.
#[derive(Debug, clap::Args)]
pub struct Login {
    /// The user id
    user: String,
}

/// A short PIN for changing places at a shared device.
#[derive(Debug, clap::Subcommand)]
pub enum Pin {
    /// Choose a PIN for this device
    Set {
        /// File whose first line is the PIN
        #[arg(long, value_name = "FILE")]
        pin_file: Option<PathBuf>,
    },
    /// Take the place of whoever has the session of this device
    Switch {
        /// The user id
        user: String,
        /// File whose first line is the PIN
        #[arg(long, value_name = "FILE")]
        pin_file: Option<PathBuf>,
    },
}

/// API tokens of programs.
#[derive(Debug, clap::Subcommand)]
pub enum Token {
    /// Make a token; it is shown once
    Add {
        /// Its id: a-z, 0-9, dots and hyphens
        token: String,
        /// What it is for
        #[arg(long)]
        name: String,
        /// SMART scopes, such as system/Observation.rs; may be given again
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// The patient to whom patient/ scopes are bound
        #[arg(long, value_name = "ID")]
        patient: Option<String>,
        /// For how many days
        #[arg(long, default_value_t = 90)]
        days: u32,
    },
    /// List the tokens
    List,
    /// End a token, here now and elsewhere after the next sync
    Revoke {
        /// Its id
        token: String,
    },
}

/// Opens a session on this device.
pub async fn login(context: &Context, arguments: Login) -> Outcome {
    let mut as_user = context.clone();
    as_user.caller = context.caller.by_password_of(&arguments.user);
    let reply = session::ask(&as_user, Request::Login(LoginRequest::Login)).await?;
    keep(context, &reply)?;
    Ok(ExitCode::Fine)
}

/// Ends it.
pub async fn logout(context: &Context) -> Outcome {
    if let Some(session) = context.caller.session(context) {
        let request = Request::Login(LoginRequest::Logout { session });
        let mut nobody = context.clone();
        nobody.caller = context.caller.as_operator();
        session::ask(&nobody, request).await?;
    }
    context.caller.forget_session(context)?;
    if !context.answered(&serde_json::json!({ "session": null }))? {
        context.say(Word::LoggedOut, &[])?;
    }
    Ok(ExitCode::Fine)
}

/// Sets a PIN, or switches by one.
pub async fn pin(context: &Context, command: Pin) -> Outcome {
    match command {
        Pin::Set { pin_file } => {
            let pin = secrets::new_passphrase(context, pin_file.as_deref(), Word::PinPrompt)?;
            let reply = session::ask(context, Request::Login(LoginRequest::SetPin { pin })).await?;
            if !context.answered(&reply)? {
                context.say(Word::PinSet, &[])?;
            }
        }
        Pin::Switch { user, pin_file } => {
            let session = context.caller.session(context).ok_or_else(|| {
                CommandError::bad_input("there is no session on this device to take over")
                    .advise("Log in with `carnet login ID`")
            })?;
            let pin = match pin_file {
                Some(path) => secrets::from_file(&path)?,
                None => secrets::ask(context, Word::PinPrompt)?,
            };
            let request = Request::Login(LoginRequest::Switch { session, id: user, pin });
            let mut nobody = context.clone();
            nobody.caller = context.caller.as_operator();
            let reply = session::ask(&nobody, request).await?;
            keep(context, &reply)?;
        }
    }
    Ok(ExitCode::Fine)
}

/// Makes, lists and ends tokens.
pub async fn token(context: &Context, command: Token) -> Outcome {
    let request = match command {
        Token::Add { token: id, name, scopes, patient, days } => {
            LoginRequest::AddToken { id, name, scopes, patient, days }
        }
        Token::List => LoginRequest::ListTokens,
        Token::Revoke { token: id } => LoginRequest::RevokeToken { id },
    };
    let reply = session::ask(context, Request::Login(request)).await?;
    if context.answered(&reply)? {
        return Ok(ExitCode::Fine);
    }
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    if let Some(tokens) = reply.as_array() {
        for token in tokens {
            let [id, state, expires, scopes, name] =
                ["id", "state", "expires", "scopes", "name"].map(|key| text(token, key));
            context.line(format!("{id:<16} {state:<8} {expires}  {scopes}  {name}"))?;
        }
    } else if reply["token"].is_string() {
        context.line(text(&reply, "token"))?;
        context.note(Word::TokenOnce, &[]);
    } else {
        context.say(Word::TokenRevoked, &[("id", &text(&reply, "id"))])?;
    }
    Ok(ExitCode::Fine)
}

fn keep(context: &Context, reply: &Value) -> Result<(), Failure> {
    let token = reply["session"].as_str().unwrap_or_default().to_owned();
    context.caller.keep_session(context, &Secret::new(token))?;
    if !context.answered(reply)? {
        context.say(Word::LoggedIn, &[("who", reply["actor"].as_str().unwrap_or_default())])?;
    }
    Ok(())
}
