//! Who somebody is: passwords, and how often one may try them at this node.
//!
//! To check a password takes a sixth of a second on purpose, so it does not happen on the thread
//! that owns the records: [`Records::login_begin`] hands out what to check against, whoever asked
//! checks, and [`Records::login_end`] draws the conclusion. The attempt is counted at the beginning,
//! durably, and taken back when it proves right.
//!
//! For a user id that nobody has, everything happens as for one that somebody has, and takes as
//! long. One thing differs: while a device slows down, those who work at it and have not failed
//! often are let through, so that a script on the network keeps nobody from a chart.

use super::{Records, RecordsError};
use crate::access::session::{Pin, password_mark};
use crate::access::statement::{Person, Standing};
use crate::access::throttle::{self, Refusal, Tally};
use crate::access::{Action, Actor, Denial, Permit};
use crate::audit::{AuditEvent, AuditOutcome};
use crate::store::device::Kind;
use crate::vault::password;
use carnet_sync_protocol::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Where the failures of passwords are counted, of whichever user.
const PASSWORDS: &[u8] = b"passwords";

/// User ids, real and invented, whose failures are remembered; then the invented are forgotten.
const TALLIES_MAX: usize = 1_000;

/// Why somebody is not let in. No text of it holds what they typed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Nobody of this user id and password.
    #[error("the user id or the password is wrong")]
    Wrong,
    /// Too soon after too many failures.
    #[error("too many wrong attempts: the next one is taken in {} min {} s", .seconds / 60, .seconds % 60)]
    Wait {
        /// In how many seconds the next attempt is taken.
        seconds: u64,
    },
    /// Too many failures in a row.
    #[error(
        "after {} wrong passwords in a row this user is locked at this node",
        throttle::LOCKING_FAILURES
    )]
    Locked,
    /// No session of this token, or not any more.
    #[error("the session has ended")]
    NoSession,
    /// The person has no PIN on this device.
    #[error("this person has no PIN on this device")]
    NoPin,
    /// Another PIN.
    #[error("the PIN is wrong")]
    WrongPin,
    /// Too many wrong PINs.
    #[error("after {} wrong PINs this PIN is locked", crate::access::session::WRONG_PINS_MAX)]
    PinLocked,
    /// No such API token, or not any more.
    #[error("the API token is unknown, has expired or was revoked")]
    WrongToken,
}

impl LoginError {
    /// Its name, for scripts and for the catalogue.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Wrong => "password",
            Self::Wait { .. } => "wait",
            Self::Locked => "locked-user",
            Self::NoSession => "session",
            Self::NoPin => "no-pin",
            Self::WrongPin => "pin",
            Self::PinLocked => "pin-locked",
            Self::WrongToken => "token",
        }
    }
}

impl Records {
    /// What a password of this user is checked against by [`password::check`], outside of this
    /// thread; refused while nobody may try.
    pub fn login_begin(&mut self, id: &str) -> Result<Vec<u8>, RecordsError> {
        let now = self.environment.uptime();
        let key = tally_key(id);
        let mut tally: Tally = self.remembered(Kind::Failures, &key)?.unwrap_or_default();
        let anew = tally.settle(now);
        if let Some(refusal) = tally.refusal(now) {
            let first = tally.tell();
            if anew || first {
                self.remember(Kind::Failures, &key, &tally)?;
            }
            return Err(self.refuse_login(self.login_event(id), refusal, first));
        }
        let mut everybody: throttle::Everybody =
            self.remembered(Kind::Failures, PASSWORDS)?.unwrap_or_default();
        let anew = everybody.settle(now);
        if !tally.is_trusted()
            && let Some(refusal) = everybody.refusal(now)
        {
            let first = everybody.tell();
            if anew || first {
                self.remember(Kind::Failures, PASSWORDS, &everybody)?;
            }
            return Err(self.refuse_login(self.login_event(id), refusal, first));
        }
        tally.begin(now);
        everybody.begin();
        self.bound_tallies()?;
        self.remember(Kind::Failures, &key, &tally)?;
        self.remember(Kind::Failures, PASSWORDS, &everybody)?;
        let check = self.staff()?.member(id).and_then(|member| member.person.password.clone());
        Ok(check.unwrap_or_else(|| password::decoy(&self.environment)))
    }

    /// The actor, if the password was right.
    pub fn login_end(&mut self, id: &str, right: bool) -> Result<Actor, RecordsError> {
        let key = tally_key(id);
        let mut tally: Tally = self.remembered(Kind::Failures, &key)?.unwrap_or_default();
        let mut event = self.login_event(id);
        if !right {
            let detail = if tally.is_locked() { "locked" } else { "password" };
            self.note_denied(event, detail);
            return Err(LoginError::Wrong.into());
        }
        tally.succeed();
        let mut everybody: throttle::Everybody =
            self.remembered(Kind::Failures, PASSWORDS)?.unwrap_or_default();
        everybody.succeed();
        self.remember(Kind::Failures, &key, &tally)?;
        self.remember(Kind::Failures, PASSWORDS, &everybody)?;
        if let Some(mut pin) = self.remembered::<Pin>(Kind::Pin, id.as_bytes())? {
            pin.forgive();
            self.remember(Kind::Pin, id.as_bytes(), &pin)?;
        }
        self.active(id)?;
        event.detail = "password".into();
        self.note_event(event);
        Ok(Actor::Staff(id.to_owned()))
    }

