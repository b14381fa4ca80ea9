//! Sessions at this node, for its web page and API, and changing places by PIN.
//!
//! A session is a random token; only its hash is kept. It is looked at anew with each use: whether
//! it lasts ([`crate::access::session`]), and whether its person may still work, as this node knows
//! it now.

use super::login::{LoginError, mark_of};
use super::{Records, RecordsError};
use crate::access::Actor;
use crate::access::session::{self, Pin, Session, token_hash};
use crate::access::statement::Person;
use crate::audit::AuditOutcome;
use crate::base::private::Private;
use crate::store::device::Kind;
use carnet_sync_protocol::wire;

/// What a session's token begins with, so that it is not taken for an API token, nor overlooked
/// where it should not be.
const TOKEN_PREFIX: &str = "carnet-session-1-";

impl Records {
    /// Opens a session for somebody who has just logged in; its token, which is not kept.
    pub fn open_session(&mut self, actor: &Actor) -> Result<Private<String>, RecordsError> {
        let person = self.member_of_staff(actor)?;
        let session =
            Session::begin(person.id.clone(), mark_of(&person), self.environment.uptime());
        self.write_session(&session)
    }

    /// Whose session this is; its use keeps it open.
    pub fn session_actor(&mut self, token: &str) -> Result<Actor, RecordsError> {
        let mut session = self.live_session(token)?;
        if session.touch(self.environment.uptime()) {
            self.remember(Kind::Session, &token_hash(token), &session)?;
        }
        Ok(Actor::Staff(session.person))
    }

    /// Ends a session; it need not be there any more.
    pub fn close_session(&mut self, token: &str) -> Result<(), RecordsError> {
        let hash = token_hash(token);
        if let Some(session) = self.remembered::<Session>(Kind::Session, &hash)? {
            self.charts_mut()?.device.remove(Kind::Session, &hash)?;
            self.note_act(&Actor::Staff(session.person), "logout", "", AuditOutcome::Done);
        }
        Ok(())
    }

    /// Sets one's PIN at this node; `check` is what [`crate::vault::password::make_check`] made of
    /// it. It holds as long as the password does.
    pub fn set_pin(&mut self, actor: &Actor, check: Vec<u8>) -> Result<(), RecordsError> {
        let person = self.member_of_staff(actor)?;
        self.remember(Kind::Pin, person.id.as_bytes(), &Pin::new(check, mark_of(&person)))?;
        self.note_act(actor, "pin-change", "", AuditOutcome::Done);
        Ok(())
    }

    /// What the PIN of a person who wants this session's place is checked against, as with
    /// [`Records::login_begin`].
    pub fn pin_begin(&mut self, token: &str, id: &str) -> Result<Vec<u8>, RecordsError> {
        let mut session = self.live_session(token)?;
        let mut pin =
            match (self.staff()?.member(id), self.remembered::<Pin>(Kind::Pin, id.as_bytes())?) {
                (Some(member), Some(pin)) if pin.is_of(&mark_of(&member.person)) => pin,
                _ => return Err(LoginError::NoPin.into()),
            };
        if pin.is_locked() {
            return Err(LoginError::PinLocked.into());
        }
        pin.try_it();
        session.try_pin();
        self.remember(Kind::Pin, id.as_bytes(), &pin)?;
        self.remember(Kind::Session, &token_hash(token), &session)?;
        Ok(pin.check)
    }

    /// The person's own session, if the PIN was right; the one whose place they take ends.
    pub fn pin_end(
        &mut self,
        token: &str,
        id: &str,
        right: bool,
    ) -> Result<Private<String>, RecordsError> {
        let mut pin: Pin = self.remembered(Kind::Pin, id.as_bytes())?.ok_or(LoginError::NoPin)?;
        let mut event = self.login_event(id);
        if !right {
            self.note_denied(event, if pin.is_locked() { "pin-locked" } else { "pin" });
            return Err(LoginError::WrongPin.into());
        }
        let hash = token_hash(token);
        let mut session: Session =
            self.remembered(Kind::Session, &hash)?.ok_or(LoginError::NoSession)?;
        session.pin_was_right();
        self.check_session(&hash, &session)?;
        let person = self.active(id)?;
        pin.forgive();
        self.remember(Kind::Pin, id.as_bytes(), &pin)?;
        self.charts_mut()?.device.remove(Kind::Session, &hash)?;
        event.detail = "pin".into();
        event.subject = Some(format!("staff/{}", session.person));
        self.note_event(event);
        let now = self.environment.uptime();
        self.write_session(&session.hand_over(person.id.clone(), mark_of(&person), now))
    }

    /// Ends every session at this node.
    pub(super) fn close_sessions(&mut self) -> Result<(), RecordsError> {
        Ok(self.charts_mut()?.device.clear(Kind::Session)?)
    }

    fn member_of_staff(&mut self, actor: &Actor) -> Result<Person, RecordsError> {
        let Actor::Staff(id) = actor else {
            return Err(RecordsError::BadRequest(
                "only members of staff have sessions and PINs".into(),
            ));
        };
        self.active(id)
    }

    fn live_session(&mut self, token: &str) -> Result<Session, RecordsError> {
        let hash = token_hash(token);
        let session: Session =
            self.remembered(Kind::Session, &hash)?.ok_or(LoginError::NoSession)?;
        self.check_session(&hash, &session)?;
        Ok(session)
    }

    /// Whether a session lasts and its person may work; if not, it is removed.
    fn check_session(&mut self, hash: &[u8; 32], session: &Session) -> Result<(), RecordsError> {
        let now = self.environment.uptime();
        let refused = match self.active(&session.person) {
            Ok(person) if session.lasts(&mark_of(&person), now) => return Ok(()),
            Ok(_) => LoginError::NoSession.into(),
            Err(error) => error,
        };
        self.charts_mut()?.device.remove(Kind::Session, hash)?;
        Err(refused)
    }

    /// Keeps a session under a new token, and forgets those that have run out.
    fn write_session(&mut self, session: &Session) -> Result<Private<String>, RecordsError> {
        let now = self.environment.uptime();
        let device = &mut self.charts_mut()?.device;
        for (hash, state) in device.all(Kind::Session)? {
            let lasts =
                wire::decode::<Session>(&state).is_ok_and(|session| session.is_within_time(now));
            if !lasts {
                device.remove(Kind::Session, &hash)?;
            }
        }
        let token = secret_text(TOKEN_PREFIX, self.environment.random());
        self.remember(Kind::Session, &session::token_hash(token.expose()), session)?;
        Ok(token)
    }
}

/// 256 bits as text that can be typed and put into a header.
pub(super) fn secret_text(prefix: &str, secret: [u8; 32]) -> Private<String> {
    let secret = Private::new(secret);
    let digits = Private::new(data_encoding::BASE32_NOPAD.encode(secret.expose()));
    Private::new(format!("{prefix}{}", digits.expose().to_ascii_lowercase()))
}
