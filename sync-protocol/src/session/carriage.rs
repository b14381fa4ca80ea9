//! Runs, and their acknowledgement.
//!
//! An acknowledgement means durable custody: it is sent when the ledger has answered, not before.
//! A log that one side does not take is left out of the rest of the session, and delays no other.
//! One exception: what was refused for lack of a certificate is asked for again after more of the
//! control channel has come in, from this peer or another.

use super::{Event, Lane, LogHeads, Output, Question, RefuseReason, Session, Stage};
use crate::error::Violation;
use crate::id::{Channel, LogId};
use crate::joint::Outgoing;
use crate::limit;
use crate::message::{Acknowledgement, Message};
use crate::run::Run;
use crate::transfer::Parcel;

impl Session {
    /// Asks the ledger for as much as the windows allow.
    pub(super) fn load_more(&mut self) {
        while let Some(wanted) = self.transfer.next_load() {
            let request = self.ask(Question::Load(wanted.log));
            self.outputs.push_back(Output::Load {
                request,
                log: wanted.log,
                after: wanted.after,
                until: wanted.until,
                bytes_max: limit::LOAD_BYTES,
            });
        }
    }

    /// Sends what [`Input::Loaded`](super::Input::Loaded) brought.
    pub(super) fn loaded(&mut self, request: u64, runs: Vec<Outgoing>) {
        let log = match self.questions.remove(&request) {
            Some(Question::Load(log)) => log,
            Some(other) => {
                self.questions.insert(request, other);
                return;
            }
            None => return,
        };
        let mut parcels = Vec::with_capacity(runs.len());
        for Outgoing { run, joint } in runs.into_iter().filter(|out| out.run.log == log) {
            let Some(last) = run.head(self.config.practice) else { continue };
            let (previous, entries) = (run.previous, run.items.len() as u64);
            // Windows and receipts count the run itself: both sides know its bytes.
            let (sealed, joint) = (run.to_bytes(), joint.map(|joint| joint.to_bytes()));
            parcels.push(Parcel { log, previous, last, entries, bytes: sealed.len() });
            let frame = joint.unwrap_or(sealed);
            self.outputs.push_back(Output::Send { lane: Lane::Data(log.channel), frame });
        }
        self.transfer.loaded(log, &parcels);
    }

    /// A frame on a data lane.
    pub(super) fn run_frame(&mut self, channel: Channel, frame: &[u8]) -> Result<(), Violation> {
        if !self.carries(channel) {
            return Err(Violation::Channel);
        }
        let unstored = &mut self.unstored[usize::from(channel.number())];
        // The other side sends while less than a window is out, so a window and a frame can be.
        *unstored += frame.len();
        let stores =
            self.questions.values().filter(|question| matches!(question, Question::Store(..)));
        if *unstored > limit::UNDER_WAY_BYTES_MAX || stores.count() >= limit::STORES_MAX {
            return Err(Violation::Window);
        }
        let run = Run::from_bytes(frame)?;
        if run.log.channel != channel {
            return Err(Violation::Channel);
        }
        let (log, previous) = (run.log, run.previous);
        self.transfer.admit(&log)?;
        let run = run.verify(self.config.practice)?;
        let entries = run.entries().len() as u64;
        let parcel = Parcel { log, previous, last: run.head(), entries, bytes: frame.len() };
        match self.transfer.refused_by_us(&log) {
            // These do not pass while the session lasts.
            Some(reason @ (RefuseReason::Forks | RefuseReason::Revoked)) => {
                self.finish_store(&parcel, Some(reason));
            }
            _ => {
                #[cfg(planted)]
                if crate::planted::is("acknowledges-before-it-stored") {
                    let ack = Acknowledgement { log, last: parcel.last, refused: None };
                    self.say(&Message::Acknowledge(vec![ack]));
                }
                let request = self.ask(Question::Store(parcel, self.control_growth));
                self.outputs.push_back(Output::Store { request, runs: vec![run] });
            }
        }
        Ok(())
    }

    /// The ledger has taken or refused a run; see [`Input::Stored`](super::Input::Stored).
    pub(super) fn stored(
        &mut self,
        request: u64,
        heads: &LogHeads,
        refused: &[(LogId, RefuseReason)],
    ) {
        let (parcel, growth) = match self.questions.remove(&request) {
            Some(Question::Store(parcel, growth)) => (parcel, growth),
            Some(other) => {
                self.questions.insert(request, other);
                return;
            }
            None => return,
        };
        for (log, heads) in heads {
            self.grow(*log, heads);
        }
        let reason = refused.iter().find(|(log, _)| *log == parcel.log).map(|(_, reason)| *reason);
        match reason {
            None => {
                self.transfer.received(&parcel);
                self.received.add(parcel.entries, parcel.bytes as u64);
                self.note(|signing| signing.received.add(parcel.entries, parcel.bytes as u64));
            }
            Some(reason) => {
                self.transfer.refuse(parcel.log, reason);
                self.tell(Event::Refused { log: parcel.log, reason, by_us: true });
            }
        }
        self.finish_store(&parcel, reason);
        if reason == Some(RefuseReason::Uncertified) && growth != self.control_growth {
            // The ledger's answer and the news of the certificate have crossed.
            self.reconsider();
        }
        self.tell(Event::Progress(self.progress()));
    }

    fn finish_store(&mut self, parcel: &Parcel, refused: Option<RefuseReason>) {
        self.unstored[usize::from(parcel.log.channel.number())] -= parcel.bytes;
        #[cfg(planted)]
        if crate::planted::is("acknowledges-before-it-stored") && refused.is_none() {
            return;
        }
        let ack = Acknowledgement { log: parcel.log, last: parcel.last, refused };
        self.say(&Message::Acknowledge(vec![ack]));
    }

    /// The other side has taken or refused runs.
    pub(super) fn acknowledged(&mut self, acks: &[Acknowledgement]) -> Result<(), Violation> {
        for ack in acks {
            match self.transfer.acknowledge(ack)? {
                Some(parcel) => {
                    self.sent.add(parcel.entries, parcel.bytes as u64);
                    self.note(|signing| signing.sent.add(parcel.entries, parcel.bytes as u64));
                }
                None => {
                    let Some(reason) = ack.refused else { continue };
                    self.tell(Event::Refused { log: ack.log, reason, by_us: false });
                }
            }
        }
        self.tell(Event::Progress(self.progress()));
        Ok(())
    }

    fn note(&mut self, change: impl FnOnce(&mut super::Signing)) {
        if let Stage::Open(open) = &mut self.stage {
            change(&mut open.signing);
        }
    }
}
