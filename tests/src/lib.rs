//! The harness of the stories: nodes in temporary directories, and a link between two of them that
//! carries what a session carries, without a network.

use carnet_node::access::{Action, Permit, operator_permit};
use carnet_node::base::environment::Environment;
use carnet_node::base::private::Private;
use carnet_node::chart::{Resource, ResourceKey};
use carnet_node::records::compact::{CompactReport, Thrift};
use carnet_node::records::import::Source;
use carnet_node::records::joining::Applicant;
use carnet_node::records::membership::{Invite, PracticeSecret};
use carnet_node::records::{Founded, Init, Records};
use carnet_node::vault::{RecoveryCode, UnlockMethod, UnlockSecret, Unlocked};
use carnet_sync_protocol::certificate::{Capabilities, Role};
use carnet_sync_protocol::entry::Run;
use carnet_sync_protocol::id::{LogId, NodeId};
use carnet_sync_protocol::message::{JoinAnswer, RefuseReason};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The passphrase of every node in the stories.
pub const PASSPHRASE: &str = "quatre chevaux bleus";

/// A permit for anything that the stories do.
pub fn permit(action: Action) -> Permit {
    operator_permit(action)
}

/// A node in a directory of its own.
pub struct Node {
    /// The node.
    pub records: Records,
    /// Its directory; removed at the end.
    pub dir: TempDir,
}

/// How nodes in the stories are unlocked: a key file in another temporary directory, since a
/// passphrase takes a sixth of a second each time.
pub fn unlock_method(dir: &Path) -> UnlockMethod {
    UnlockMethod::KeyFile(dir.with_extension("key"))
}

/// Founds a practice.
pub fn found(site: &str) -> (Node, RecoveryCode) {
    found_in(Environment::system(), site)
}

/// Founds a practice where time and chance are given.
pub fn found_in(environment: Environment, site: &str) -> (Node, RecoveryCode) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = dir.path().join("node");
    let init = Init {
        practice: "Casamance".into(),
        site: site.into(),
        unlock: unlock_method(&home),
        practice_passphrase: None,
    };
    let Founded { records, recovery_code } =
        Records::init(&home, environment, init).expect("a practice");
    (Node { records, dir }, recovery_code)
}

/// An invitation's terms.
pub fn terms(site: &str, role: Role) -> Invite {
    Invite {
        site: site.into(),
        role,
        capabilities: Capabilities { admit: false, restricted: true, audit: true },
        addresses: vec!["127.0.0.1:7411".into()],
        valid_ms: 3_600_000,
        practice: None,
    }
}

/// A second node, invited by `inviter`.
pub fn join(inviter: &mut Node, site: &str) -> Node {
    join_as(inviter, site, Role::Clinic)
}

/// A second node in a role.
pub fn join_as(inviter: &mut Node, site: &str, role: Role) -> Node {
    join_in(Environment::system(), inviter, terms(site, role))
}

/// A second node that may admit others, which takes the practice key.
pub fn join_with_admit(inviter: &mut Node, site: &str, code: RecoveryCode) -> Node {
    let capabilities = Capabilities { admit: true, restricted: true, audit: true };
    let practice = Some(PracticeSecret::RecoveryCode(code));
    let terms = Invite { capabilities, practice, ..terms(site, Role::Clinic) };
    join_in(Environment::system(), inviter, terms)
}

/// A second node on these terms, at another time.
pub fn join_in(environment: Environment, inviter: &mut Node, terms: Invite) -> Node {
    join_by(&permit(Action::Administer), environment, inviter, terms)
}

/// The same, invited by somebody with this permit.
pub fn join_by(
    permit: &Permit,
    environment: Environment,
    inviter: &mut Node,
    terms: Invite,
) -> Node {
    let invitation = inviter.records.invite(permit, terms).expect("an invitation");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = dir.path().join("node");
    let applicant = Applicant::begin(&home, environment, &unlock_method(&home)).expect("keys");
    let exporter = [7; 32];
    let request = applicant.request(&invitation, &exporter);
    let answer = inviter.records.answer_join(&request, &exporter).expect("an answer");
    inviter.records.commit().expect("a commit");
    let JoinAnswer::Admitted(admission) = answer else { panic!("refused: {answer:?}") };
    let records = applicant.admitted(&invitation, *admission).expect("a node");
    Node { records, dir }
}

