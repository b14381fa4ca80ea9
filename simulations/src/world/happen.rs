//! What befalls the nodes: each planned item, when its time comes.

use super::turn::Call;
use super::{Event, World};
use crate::chance::Chance;
use crate::checks::Flaw;
use crate::faults::What;
use crate::rogue::Rogue;
use carnet_node::base::environment::Clock;
use carnet_node::chart::ResourceKey;

/// Ten years.
const DECADE_MS: u64 = 10 * 365 * 24 * 3_600_000;

impl World {
    /// A planned item.
    pub(super) fn happen(&mut self, number: usize) -> Result<(), Flaw> {
        let item = self.plan.items[number];
        let mut chance = Chance::new(item.chance);
        let at = chance.index(self.clinics.len());
        match item.what {
            What::Act => self.work(at, None, &mut chance),
            What::Cut => self.cut(&mut chance),
            What::Partition => self.partition(&mut chance),
            What::Kill | What::PowerCut => return self.doom(at, item.what, &mut chance),
            What::Restart => self.restart(at, &mut chance),
            What::Restore => return self.copy_to_restore(at, &mut chance),
            What::Clone => return self.copy_to_clone(at, &mut chance),
            What::Lock => return self.lock(at, &mut chance),
            What::FullDisk => {
                let until = self.now + chance.between(1_000, 60_000);
                self.schedule(until, Event::Room { clinic: at });
                let room = if chance.one_in(2) { 0 } else { chance.between(1, 12) };
                return self.fill(at, Some(room as u32));
            }
            What::Jump => self.jump(at, &mut chance),
            What::Join => return self.join(&mut chance),
            What::Revoke => return self.revoke(&mut chance),
            What::LoseIndex => return self.lose_index(at),
            What::Meddle => self.meddle(at, &mut chance),
            What::Rogue => return self.rogue(at, &mut chance),
            What::Stick => return self.write_stick(at, &mut chance),
            What::Compact => return self.compact(at, &mut chance),
        }
        Ok(())
    }

    /// Somebody at a node reads and writes, perhaps what others work on too.
    pub(super) fn work(&mut self, at: usize, focus: Option<ResourceKey>, chance: &mut Chance) {
        if self.clinics[at].is_unlocked() && !self.healing {
            let call = Call::Act { chance: chance.next(), token: self.token(), focus };
            self.call(at, call);
        }
    }

    /// A word that nobody has said.
    pub(super) fn token(&mut self) -> u32 {
        self.next_token += 1;
        self.next_token
    }

    fn cut(&mut self, chance: &mut Chance) {
        let line = chance.index(self.lines.len());
        let for_ms = chance.between(1_000, 200_000);
        let from = chance.index(2);
        let one_way = chance.one_in(3);
        let Some([a, b]) = self.lines.get(line).map(|line| line.ends) else { return };
        let way = if one_way { "one way" } else { "both ways" };
        self.note(format_args!("line c{a}-c{b} is cut {way} for {for_ms} ms"));
        self.block(line, from, for_ms);
        if !one_way {
            self.block(line, 1 - from, for_ms);
        }
    }

    fn partition(&mut self, chance: &mut Chance) {
        let groups = chance.next();
        let for_ms = chance.between(5_000, 300_000);
        self.note(format_args!("a partition for {for_ms} ms"));
        for line in 0..self.lines.len() {
            let [a, b] = self.lines[line].ends.map(|end| groups >> (end % 64) & 1);
            if a != b {
                self.block(line, 0, for_ms);
                self.block(line, 1, for_ms);
            }
        }
    }

    fn jump(&mut self, at: usize, chance: &mut Chance) {
        let far = if chance.one_in(2) { DECADE_MS } else { 3_600_000 };
        let ahead = chance.between(0, 2 * far) as i64 - far as i64;
        self.note(format_args!("c{at}: the clock jumps to {ahead} ms ahead"));
        self.clinics[at].hands.set_ahead(ahead);
    }

    /// A node begins to pass on what it did not get, for a while.
    fn meddle(&mut self, at: usize, chance: &mut Chance) {
        let for_ms = chance.between(10_000, 200_000);
        self.note(format_args!("c{at} meddles for {for_ms} ms"));
        self.meddlers.insert(at, self.now + for_ms);
    }

    /// Somebody who has a node's keys writes what harms a document.
    fn rogue(&mut self, at: usize, chance: &mut Chance) -> Result<(), Flaw> {
        let Some(counter) = self.clinics[at].counter().cloned() else { return Ok(()) };
        if !self.clinics[at].is_unlocked() || self.desks[at].full {
            return Ok(());
        }
        let harness = |error: &dyn std::fmt::Display| Flaw::harness("a rogue", error);
        let token = self.token();
        let mut records = counter.records();
        let clinic = &self.clinics[at];
        let rogue = Rogue {
            records: &records,
            unlocked: clinic.secrets().map_err(|error| harness(&error))?,
            home: clinic.home(),
            unix_ms: clinic.hands.unix_ms(),
        };
        let crafted = rogue.craft(token, chance).map_err(|error| harness(&error))?;
        drop(rogue);
        let Some(crafted) = crafted else { return Ok(()) };
        self.note(format_args!(
            "c{at} writes {:?} (word {token}) in document {}",
            crafted.attack, crafted.document
        ));
        self.facts.lied(token, crafted.attack.is_sound());
        let received = records.receive(&crafted.runs).map_err(|error| harness(&error))?;
        if !received.refused.is_empty() {
            return Err(Flaw::harness("a rogue", &"its own node refused it"));
        }
        let news = records.commit().map_err(|error| harness(&error))?;
        drop(records);
        self.heard(at, &news)
    }
}
