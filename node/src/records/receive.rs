//! What peers send: kept first, understood later.
//!
//! A run that comes here has sound hashes and a sound signature (its type says so). Its author
//! must be certified by the practice; whether it is still trusted, or was brought in by somebody
//! who was not, decides what is *shown*, not what is kept, so that all nodes come to hold the same
//! entries. But what stands behind a cut must be passed on by somebody who belongs: who was cut
//! off, and whoever they brought in, can't fill the ledgers of others.

use super::{Records, RecordsError};
use crate::identity::roster::Standing;
use crate::store::StoreError;
use carnet_sync_protocol::entry::VerifiedRun;
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::{Channel, LogId, TransportKey};
use carnet_sync_protocol::message::RefuseReason;
use std::collections::BTreeSet;

/// What became of the runs; durable after the next commit.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The new heads of each log that was sent.
    pub heads: Vec<(LogId, Vec<Head>)>,
    /// The logs of which something was refused.
    pub refused: Vec<(LogId, RefuseReason)>,
    /// How many entries were new.
    pub new: u64,
    /// How many were held already: of one peer's, none, unless another brought them meanwhile.
    pub held: u64,
}

impl Records {
    /// Keeps runs that somebody who belongs to the practice passes on.
    pub fn receive(&mut self, runs: &[VerifiedRun]) -> Result<Received, RecordsError> {
        self.receive_from(Courier::Member, runs)
    }

    /// Keeps runs that a peer sends.
    pub fn receive_of_peer(
        &mut self,
        peer: &TransportKey,
        runs: &[VerifiedRun],
    ) -> Result<Received, RecordsError> {
        let belongs = self.roster.by_transport(peer).is_some_and(|certificate| {
            self.roster.standing(&certificate.node()) == Standing::Active
        });
        self.receive_from(if belongs { Courier::Member } else { Courier::Other }, runs)
    }

    fn receive_from(
        &mut self,
        courier: Courier,
        runs: &[VerifiedRun],
    ) -> Result<Received, RecordsError> {
        self.begin()?;
        let mut received = Received::default();
        let (own, mut knows_more) = (self.author(), false);
        let mut logs = BTreeSet::new();
        let (mut statements, mut said, mut cut) = (false, false, false);
        for run in runs {
            let log = run.log();
            // A log that is cut and was not known: from now on the index is made under that cut.
            cut |= self.ledger.heads(&log).is_empty() && self.roster.cut(&log).is_some();
            logs.insert(log);
            match self.keep(courier, run) {
                Ok(kept) => {
                    knows_more |= kept.new > 0 && log.author == own;
                    received.new += kept.new;
                    received.held += kept.held;
                    statements |= kept.statements;
                    said |= kept.said;
                }
                Err(Outcome::Refused(reason)) => received.refused.push((log, reason)),
                Err(Outcome::Failed(error)) => return Err(error),
            }
        }
        // Told before it is durable: a line may speak of what a power cut then took. A thread of its own
        // writes the log, so what was kept may in turn lack its line, if the cut comes at once.
        tracing::debug!(new = received.new, held = received.held, "entries came");
        received.heads =
            logs.into_iter().map(|log| (log, self.ledger.heads(&log).to_vec())).collect();
        if knows_more {
            // A peer knew more of our own log than we did, perhaps more than it told: we are a
            // restored copy. Before what follows writes anything.
            self.begin_incarnation()?;
        }
        if said {
            self.fold_staff()?;
        }
        if statements {
            self.take_up_certificate();
            self.tend_keys()?;
        } else if said || cut {
            self.settle()?;
        }
        Ok(received)
    }

    fn keep(&mut self, courier: Courier, run: &VerifiedRun) -> Result<Kept, Outcome> {
        let log = run.log();
        if !self.is_certified(run) || (courier == Courier::Other && self.is_all_behind_cut(run)) {
            return Err(Outcome::Refused(RefuseReason::Uncertified));
        }
        let appended = self.ledger.append(run).map_err(|error| match error {
            StoreError::Gap { .. } => Outcome::Refused(RefuseReason::Gap),
            StoreError::TooManyBranches { .. } => Outcome::Refused(RefuseReason::Forks),
            error if error.is_refusal() => Outcome::Refused(RefuseReason::Storage),
            error => Outcome::Failed(error.into()),
        })?;
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("takes-over-the-time-of-others") {
            self.time = run.last().header.time.max(self.time);
        }
        let new = appended.new.end - appended.new.start;
        let kept = Kept { new, held: appended.held as u64, statements: false, said: false };
        if new == 0 {
            return Ok(kept);
        }
        self.transaction.grown.insert(log);
        if log.channel != Channel::Audit {
            self.matter.last = appended.new.end;
        }
        if log.channel == Channel::Staff && self.charts.is_some() {
            #[cfg(planted)]
            if carnet_sync_protocol::planted::is("reads-control-only-after-a-restart") {
                return Ok(kept);
            }
            for arrival in appended.new {
                if let Some(held) = self.ledger.at(arrival).map_err(RecordsError::from)? {
                    self.hear_staff(&held)?;
                }
            }
            return Ok(Kept { said: true, ..kept });
        }
        if log.channel != Channel::Control {
            return Ok(kept);
        }
        for arrival in appended.new {
            if let Some(held) = self.ledger.at(arrival).map_err(RecordsError::from)? {
                self.fold_statement(&held);
            }
        }
        Ok(Kept { statements: true, ..kept })
    }

    /// Whether even the first entry of a run is cut off.
    fn is_all_behind_cut(&self, run: &VerifiedRun) -> bool {
        let first = run.entries().first().map_or(0, |entry| entry.header.sequence);
        self.is_behind_cut(&run.log(), first)
    }

    /// Control entries may bring their author's own certificate; all others need it beforehand.
    fn is_certified(&self, run: &VerifiedRun) -> bool {
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("takes-strangers-for-certified") {
            return true;
        }
        use crate::identity::statement::ControlStatement;
        let node = run.log().author.node;
        if self.roster.is_known(&node) {
            return true;
        }
        run.log().channel == Channel::Control
            && run.entries().iter().any(|entry| {
                matches!(ControlStatement::from_payload(&entry.payload),
                    Ok(ControlStatement::Certificate(certificate))
                        if certificate.body.keys.entry == node
                            && certificate.clone().verify(self.practice()).is_ok())
            })
    }

    /// After control statements arrived: reads new keys, wraps those that others lack, and applies
    /// what could not be read before.
    pub(super) fn tend_keys(&mut self) -> Result<(), RecordsError> {
        if self.charts.is_none() {
            return Ok(());
        }
        self.read_keys();
        // What was missing to make a joint run again may have been a key.
        self.joint.forgive();
        self.arrange_recovery()?;
        let statements = {
            let charts = self.charts()?;
            charts.keys.fill_wraps(&self.environment, &self.roster)
        };
        for statement in statements {
            self.write_statement(&statement)?;
        }
        // A new key may open what was said, a cut may unsay it.
        self.read_staff()?;
        self.retry_unreadable()?;
        self.settle()
    }
}

/// Who passes runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Courier {
    /// A node of the practice, or a person with a file of one.
    Member,
    /// A node of which this one does not know that it belongs.
    Other,
}

/// What became of one run.
struct Kept {
    new: u64,
    held: u64,
    /// Whether there are control statements among the new ones.
    statements: bool,
    /// Whether there are statements about staff among them.
    said: bool,
}

enum Outcome {
    Refused(RefuseReason),
    Failed(RecordsError),
}

impl From<RecordsError> for Outcome {
    fn from(error: RecordsError) -> Self {
        Self::Failed(error)
    }
}
