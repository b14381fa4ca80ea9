//! What can be asked of a node: one variant a command, the same over the control socket and
//! within one process.

mod staff;

pub use staff::{AuditFilter, AuditRequest, LoginRequest, StaffChange, StaffRequest};

use crate::access::statement::Ruling;
use crate::base::private::Private;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::path::PathBuf;

/// A passphrase or a code on its way from the terminal to the node, over a socket that only the
/// owner of the directory may open.
#[derive(Clone, Debug)]
pub struct Secret(pub Private<String>);

impl Secret {
    /// Takes charge of a text.
    pub const fn new(text: String) -> Self {
        Self(Private::new(text))
    }

    /// The text; the caller answers for where it goes.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// What opens a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opener {
    /// The key file or systemd credential that the settings name.
    Automatic,
    /// The passphrase.
    Passphrase(Secret),
    /// This key file.
    KeyFile(PathBuf),
    /// The practice's recovery code.
    RecoveryCode(Secret),
    /// A member of staff's own password, where an administrator allows it.
    Staff {
        /// The user id.
        id: String,
        /// The password.
        password: Secret,
    },
}

/// What a node may be made to open with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closure {
    /// A passphrase.
    Passphrase(Secret),
    /// A key file, made at this path.
    KeyFile(PathBuf),
}

/// The secret that lets a command use the practice key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PracticeSecret {
    /// The practice passphrase.
    Passphrase(Secret),
    /// The recovery code.
    RecoveryCode(Secret),
}

/// Who says that they ask.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Caller {
    /// Whoever owns the node's directory.
    #[default]
    Operator,
    /// A member of staff.
    Password {
        /// The user id.
        id: String,
        /// The password.
        password: Secret,
    },
    /// Whoever has this session.
    Session {
        /// Its token.
        token: Secret,
        /// Who that must be, if somebody is named.
        id: Option<String>,
    },
    /// A program with an API token.
    Token(Secret),
}

/// A request, with who asks and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Who.
    pub caller: Caller,
    /// Why: a code of HL7's PurposeOfUse.
    pub purpose: Option<String>,
    /// What.
    pub request: Request,
}

impl From<Request> for Asked {
    fn from(request: Request) -> Self {
        Self { caller: Caller::Operator, purpose: None, request }
    }
}