    /// Who is locked at this node after too many wrong passwords, by user id.
    pub fn locked_out(&self) -> Result<Vec<String>, RecordsError> {
        let mut locked = Vec::new();
        for member in self.staff()?.members() {
            let id = &member.person.id;
            let tally: Option<Tally> = self.remembered(Kind::Failures, &tally_key(id))?;
            if tally.is_some_and(|tally| tally.is_locked()) {
                locked.push(id.clone());
            }
        }
        Ok(locked)
    }

    /// Lets a user who is locked, or has to wait, at this node try again at once.
    pub fn unlock_login(&mut self, permit: &Permit, id: &str) -> Result<(), RecordsError> {
        self.require(permit, Action::ManageStaff)?;
        if self.staff()?.member(id).is_none() {
            return Err(RecordsError::BadRequest(
                "nobody has this user id; list them with `carnet staff list`".into(),
            ));
        }
        self.forget_failures(id)?;
        let subject = format!("staff/{id}");
        self.note_act(permit.actor(), "login-unlock", &subject, AuditOutcome::Done);
        Ok(())
    }

    /// Forgets how often a user failed.
    pub(super) fn forget_failures(&mut self, id: &str) -> Result<(), RecordsError> {
        let key = tally_key(id);
        if let Some(mut tally) = self.remembered::<Tally>(Kind::Failures, &key)? {
            tally.unlock();
            self.remember(Kind::Failures, &key, &tally)?;
        }
        Ok(())
    }

    /// Somebody who may work, or why not; a denial is on record.
    pub(super) fn active(&mut self, id: &str) -> Result<Person, RecordsError> {
        match self.staff()?.member(id) {
            Some(member) if member.person.standing == Standing::Active => Ok(member.person.clone()),
            _ => {
                self.note_denied(self.login_event(id), "standing");
                Err(RecordsError::Denied(Denial::Standing { actor: id.to_owned() }))
            }
        }
    }

    /// A login by whom a user id names. Who is nobody is not named: people type their password into
    /// the wrong field.
    pub(super) fn login_event(&self, id: &str) -> AuditEvent {
        let event = self.event_by(&Actor::Staff(id.to_owned()), "login");
        let known = self.charts.as_ref().is_some_and(|charts| charts.staff.member(id).is_some());
        if known { event } else { AuditEvent { actor: "unknown".into(), ..event } }
    }

    pub(super) fn note_denied(&mut self, mut event: AuditEvent, detail: &str) {
        event.outcome = AuditOutcome::Denied;
        event.detail = detail.to_owned();
        self.note_event(event);
    }

    /// An attempt that is not looked at; the first of many is on record.
    pub(super) fn refuse_login(
        &mut self,
        event: AuditEvent,
        refusal: Refusal,
        first: bool,
    ) -> RecordsError {
        let (detail, error) = match refusal {
            Refusal::Locked => ("locked", LoginError::Locked),
            Refusal::Wait(ms) => ("throttled", LoginError::Wait { seconds: ms.div_ceil(1_000) }),
        };
        if first {
            self.note_denied(event, detail);
        }
        error.into()
    }

    /// Forgets the failures of user ids that nobody has, when there are too many.
    fn bound_tallies(&mut self) -> Result<(), RecordsError> {
        let charts = self.charts_mut()?;
        let all = charts.device.all(Kind::Failures)?;
        if all.len() < TALLIES_MAX {
            return Ok(());
        }
        let mut real: Vec<Vec<u8>> =
            charts.staff.members().map(|member| tally_key(&member.person.id).into()).collect();
        real.sort_unstable();
        for (key, _) in all {
            if key.len() == 32 && real.binary_search(&key).is_err() {
                charts.device.remove(Kind::Failures, &key)?;
            }
        }
        Ok(())
    }

    /// What this device keeps under a key; what can't be read is as if it were not there.
    pub(super) fn remembered<T: Serialize + DeserializeOwned>(
        &self,
        kind: Kind,
        key: &[u8],
    ) -> Result<Option<T>, RecordsError> {
        let state = self.charts()?.device.get(kind, key)?;
        Ok(state.and_then(|bytes| wire::decode(&bytes).ok()))
    }

    /// Keeps something on this device, durably and at once.
    pub(super) fn remember<T: Serialize>(
        &mut self,
        kind: Kind,
        key: &[u8],
        state: &T,
    ) -> Result<(), RecordsError> {
        Ok(self.charts_mut()?.device.put(kind, key, &wire::encode(state))?)
    }
}

/// Under what a user's failures are kept. A hash, since what was typed may have been a password.
fn tally_key(id: &str) -> [u8; 32] {
    blake3::derive_key("carnet 2026 login tally v1", id.as_bytes())
}

/// The mark of a person's password.
pub(super) fn mark_of(person: &Person) -> [u8; 32] {
    password_mark(person.password.as_deref().unwrap_or_default())
}
