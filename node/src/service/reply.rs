//! What commands answer, field by field: the keys that `--json` prints and scripts rely on.
//!
//! Keys are added freely and never renamed. Times are RFC 3339 in UTC; counts are integers.

use super::error::ErrorKind;
pub use crate::records::duplicates::Evidence;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A node was made, or restored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    /// The node's id.
    pub node: String,
    /// The practice's id.
    pub practice: String,
    /// The recovery code; present only where it was made just now, and shown only once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_code: Option<String>,
    /// The key file that opens the node, when that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// The peer that answered, after a join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// A backup was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackedUp {
    /// The file.
    pub file: String,
    /// How long it is.
    pub bytes: u64,
    /// Entries in it.
    pub entries: u64,
    /// Signatures in it.
    pub signatures: u64,
    /// Whether chains, hashes and signatures were checked, and the file read back; always true.
    pub verified: bool,
    /// When it was made.
    pub made: String,
    /// How long it took.
    pub seconds: f64,
}

/// A node came out of a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revived {
    /// The node's id, the same as before.
    pub node: String,
    /// The practice's id.
    pub practice: String,
    /// When the backup was made.
    pub made: String,
    /// Entries that came out of it, each checked.
    pub entries: u64,
    /// Signatures that were checked.
    pub signatures: u64,
    /// The key file that opens the node, when that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
}

/// A request to join by files was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Requested {
    /// The text of the request file.
    pub request: String,
    /// What to read out to whoever approves it.
    pub fingerprint: String,
}

/// The node was unlocked or locked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LockState {
    /// Whether it is locked now.
    pub locked: bool,
}

/// An invitation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invited {
    /// The text to hand to the new site.
    pub invitation: String,
    /// The site that it is for.
    pub site: String,
    /// `clinic` or `relay`.
    pub role: String,
    /// Until when it can be used.
    pub expires: String,
}

/// The answer to a request file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Approved {
    /// The text of the answer file.
    pub answer: String,
}

/// A line of the node list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeLine {
    /// Its id.
    pub node: String,
    /// Its site.
    pub site: String,
    /// `clinic` or `relay`.
    pub role: String,
    /// `active`, `expired`, `suspended`, `revoked` or `unattested`.
    pub state: String,
    /// When its certificate runs out.
    pub expires: String,
    /// Whether it is this node.
    pub this: bool,
}

/// A peer, as the status and the peer list show it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Peer {
    /// Its site; empty until it was met.
    pub site: String,
    /// Its node id; empty until it was met.
    pub node: String,
    /// Whether the practice still accepts it: `active`, `expired`, `suspended`,
    /// `revoked`, `unattested`.
    #[serde(default)]
    pub state: String,
    /// Where it is called; empty when it only calls us.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Whether the link stands now.
    pub connected: bool,
    /// Entries here that it does not hold yet, as far as known.
    pub to_send: u64,
    /// Entries there that this node does not hold yet, as far as known.
    pub to_receive: u64,
    /// When the last sync with it ended.
    pub last_sync: Option<String>,
}

/// Something that an administrator should see to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// Which, for scripts and for the words: `locked`, `quarantine`, `fork`...
    pub code: String,
    /// How many entries, logs or conflicts it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The time that it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub time: String,
    /// Whether it makes `ok` false. A peer that is away, or a node that awaits its passphrase,
    /// does not.
    pub serious: bool,
}

/// The state of the node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Whether the charts are closed.
    pub locked: bool,
    /// Whether a daemon answered, not this very command.
    pub running: bool,
    /// The practice's name; empty while it cannot be known.
    pub practice: String,
    /// This node's site.
    pub site: String,
    /// This node's id.
    pub node: String,
    /// Ledger entries held.
    pub entries: u64,
    /// Open conflicts; absent while locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflicts: Option<u64>,
    /// Addresses that answer peers.
    #[serde(default)]
    pub listening: Vec<String>,
    /// The peers.
    pub peers: Vec<Peer>,
    /// What is wrong, most urgent first.
    pub problems: Vec<Problem>,
}