/// A question or an order to the node.
#[derive(Clone, Debug, Serialize, Deserialize)]
// Tagged from outside: an internal tag would buffer the content, and a decimal its digits with it.
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Opens the charts.
    Unlock {
        /// With what.
        with: Opener,
        /// A new passphrase, where the recovery code replaces a forgotten one.
        new: Option<Secret>,
    },
    /// Closes the charts.
    Lock,
    /// Replaces the passphrase.
    PassphraseChange {
        /// What opens the node now.
        old: Opener,
        /// The new passphrase.
        new: Secret,
    },
    /// Makes a one-use invitation.
    Invite {
        /// For which site.
        site: String,
        /// `clinic` or `relay`.
        role: String,
        /// Whether the new node may admit others in turn.
        admit: bool,
        /// Addresses where the new node finds this one; those of the running node by default.
        addresses: Vec<String>,
        /// For how many hours it can be used.
        hours: u32,
        /// What opens the practice key; none when this node may admit by itself.
        practice: Option<PracticeSecret>,
    },
    /// Answers a request that came as a file.
    Approve {
        /// The text of the request file.
        request: String,
        /// The site's name, where it shall not be the one that the request proposes.
        site: Option<String>,
        /// See [`Request::Invite`].
        role: String,
        /// See [`Request::Invite`].
        admit: bool,
        /// See [`Request::Invite`].
        addresses: Vec<String>,
        /// See [`Request::Invite`].
        practice: Option<PracticeSecret>,
    },
    /// Remembers a peer.
    PeerAdd {
        /// `host:port`.
        address: String,
        /// The node expected there, when known.
        node: Option<String>,
    },
    /// Forgets a peer.
    PeerRemove {
        /// Its address, site or node id.
        peer: String,
    },
    /// Lists the peers.
    PeerList,
    /// Lists the practice's nodes.
    NodeList,
    /// Ends what a node may do.
    NodeRevoke {
        /// Which: its site or its id, or a beginning of it.
        node: String,
        /// For good, for a while, or no longer.
        action: RevokeAction,
        /// Only says what would happen.
        dry_run: bool,
        /// See [`Request::Invite`].
        practice: Option<PracticeSecret>,
    },
    /// Gives a node a new certificate.
    NodeRenew {
        /// Which: its site or its id, or a beginning of it; this node if none is named.
        node: Option<String>,
        /// See [`Request::Invite`].
        practice: Option<PracticeSecret>,
    },
    /// Reconciles with the peers.
    Sync {
        /// One of them, or every one.
        peer: Option<String>,
        /// Gives up after so many seconds without an answer.
        timeout_s: u32,
    },
    /// Tells the state of the node.
    Status,
    /// Takes in FHIR files.
    Import {
        /// Absolute paths: the node runs as the user who owns them.
        files: Vec<PathBuf>,
    },
    /// Looks for patients.
    PatientSearch {
        /// Name, identifier, birth date or phone.
        query: String,
        /// At most so many.
        limit: u32,
    },
    /// Shows a patient and what the chart holds.
    PatientShow {
        /// The patient's id.
        patient: String,
    },
    /// Lists pairs of patients who are likely one person.
    PatientDuplicates {
        /// At most so many.
        limit: u32,
    },
    /// Says whether two patients are one person.
    PatientPair {
        /// The one's id.
        first: String,
        /// The other's id.
        second: String,
        /// What is said of them.
        say: Say,
    },
    /// Shows one resource.
    ChartShow {
        /// `Type/id`.
        resource: String,
    },
    /// Shows what became of a resource.
    ChartHistory {
        /// `Type/id`.
        resource: String,
    },
    /// Changes elements of a resource.
    ChartEdit {
        /// `Type/id`.
        resource: String,
        /// Each element with its new value; null removes it.
        set: Vec<(String, Value)>,
        /// Deletes the resource.
        delete: bool,
    },
    /// Writes a whole resource.
    ChartPut {
        /// The resource.
        body: Value,
    },
    /// Lists the conflicts.
    ChartConflicts {
        /// Of one resource only.
        resource: Option<String>,
    },
    /// Decides a conflict.
    ChartResolve {
        /// `Type/id`.
        resource: String,
        /// The element.
        element: String,
        /// The value chosen.
        choose: Choose,
        /// The set of values that was seen.
        seen: String,
    },
    /// Lists what must be looked at.
    ReviewList {
        /// With what was signed off already.
        signed: bool,
    },
    /// Signs an item of that list off.
    ReviewSignOff {
        /// Its id.
        item: String,
        /// What was found.
        note: String,
    },
    /// About entries that are set aside.
    Quarantine(QuarantineRequest),
    /// Hands out every resource, one [`Progress::Item`] each.
    Export {
        /// Of one patient only.
        patient: Option<String>,
    },
    /// About those who work here.
    Staff(StaffRequest),
    /// About sessions, PINs and API tokens.
    Login(LoginRequest),
    /// About the audit trail.
    Audit(AuditRequest),
    /// Opens a patient's chart in an emergency.
    Emergency {
        /// The patient's id.
        patient: String,
        /// Why, in words.
        reason: String,
    },
    /// Checks everything that is held.
    Verify,
    /// Writes a backup.
    Backup {
        /// The file, or a directory for a file of its own name; absolute.
        to: PathBuf,
    },
    /// Packs the ledger.
    Compact {
        /// Says what that would save, and changes nothing.
        dry_run: bool,
    },
    /// Hands out the practice key, sealed.
    PracticeExportKey {
        /// What opens it now.
        practice: PracticeSecret,
        /// The passphrase that seals the copy.
        seal: Secret,
        /// Takes the key off this node.
        remove: bool,
    },
    /// Takes a practice key in.
    PracticeImportKey {
        /// The text that `practice export-key` wrote.
        sealed: String,
        /// The passphrase that seals it.
        passphrase: Secret,
    },
}

