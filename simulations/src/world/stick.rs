//! A stick that is carried from one node to another: the same runs as on a line, in a file.
//!
//! It may be read long after it was written, twice, by a node that is locked, or by one that has
//! moved on. Nothing is negotiated, so it may hold what is known, and lack what comes before.

use super::{Event, World};
use crate::chance::Chance;
use crate::checks::Flaw;
use carnet_node::records::RecordsError;
use carnet_node::records::handle::guarded;
use carnet_node::sync::Task;
use carnet_sync_protocol::entry::Run;

impl World {
    /// Writes what a node holds, or what another lacked of it by then.
    pub(super) fn write_stick(&mut self, from: usize, chance: &mut Chance) -> Result<(), Flaw> {
        let harness = |error: RecordsError| Flaw::harness("writing a stick", &error);
        let to = chance.index(self.clinics.len());
        let (wait, only_new) = (chance.between(1_000, 200_000), chance.one_in(2));
        let Some(counter) = self.clinics[from].counter().cloned() else { return Ok(()) };
        if from == to {
            return Ok(());
        }
        let records = counter.records();
        let mut runs = Vec::new();
        for (log, heads) in &records.frontier().0 {
            for head in heads {
                let mut after = Vec::new();
                if only_new && let Some(there) = self.clinics[to].counter() {
                    let there = there.records().frontier().heads(log).to_vec();
                    let known =
                        records.known(&there.iter().map(|head| (*log, *head)).collect::<Vec<_>>());
                    after = known.map_err(harness)?.into_iter().map(|(_, head)| head).collect();
                }
                if !after.contains(head) {
                    let loaded = records.load(log, &after, *head, usize::MAX >> 1);
                    runs.extend(loaded.map_err(harness)?.iter().map(Run::to_bytes));
                }
            }
        }
        drop(records);
        self.note(format_args!("c{from} writes {} runs to a stick for c{to}", runs.len()));
        if chance.one_in(4) {
            let again = self.now + wait + chance.between(1_000, 60_000);
            self.schedule(again, Event::Stick { clinic: to, runs: runs.clone() });
        }
        self.schedule(self.now + wait, Event::Stick { clinic: to, runs });
        Ok(())
    }

    /// Reads a stick. Each run is stored by itself, or refused.
    pub(super) fn read_stick(&mut self, at: usize, runs: &[Vec<u8>]) -> Result<(), Flaw> {
        let Some(practice) = self.facts.practice else { return Ok(()) };
        let Some(counter) = self.clinics[at].counter().cloned() else { return Ok(()) };
        let mut new = 0;
        for bytes in runs {
            let broken = |error: &dyn std::fmt::Display| {
                Flaw::new("what is on a stick is what was written to it", error.to_string())
            };
            let run = Run::from_bytes(bytes).map_err(|error| broken(&error))?;
            let run = run.verify(practice).map_err(|error| broken(&error))?;
            let task = Task::Store {
                peer: counter.records().transport_key(),
                request: 0,
                runs: vec![run],
            };
            self.asked(at, &counter.records(), &task)?;
            let Task::Store { runs, .. } = task else { continue };
            let received = guarded(&mut counter.records(), move |records| records.receive(&runs));
            match received {
                Ok(received) => new += received.new,
                Err(error) => {
                    // It fails too, and ends the transaction, as behind every call.
                    let _ = counter.records().commit();
                    return self.excuse(at, "reading a stick failed", &error.to_string());
                }
            }
            self.watch(at, &counter.records(), false)?;
        }
        let committed = counter.records().commit();
        drop(counter);
        self.note(format_args!("c{at} reads a stick: {new} entries are new"));
        match committed {
            Ok(news) => self.heard(at, &news),
            Err(error) => self.excuse(at, "a commit failed", &error.to_string()),
        }
    }
}
