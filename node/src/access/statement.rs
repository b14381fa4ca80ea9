//! Statements of the staff channel: who works here, what programs may do, what happened that
//! somebody must look at. Sealed entries, so they replicate and are known offline, to those who
//! may read them.
//!
//! A statement about somebody replaces those that it names; what it does not name was said apart
//! from it, and then the more restrictive holds ([`super::roster`]).

use super::role::Role;
use super::scope::Scopes;
use carnet_sync_protocol::id::{EntryId, LogId};
use carnet_sync_protocol::wire;
use serde::{Deserialize, Serialize};

/// A statement's bytes: far more than a large practice's frontier in a suspension.
pub const STATEMENT_BYTES_MAX: usize = 256 << 10;

/// A user id's bytes.
const USER_ID_BYTES_MAX: usize = 64;

/// Any text of a statement: a name, a reason.
const TEXT_BYTES_MAX: usize = 2_000;

/// Why a payload is no statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaffStatementError {
    /// Empty, too long, or not canonical.
    #[error("a staff statement cannot be read")]
    Malformed,
    /// A name or id that is none, or more than a bound allows.
    #[error("a staff statement exceeds a bound")]
    Bounds,
}

/// Whether somebody may work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Standing {
    /// They may.
    Active,
    /// They may not, until somebody lets them again.
    Suspended,
}

/// Everything that is said of one member of staff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The user id, unique in the practice.
    pub id: String,
    /// The name that others see.
    pub name: String,
    /// What they are.
    pub roles: Vec<Role>,
    /// The sites where they work; everywhere if none is named.
    pub sites: Vec<String>,
    /// What checks their password, as `vault` wrote it; none until one is set.
    pub password: Option<Vec<u8>>,
    /// Whether they may work.
    pub standing: Standing,
    /// Whether their own password may unlock a node.
    pub may_unlock: bool,
    /// Their Practitioner resource, where it is not named like them.
    pub practitioner: Option<String>,
}

/// What is said of an API token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id, shown in lists.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// The hash of the secret that was shown once.
    pub hash: [u8; 32],
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends.
    pub expires_ms: u64,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// How far a log was known when something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The log.
    pub log: LogId,
    /// Its highest sequence.
    pub sequence: u64,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Matter {
    /// Of a member of staff.
    Person(Person),
    /// Of an API token.
    Token(Token),
    /// Whether the operator may open charts though the practice has staff.
    OperatorCharts(bool),
    /// Somebody opened a chart in an emergency.
    Emergency {
        /// Who.
        actor: String,
        /// Whose chart: the Patient's id.
        patient: String,
        /// Why, in their words.
        reason: String,
    },
    /// Somebody looked at an item of the review list and signed it off.
    SignOff {
        /// The item.
        item: String,
        /// What they found.
        note: String,
    },
    /// Somebody decided what becomes of an entry that is set aside.
    SetAside {
        /// The entry.
        entry: EntryId,
        /// What becomes of it.
        ruling: Ruling,
        /// Why, in their words.
        note: String,
    },
}

/// What becomes of an entry that is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ruling {
    /// It is tried again. One that was only withheld, since its node had been cut off, is let in.
    Release,
    /// It stays set aside and needs nobody's attention any more.
    Discard,
}

/// An entry of the staff channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaffStatement {
    /// Who says so.
    pub by: String,
    /// When, by the author's clock; for display.
    pub time_ms: u64,
    /// The statements about the same that this one replaces.
    pub replaces: Vec<EntryId>,
    /// Where it takes rights away: how far each log was known to who said so. What the person
    /// wrote beyond that is marked.
    pub reach: Vec<Reach>,
    /// What it says.
    pub matter: Matter,
}

impl StaffStatement {
    /// The payload.
    pub fn to_payload(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads a payload.
    pub fn from_payload(payload: &[u8]) -> Result<Self, StaffStatementError> {
        if payload.len() > STATEMENT_BYTES_MAX {
            return Err(StaffStatementError::Bounds);
        }
        let statement: Self = wire::decode(payload).map_err(|_| StaffStatementError::Malformed)?;
        if statement.is_bounded() { Ok(statement) } else { Err(StaffStatementError::Bounds) }
    }

    fn is_bounded(&self) -> bool {
        let matter = match &self.matter {
            Matter::Person(person) => {
                is_user_id(&person.id)
                    && is_text(&person.name)
                    && person.sites.iter().all(|site| is_text(site))
            }
            Matter::Token(token) => is_user_id(&token.id) && is_text(&token.name),
            Matter::OperatorCharts(_) => true,
            Matter::Emergency { actor, patient, reason } => {
                is_text(actor) && is_text(patient) && is_text(reason)
            }
            Matter::SignOff { item, note } => is_text(item) && note.len() <= TEXT_BYTES_MAX,
            Matter::SetAside { note, .. } => note.len() <= TEXT_BYTES_MAX,
        };
        matter && is_text(&self.by)
    }
}

/// Whether a text can be a user id: lower-case letters, digits, dots and hyphens, so that it can
/// be typed everywhere, named in a reference, and never taken for somebody else's.
pub fn is_user_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    // What the program calls those who are not staff.
    let reserved = matches!(text, "operator" | "node" | "unknown");
    !text.is_empty()
        && text.len() <= USER_ID_BYTES_MAX
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !reserved
}

/// Whether a text can be shown in one line, and says something.
pub fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn person(id: &str) -> Person {
        Person {
            id: id.into(),
            name: "Awa Diatta".into(),
            roles: vec![Role::Nurse],
            sites: Vec::new(),
            password: None,
            standing: Standing::Active,
            may_unlock: false,
            practitioner: None,
        }
    }

    fn statement(matter: Matter) -> StaffStatement {
        StaffStatement {
            by: "operator".into(),
            time_ms: 7,
            replaces: vec![EntryId::ZERO],
            reach: Vec::new(),
            matter,
        }
    }

    #[test]
    fn a_statement_survives_its_payload_and_bounds_hold() {
        let said = statement(Matter::Person(person("awa")));
        assert_eq!(StaffStatement::from_payload(&said.to_payload()), Ok(said));
        let nameless = statement(Matter::Person(Person { name: " ".into(), ..person("awa") }));
        assert_eq!(
            StaffStatement::from_payload(&nameless.to_payload()),
            Err(StaffStatementError::Bounds)
        );
        assert_eq!(StaffStatement::from_payload(&[]), Err(StaffStatementError::Malformed));
        let long = statement(Matter::SignOff { item: "a".into(), note: "x".repeat(3_000) });
        assert_eq!(
            StaffStatement::from_payload(&long.to_payload()),
            Err(StaffStatementError::Bounds)
        );
    }

    #[test]
    fn user_ids_can_be_typed_everywhere() {
        for id in ["awa", "a.diatta", "nurse-2", "7"] {
            assert!(is_user_id(id), "{id}");
        }
        for id in
            ["", "Awa", "a b", "-a", "awa/x", "operator", "node", "unknown", "é", &"a".repeat(65)]
        {
            assert!(!is_user_id(id), "{id}");
        }
    }
}
