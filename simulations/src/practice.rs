//! A small practice in temporary directories, the same for the same seed: what attacks are aimed
//! at, and what their samples are taken from.

use carnet_node::access::{Action, Permit, operator_permit};
use carnet_node::base::environment::{Environment, ManualClock};
use carnet_node::chart::{Resource, ResourceKey};
use carnet_node::identity::Invitation;
use carnet_node::records::import::Source;
use carnet_node::records::joining::Applicant;
use carnet_node::records::membership::Invite;
use carnet_node::records::{Init, Records};
use carnet_node::sample::{Generator, Size};
use carnet_node::vault::{UnlockMethod, UnlockSecret, Unlocked};
use carnet_sync_protocol::certificate::{Capabilities, Role};
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::LogId;
use carnet_sync_protocol::message::{JoinAnswer, JoinRequest};
use serde_json::Value;
use std::error::Error;
use std::sync::Arc;
use tempfile::TempDir;

/// What may go wrong while it is made.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// When all of this takes place.
pub const BEGUN_MS: u64 = 1_780_000_000_000;

/// A node.
pub struct Node {
    /// Its records, unlocked.
    pub records: Records,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// Where it lies.
    pub dir: TempDir,
}

/// What was said while a node joined.
pub struct Joined {
    /// The invitation.
    pub invitation: Invitation,
    /// The new node's request.
    pub request: JoinRequest,
    /// The inviter's answer.
    pub answer: JoinAnswer,
}

/// A permit for anything.
pub fn permit(action: Action) -> Permit {
    operator_permit(action)
}

/// The terms of an invitation.
pub fn terms(site: &str) -> Invite {
    Invite {
        site: site.into(),
        role: Role::Clinic,
        capabilities: Capabilities { admit: false, restricted: true, audit: true },
        addresses: vec!["127.0.0.1:7411".into()],
        valid_ms: 3_600_000,
        practice: None,
    }
}

impl Node {
    /// Founds a practice.
    pub fn found(seed: u64) -> Outcome<Self> {
        let (environment, clock) = Environment::seeded(seed, BEGUN_MS);
        let dir = tempfile::tempdir()?;
        let init = Init {
            practice: "Casamance".into(),
            site: "Ziguinchor".into(),
            unlock: UnlockMethod::KeyFile(dir.path().join("key")),
            practice_passphrase: None,
        };
        let founded = Records::init(&dir.path().join("node"), environment, init)?;
        Ok(Self { records: founded.records, clock, dir })
    }

    /// A second node of the same practice.
    pub fn join(&mut self, seed: u64, site: &str) -> Outcome<(Self, Joined)> {
        let invitation = self.records.invite(&permit(Action::Administer), terms(site))?;
        let (environment, clock) = Environment::seeded(seed, BEGUN_MS);
        let dir = tempfile::tempdir()?;
        let unlock = UnlockMethod::KeyFile(dir.path().join("key"));
        let applicant = Applicant::begin(&dir.path().join("node"), environment, &unlock)?;
        let request = applicant.request(&invitation, &[7; 32]);
        let answer = self.records.answer_join(&request, &[7; 32])?;
        self.records.commit()?;
        let JoinAnswer::Admitted(admission) = answer.clone() else {
            return Err("not admitted".into());
        };
        let records = applicant.admitted(&invitation, *admission)?;
        let mut node = Self { records, clock, dir };
        node.carry_from(&mut self.records)?;
        self.carry_from(&mut node.records)?;
        node.carry_from(&mut self.records)?;
        Ok((node, Joined { invitation, request, answer }))
    }

    /// The node's secrets.
    pub fn unlocked(&self) -> Outcome<Unlocked> {
        let secret = UnlockSecret::from_key_file(&self.dir.path().join("key"))?;
        Ok(self.records.keyring().unlock(&secret)?)
    }

    /// Takes in invented patients.
    pub fn import(&mut self, seed: u64, count: usize) -> Outcome<()> {
        let mut generator = Generator::new(seed, BEGUN_MS);
        let bundles = (0..count).map(|at| {
            let bundle = generator.patient(Size::Small).to_string();
            Source::bytes(format!("{at}.json"), bundle.into_bytes())
        });
        let sources = bundles.collect();
        let report = self.records.import(&permit(Action::Import), sources, |_, _| {})?;
        self.records.commit()?;
        if report.failed == 0 { Ok(()) } else { Err("an invented patient was refused".into()) }
    }

    /// Writes a resource.
    pub fn put(&mut self, body: Value) -> Outcome<ResourceKey> {
        let resource = Resource::from_value(body)?;
        self.records.put(&permit(Action::Write), &resource)?;
        self.records.commit()?;
        Ok(resource.key())
    }

    /// Takes in everything that the other holds.
    pub fn carry_from(&mut self, other: &mut Records) -> Outcome<u64> {
        let mut new = 0;
        for (log, heads) in other.frontier().0.clone() {
            for head in heads {
                new += self.carry_log(other, log, head)?;
            }
        }
        self.records.commit()?;
        Ok(new)
    }

    fn carry_log(&mut self, other: &Records, log: LogId, head: Head) -> Outcome<u64> {
        let mut after = self.records.frontier().heads(&log).to_vec();
        after.retain(|point| other.known(&[(log, *point)]).is_ok_and(|known| !known.is_empty()));
        let mut new = 0;
        while !after.contains(&head) {
            let runs = other.load(&log, &after, head, 1 << 20)?;
            let verified: Result<Vec<_>, _> =
                runs.into_iter().map(|run| run.verify(other.practice())).collect();
            let verified = verified?;
            let Some(last) = verified.last() else { break };
            after = vec![last.head()];
            let received = self.records.receive(&verified)?;
            new += received.new;
            if !received.refused.is_empty() {
                // Its certificate is in a log that comes later: the next round takes it.
                break;
            }
        }
        Ok(new)
    }
}