/// A sync with one peer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SyncedPeer {
    /// Its site.
    pub site: String,
    /// Its node id.
    pub node: String,
    /// Entries it acknowledged.
    pub entries_sent: u64,
    /// Entries kept here.
    pub entries_received: u64,
    /// Bytes that went out.
    pub bytes_sent: u64,
    /// Bytes that came in.
    pub bytes_received: u64,
    /// How long it took.
    pub seconds: f64,
    /// The id of the receipt that both signed; absent when nothing moved.
    pub receipt: Option<String>,
    /// Whether both hold the same at its end; false when the time was up before.
    pub in_sync: bool,
}

/// A peer that could not be synced with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unreached {
    /// Its site, or its transport key.
    pub site: String,
    /// Whether it is merely away (`unreachable`), or would not (`denied`, `peer`).
    pub kind: ErrorKind,
    /// Why.
    pub reason: String,
}

/// A sync with every reachable peer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Synced {
    /// With whom it was done.
    pub peers: Vec<SyncedPeer>,
    /// With whom it was not.
    pub unreached: Vec<Unreached>,
}

/// An import.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Imported {
    /// Bundles (or single resources) taken.
    pub bundles: u64,
    /// Resources written.
    pub resources: u64,
    /// Resources that were there already.
    pub existing: u64,
    /// Resources left out for another reason.
    pub skipped: u64,
    /// Bundles refused whole.
    pub failed: u64,
    /// How long it took.
    pub seconds: f64,
    /// Which were refused, and why.
    pub failures: Vec<ImportFailure>,
    /// New patients who are likely registered already; the first 100.
    #[serde(default)]
    pub duplicates: Vec<LikelySame>,
}

/// A bundle that was refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportFailure {
    /// The file.
    pub file: String,
    /// Which bundle or line of the file, from 1.
    pub bundle: u64,
    /// Which entry of the bundle, from 1; absent when the bundle as a whole is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// Why.
    pub reason: String,
}

/// A check of everything that is held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verified {
    /// Whether every check passed.
    pub ok: bool,
    /// Entries checked.
    pub entries: u64,
    /// Signatures checked.
    pub signatures: u64,
    /// Of the entries, those in packs for which there is no key at hand: of these, only chains,
    /// signatures and the packs' hashes were checked.
    #[serde(default)]
    pub closed: u64,
    /// Documents rebuilt.
    pub documents: u64,
    /// Open conflicts.
    pub conflicts: u64,
    /// Equal on nodes that hold and show the same.
    pub state_digest: String,
    /// What does not hold.
    pub problems: Vec<String>,
}

/// What compaction did, or would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Compacted {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Documents of which something was packed; a log of the trail counts as one.
    pub documents: u64,
    /// Entries that were packed and had not been.
    pub entries: u64,
    /// Packs that were made.
    pub packs: u64,
    /// Bytes of what these took the place of.
    pub bytes_before: u64,
    /// Bytes of these packs.
    pub bytes_after: u64,
    /// Entries that stay as they are, since they would not come out the same here.
    pub kept: u64,
    /// Entries that stay as they are until all nodes hold them that this one syncs with.
    pub waiting: u64,
    /// The sites of those that are not known to hold everything.
    pub waiting_for: Vec<String>,
    /// Bytes of log.db before and after; the same in a dry run.
    pub log_bytes: (u64, u64),
    /// How long it took.
    pub seconds: f64,
}

/// A conflict that awaits a person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conflict {
    /// `Type/id`.
    pub resource: String,
    /// The element; empty when the whole resource is at issue.
    pub element: String,
    /// `same-element`, `same-resource` or `deleted-and-edited`.
    pub kind: String,
    /// Names the set of values that was shown; a resolution repeats it.
    pub seen: String,
    /// The values.
    pub values: Vec<ConflictValue>,
}

/// One of the values of a conflict.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConflictValue {
    /// Its id.
    pub id: String,
    /// The value; null when this side removed it.
    pub value: Value,
    /// Who wrote it.
    pub author: String,
    /// Where.
    pub site: String,
    /// When, by that node's clock.
    pub time: String,
    /// Whether this side deleted the resource; the value is then what it said before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Where this side moved the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<String>,
}

