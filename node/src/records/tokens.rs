//! API tokens: made, revoked, recognised. A token is 256 random bits that are shown once; its
//! statement holds their hash and replicates, so that it is good at every node of the practice.
//!
//! Its end is told by the node's clock. A clock that was set back lengthens it, so whoever must be
//! sure revokes it.

use super::login::LoginError;
use super::sessions::secret_text;
use super::{Records, RecordsError};
use crate::access::scope::Scopes;
use crate::access::statement::Token;
use crate::access::{Action, Actor, Permit, throttle};
use crate::audit::AuditEvent;
use crate::base::private::Private;
use crate::chart::ResourceKey;
use crate::store::device::Kind;

/// What a token begins with: whoever finds one somewhere knows what it is.
const PREFIX: &str = "carnet-token-1-";

/// Where failures with tokens are counted.
const TOKENS: &[u8] = b"tokens";

/// The longest that a token lasts: ten years.
const DAYS_MAX: u32 = 3_650;

const DAY_MS: u64 = 24 * 3_600_000;

impl Records {
    /// Makes an API token; its secret, which is kept nowhere and shown once.
    pub fn add_token(
        &mut self,
        permit: &Permit,
        id: &str,
        name: &str,
        scopes: &[String],
        patient: Option<String>,
        days: u32,
    ) -> Result<Private<String>, RecordsError> {
        self.require(permit, Action::ManageStaff)?;
        let bad = |text: String| Err(RecordsError::BadRequest(text));
        if self.staff()?.program(id).is_some() {
            return bad(format!("there is a token {id} already, maybe revoked; choose another id"));
        }
        if days == 0 || days > DAYS_MAX {
            return bad(format!("a token lasts from 1 to {DAYS_MAX} days"));
        }
        if let Some(patient) = &patient
            && let Err(error) = ResourceKey::parse(&format!("Patient/{patient}"))
        {
            return bad(error.to_string());
        }
        let scopes = Scopes::parse(scopes.iter().map(String::as_str), patient)
            .map_err(|error| RecordsError::BadRequest(error.to_string()))?;
        let secret = secret_text(PREFIX, self.environment.random());
        let token = Token {
            id: id.to_owned(),
            name: name.to_owned(),
            hash: *hash(secret.expose()).as_bytes(),
            scopes,
            expires_ms: self.environment.unix_ms() + u64::from(days) * DAY_MS,
            revoked: false,
        };
        self.state_token(permit, token)?;
        Ok(secret)
    }

    /// Takes an API token's rights, here at once and at each other node when it hears of it.
    pub fn revoke_token(&mut self, permit: &Permit, id: &str) -> Result<(), RecordsError> {
        self.require(permit, Action::ManageStaff)?;
        let Some(program) = self.staff()?.program(id) else {
            return Err(RecordsError::BadRequest(
                "there is no token of this id; list them with `carnet token list`".into(),
            ));
        };
        let token = Token { revoked: true, ..program.token.clone() };
        self.state_token(permit, token)
    }

    /// Which program this secret is of. A right one always passes, however often others failed.
    pub fn token_actor(&mut self, secret: &str) -> Result<Actor, RecordsError> {
        let (wanted, now) = (hash(secret), self.environment.unix_ms());
        let mut found = None;
        for program in self.staff()?.programs() {
            // Compared in constant time, and all of them.
            if blake3::Hash::from_bytes(program.token.hash) == wanted {
                found = Some(program.token.clone());
            }
        }
        match found {
            Some(token) if !token.revoked && now <= token.expires_ms => {
                Ok(Actor::Application(token.id))
            }
            other => Err(self.refuse_token(other.map(|token| token.id))?),
        }
    }

    /// Counts a failure. It guards the trail more than the tokens, which nobody guesses.
    fn refuse_token(&mut self, id: Option<String>) -> Result<RecordsError, RecordsError> {
        let now = self.environment.uptime();
        let actor = id.map_or_else(|| "unknown".into(), |id| Actor::Application(id).to_string());
        let event = AuditEvent { actor, ..self.event_by(&Actor::Operator, "login") };
        let mut everybody: throttle::Everybody =
            self.remembered(Kind::Failures, TOKENS)?.unwrap_or_default();
        let anew = everybody.settle(now);
        if let Some(refusal) = everybody.refusal(now) {
            let first = everybody.tell();
            if anew || first {
                self.remember(Kind::Failures, TOKENS, &everybody)?;
            }
            return Ok(self.refuse_login(event, refusal, first));
        }
        everybody.begin();
        self.remember(Kind::Failures, TOKENS, &everybody)?;
        self.note_denied(event, "token");
        Ok(LoginError::WrongToken.into())
    }
}

fn hash(secret: &str) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 api token v1");
    hasher.update(secret.as_bytes());
    hasher.finalize()
}