/// What becomes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevokeAction {
    /// It is out, for good.
    Revoke,
    /// It is out until somebody lets it in again.
    Suspend,
    /// It is in again.
    Reinstate,
}

/// What is said of two patients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Say {
    /// They are one person.
    Link,
    /// They are not one person.
    Distinct,
    /// Nothing any more.
    Unlink,
}

/// How a conflict is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choose {
    /// This value.
    Value(String),
    /// All of them, where they can stand side by side.
    Both,
}

/// What can be asked about entries that are set aside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuarantineRequest {
    /// Lists them.
    List,
    /// Decides what becomes of one.
    Rule {
        /// Its id.
        entry: String,
        /// What becomes of it.
        ruling: Ruling,
        /// Why.
        note: String,
    },
}

impl Request {
    /// Whether it reads or writes charts.
    pub const fn is_about_charts(&self) -> bool {
        matches!(
            self,
            Self::Import { .. }
                | Self::PatientSearch { .. }
                | Self::PatientShow { .. }
                | Self::PatientDuplicates { .. }
                | Self::PatientPair { .. }
                | Self::ChartShow { .. }
                | Self::ChartHistory { .. }
                | Self::ChartEdit { .. }
                | Self::ChartPut { .. }
                | Self::ChartConflicts { .. }
                | Self::ChartResolve { .. }
                | Self::ReviewList { .. }
                | Self::ReviewSignOff { .. }
                | Self::Quarantine(_)
                | Self::Export { .. }
                | Self::Staff(_)
                | Self::Login(_)
                | Self::Audit(_)
                | Self::Emergency { .. }
        )
    }

    /// Whether whoever may start the program may ask it: it shows nothing of a patient, and must
    /// work when nobody is logged in.
    pub const fn is_anybodys(&self) -> bool {
        matches!(
            self,
            Self::Unlock { .. }
                | Self::Lock
                | Self::PassphraseChange { .. }
                | Self::PeerAdd { .. }
                | Self::PeerRemove { .. }
                | Self::PeerList
                | Self::NodeList
                | Self::Sync { .. }
                | Self::Status
                | Self::Verify
                | Self::Compact { .. }
                | Self::Backup { .. }
        )
    }

    /// Whether the charts must be open for it.
    pub const fn needs_unlock(&self) -> bool {
        !self.is_anybodys() || matches!(self, Self::Verify | Self::Compact { .. })
    }
}

/// What a long command tells on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// So much of a phase is done.
    Step {
        /// Which phase; a name for the words, never translated.
        phase: String,
        /// Done so far.
        done: u64,
        /// Of how many, when known.
        total: Option<u64>,
    },
    /// A part of the answer, when the whole would not fit into memory.
    Item(Value),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_travel_as_json_and_no_debug_shows_a_secret() {
        let request =
            Request::Unlock { with: Opener::Passphrase(Secret::new("hibiscus".into())), new: None };
        let text = serde_json::to_string(&request).expect("it serialises");
        assert!(text.starts_with(r#"{"unlock":"#), "{text}");
        let back: Request = serde_json::from_str(&text).expect("it parses");
        let Request::Unlock { with: Opener::Passphrase(secret), .. } = &back else {
            panic!("another request came back: {back:?}");
        };
        assert_eq!(secret.expose(), "hibiscus");
        assert!(!format!("{back:?}").contains("hibiscus"));
    }

    #[test]
    fn a_decimal_keeps_its_digits_on_the_way() {
        let set = vec![("dose".to_owned(), serde_json::from_str("1.50").expect("a number"))];
        let request = Request::ChartEdit { resource: "A/1".into(), set, delete: false };
        let text = serde_json::to_string(&request).expect("it serialises");
        let back: Request = serde_json::from_str(&text).expect("it parses");
        let text_again = serde_json::to_string(&back).expect("it serialises");
        assert!(text_again.contains("1.50"), "{text_again}");
    }

    #[test]
    fn what_a_locked_node_can_still_do() {
        assert!(!Request::Status.needs_unlock());
        assert!(!Request::Sync { peer: None, timeout_s: 1 }.needs_unlock());
        assert!(Request::Verify.needs_unlock());
    }
}