/// A resource was changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Edited {
    /// `Type/id`.
    pub resource: String,
    /// Its version now.
    pub version: String,
    /// False when it was so already.
    pub changed: bool,
    /// After a Patient was written: those who are likely the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<LikelySame>,
}

/// A patient who is likely registered already.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LikelySame {
    /// The patient's id.
    pub patient: String,
    /// The id of the one who is likely the same.
    pub same: String,
    /// How likely, from 60 to 100.
    pub score: u32,
}

/// Two patients about whom somebody has to say whether they are one person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Duplicate {
    /// Names the pair, the same on every node and at every time.
    pub id: String,
    /// How alike they are, to 100; from 60 on they are likely the same.
    pub score: u32,
    /// Whether they are linked, and somebody has also said that they are not the same.
    pub contradicted: bool,
    /// What speaks for and against, the weightiest first.
    pub reasons: Vec<Reason>,
    /// The two.
    pub patients: Vec<DuplicatePatient>,
}

/// What speaks for two patients being one, or against.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// Which: `same-name`, `other-sex`...
    pub evidence: Evidence,
    /// Points for it, or when negative against it.
    pub points: i32,
    /// The same in words; the program puts them here in the user's language.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
}

/// One of two patients who may be one person.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DuplicatePatient {
    /// The patient's id.
    pub id: String,
    /// The name as it is written.
    pub name: String,
    /// The birth date, if one is known.
    pub birth_date: Option<String>,
    /// The administrative gender, if one is known.
    pub gender: Option<String>,
    /// The identifiers' values.
    pub identifiers: Vec<String>,
    /// The site that registered the chart.
    pub site: String,
    /// Whether a conflict in the demographics is open.
    pub conflicted: bool,
}

/// One check of the doctor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// `ok`, `warning` or `failed`.
    pub status: CheckStatus,
    /// What was found.
    pub detail: String,
    /// What to do; empty when nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// It works, but look at it.
    Warning,
    /// It does not work.
    Failed,
}

/// A running node's first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Where it answers peers; empty when it only calls them.
    pub listening: Vec<String>,
    /// Whether it awaits its passphrase.
    pub locked: bool,
    /// The node.
    pub node: String,
}

/// What the demonstration showed, with every number that it prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Story {
    /// Whether both nodes show the same at the end.
    pub converged: bool,
    /// The digest of each node at the end.
    pub state_digests: Vec<String>,
    /// Conflicts that arose.
    pub conflicts: u64,
    /// Entries sent, both ways together.
    pub entries_sent: u64,
    /// Bytes sent, both ways together.
    pub bytes_sent: u64,
    /// Receipts that both signed, by id.
    pub receipts: Vec<String>,
    /// How long the whole took.
    pub seconds: f64,
    /// The two sites.
    pub sites: Vec<String>,
    /// Resources imported before the second site joined.
    pub resources: u64,
    /// Patients among them.
    pub patients: u64,
    /// The first sync, in which the second site received everything.
    pub first_sync: SyncedPeer,
    /// What each side did while the link was cut.
    pub apart: Vec<Apart>,
    /// The sync after the link came back.
    pub second_sync: SyncedPeer,
    /// Changes that merged by themselves.
    pub merged: Vec<String>,
    /// The conflict, with both values.
    pub conflict: Option<Conflict>,
    /// Which value was chosen, and where.
    pub resolution: Option<Resolution>,
    /// The sync that carried the decision.
    pub third_sync: SyncedPeer,
    /// Where the two nodes were left, when that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// An edit that one side made while the link was cut.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Apart {
    /// Where.
    pub site: String,
    /// On what: `Type/id`.
    pub resource: String,
    /// What people call it: the drug, the allergy.
    pub title: String,
    /// Which element, or `new`.
    pub element: String,
    /// What it became.
    pub value: Value,
}

/// How the conflict was decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resolution {
    /// Where.
    pub site: String,
    /// The value that was kept.
    pub value: Value,
    /// Open conflicts on each node afterwards.
    pub open: Vec<u64>,
}
