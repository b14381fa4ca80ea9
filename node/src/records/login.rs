//! Who somebody is: passwords.
//!
//! Checking a password takes a sixth of a second on purpose, so it does not happen on the thread
//! that owns the records: [`Records::login_begin`] hands out what to check against, whoever asked
//! checks, and [`Records::login_end`] draws the conclusion.

use super::{Records, RecordsError};
use crate::access::Actor;
use crate::audit::AuditOutcome;

impl Records {
    /// What a password of this user is checked against; for a user who has none, nothing fits.
    pub fn login_begin(&mut self, id: &str) -> Result<Vec<u8>, RecordsError> {
        let member = self.staff()?.member(id);
        Ok(member.and_then(|member| member.person.password.clone()).unwrap_or_default())
    }

    /// The actor, if the password was right.
    pub fn login_end(&mut self, id: &str, right: bool) -> Result<Actor, RecordsError> {
        let actor = Actor::Staff(id.to_owned());
        let outcome = if right { AuditOutcome::Done } else { AuditOutcome::Denied };
        self.note_act(&actor, "login", "", outcome);
        if right { Ok(actor) } else { Err(RecordsError::WrongPassword) }
    }
}