impl Node {
    /// What another node is to the practice, as this one lists it.
    pub fn standing_of(&self, node: &NodeId) -> &'static str {
        let id = node.to_string();
        let rows = self.records.nodes().into_iter();
        rows.filter(|row| row.node == id).map(|row| row.standing).next().unwrap_or("not known")
    }

    /// Who it is.
    pub fn id(&self) -> NodeId {
        self.records.author().node
    }

    /// The node's own directory.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("node")
    }

    /// Drops the node as a crash would, does something to its directory, and opens it again, locked.
    #[must_use]
    pub fn reopened_locked(self, act: impl FnOnce(&Path)) -> Self {
        let home = self.home();
        let Self { records, dir } = self;
        let environment = records.environment().clone();
        drop(records);
        act(&home);
        Self { records: Records::open(&home, environment).expect("opened"), dir }
    }

    /// The same, and unlocks it.
    #[must_use]
    pub fn reopened(self, act: impl FnOnce(&Path)) -> Self {
        let mut node = self.reopened_locked(act);
        node.unlock();
        node
    }

    /// Unlocks the node with its key file.
    pub fn unlock(&mut self) {
        let secret =
            UnlockSecret::from_key_file(&self.home().with_extension("key")).expect("a key");
        self.records.unlock(&secret).expect("unlocked");
        self.records.commit().expect("a commit");
    }

    /// What an unlocked node keeps in memory: its keys in the wrong hands.
    pub fn unlocked(&self) -> Unlocked {
        let secret =
            UnlockSecret::from_key_file(&self.home().with_extension("key")).expect("a key");
        self.records.keyring().unlock(&secret).expect("unlocked")
    }

    /// Creates or replaces a resource.
    pub fn put(&mut self, body: Value) -> ResourceKey {
        let resource = Resource::from_value(body).expect("a resource");
        let key = resource.key();
        self.records.put(&permit(Action::Write), &resource).expect("saved");
        self.records.commit().expect("a commit");
        key
    }

    /// Sets one element.
    pub fn set(&mut self, key: &ResourceKey, element: &str, value: Value) {
        let elements = [(element.to_owned(), Some(value))];
        self.records.set_element(&permit(Action::Write), key, &elements).expect("saved");
        self.records.commit().expect("a commit");
    }

    /// What is shown of a resource.
    pub fn show(&mut self, key: &ResourceKey) -> Value {
        self.records.read(&permit(Action::Read), key).expect("shown").resource
    }

    /// Packs whatever can be packed.
    pub fn compact(&mut self) -> CompactReport {
        let thrift = Thrift { entries: 2, ..Thrift::default() };
        self.records.compact(&permit(Action::Operate), thrift, false).expect("packed")
    }

    /// Notes what another node holds, as a sync does.
    pub fn hears_of(&mut self, peer: &Self) {
        let frontier = peer.records.frontier();
        self.records.note_peer_frontier(&peer.id(), frontier).expect("noted");
        self.records.commit().expect("a commit");
    }

    /// Everything that it holds, as it would be sent.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        for (log, heads) in &self.records.frontier().0 {
            for head in heads {
                runs.extend(self.records.load(log, &[], *head, usize::MAX >> 1).expect("runs"));
            }
        }
        runs
    }

    /// The state digest, of a node on which nothing is wrong.
    pub fn digest(&mut self) -> String {
        let report = self.records.verify(&permit(Action::Operate), |_, _| {}).expect("a report");
        assert_eq!(report.problems, Vec::<String>::new());
        report.state_digest
    }

    /// Imports bundles, all of which must be taken.
    pub fn import(
        &mut self,
        bundles: Vec<(String, Vec<u8>)>,
    ) -> carnet_node::records::import::ImportReport {
        let sources = bundles.into_iter().map(|(name, bytes)| Source::bytes(name, bytes)).collect();
        self.records.import(&permit(Action::Import), sources, |_, _| {}).expect("a report")
    }
}

/// Carries everything that each holds and the other lacks; returns how many entries went each way.
pub fn sync(a: &mut Node, b: &mut Node) -> (u64, u64) {
    let mut moved = (0, 0);
    loop {
        let forth = carry(&mut a.records, &mut b.records);
        let back = carry(&mut b.records, &mut a.records);
        moved.0 += forth;
        moved.1 += back;
        if forth + back == 0 {
            return moved;
        }
    }
}

/// Carries what `from` holds and `to` lacks, log by log, the most urgent channel first.
pub fn carry(from: &mut Records, to: &mut Records) -> u64 {
    carry_logs(from, to, |_| true)
}

/// Carries only what one node wrote.
pub fn carry_of(author: NodeId, from: &mut Node, to: &mut Node) -> u64 {
    carry_logs(&mut from.records, &mut to.records, |log| log.author.node == author)
}

/// Carries only some logs.
pub fn carry_logs(from: &mut Records, to: &mut Records, wanted: impl Fn(&LogId) -> bool) -> u64 {
    let mut new = 0;
    let logs = from.frontier().0.clone();
    for (log, heads) in logs.into_iter().filter(|(log, _)| wanted(log)) {
        for head in heads {
            let mut after = to.frontier().heads(&log).to_vec();
            after.retain(|point| from.known(&[(log, *point)]).is_ok_and(|known| !known.is_empty()));
            while !after.contains(&head) {
                let runs = from.load(&log, &after, head, 1 << 20).expect("runs");
                let verified: Vec<_> = runs
                    .into_iter()
                    .map(|run| run.verify(from.practice()).expect("a sound run"))
                    .collect();
                let Some(last) = verified.last() else { break };
                let last = last.head();
                let received = to.receive(&verified).expect("received");
                new += received.new;
                if received.refused == [(log, RefuseReason::Uncertified)] {
                    // Its certificate is in a log that comes later: the next round takes it.
                    break;
                }
                assert_eq!(received.refused, []);
                after = vec![last];
            }
        }
    }
    to.commit().expect("a commit");
    new
}

/// Copies the files of a directory, as an image of the disk does, into another: made if it is not
/// there.
pub fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

/// Where third-party charts lie, if they are on this machine; stories that need them say when they
/// are not.
pub fn sample_data() -> Option<PathBuf> {
    let given = std::env::var_os("CARNET_SAMPLES").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    given.or(Some(beside)).filter(|path| path.is_dir())
}

/// A passphrase as a value that no log prints.
pub fn passphrase(text: &str) -> Private<String> {
    Private::new(text.to_owned())
}
