//! Processes and directories: killed, started, unlocked, put back, copied, filled.

use super::membership::NODES_MAX;
use super::turn::Doom;
use super::{Event, World};
use crate::chance::Chance;
use crate::checks::Flaw;
use crate::clinic::{Copy, End};
use crate::faults::What;
use std::io;

fn disk(error: io::Error) -> Flaw {
    Flaw::harness("a directory", &error)
}

impl World {
    pub(super) fn doom(&mut self, at: usize, what: What, chance: &mut Chance) -> Result<(), Flaw> {
        if self.clinics[at].counter().is_none() {
            return Ok(());
        }
        let how = match what {
            What::PowerCut => End::PowerCut(chance.below(1_001)),
            _ => End::Kill,
        };
        if chance.one_in(3) {
            return self.kill(at, how);
        }
        if chance.one_in(2) {
            // Two write in the moment before, one of them perhaps just not.
            self.work(at, None, chance);
            self.work(at, None, chance);
        }
        self.desks[at].doom = Some(Doom { after: chance.below(4) as usize, how });
        Ok(())
    }

    /// Ends a process before its time; it is started again after a while.
    pub(super) fn kill(&mut self, at: usize, how: End) -> Result<(), Flaw> {
        if self.stop(at, how)? {
            self.rise(at);
        }
        Ok(())
    }

    fn stop(&mut self, at: usize, how: End) -> Result<bool, Flaw> {
        if self.clinics[at].counter().is_none() {
            return Ok(false);
        }
        self.note(format_args!("c{at} ends: {how:?}"));
        self.gone(at);
        self.clinics[at].end(how).map_err(disk)?;
        Ok(true)
    }

    /// The process of a node is about to be gone: so are its calls and its ends of links.
    fn gone(&mut self, at: usize) {
        let desk = &mut self.desks[at];
        desk.calls.clear();
        desk.turn_due = false;
        desk.doom = None;
        desk.full = false;
        self.drop_links(at);
    }

    /// A process is to be started after a while.
    fn rise(&mut self, at: usize) {
        let wait = if self.healing { 100 } else { self.turns.between(500, 60_000) };
        self.schedule(self.now + wait, Event::Open { clinic: at });
    }

    pub(super) fn restart(&mut self, at: usize, chance: &mut Chance) {
        if self.clinics[at].counter().is_none() {
            return;
        }
        self.note(format_args!("c{at} is closed"));
        self.gone(at);
        self.clinics[at].close();
        let wait = chance.between(100, 20_000);
        self.schedule(self.now + wait, Event::Open { clinic: at });
    }

    pub(super) fn lose_index(&mut self, at: usize) -> Result<(), Flaw> {
        if self.stop(at, End::Kill)? {
            self.note(format_args!("c{at} loses its index"));
            self.clinics[at].lose_index().map_err(disk)?;
            self.rise(at);
        }
        Ok(())
    }

    pub(super) fn open(&mut self, at: usize) -> Result<(), Flaw> {
        if self.clinics[at].counter().is_some() {
            return Ok(());
        }
        let before = self.clinics[at].life;
        self.clinics[at].open().map_err(|error| {
            Flaw::new("a node opens after whatever befell it", format!("c{at}: {error}"))
        })?;
        self.check_life(at)?;
        let life = before + 1;
        self.note(format_args!("c{at} is up, locked, life {life}"));
        // Nobody may be there to unlock it for a while.
        let wait = if self.healing || !self.turns.one_in(3) {
            self.turns.between(50, 500)
        } else {
            self.turns.between(1_000, 120_000)
        };
        self.schedule(self.now + wait, Event::Unlock { clinic: at, life });
        for line in 0..self.lines.len() {
            if self.lines[line].ends.contains(&at) {
                self.redial(line);
            }
        }
        Ok(())
    }

    pub(super) fn unlock(&mut self, at: usize, life: u32) -> Result<(), Flaw> {
        let clinic = &self.clinics[at];
        let Some(counter) = clinic.counter().cloned() else { return Ok(()) };
        if clinic.life != life || clinic.is_unlocked() {
            return Ok(());
        }
        let unlocked = clinic.unlock();
        let committed = counter.records().commit();
        drop(counter);
        let news = match unlocked.and(committed) {
            Ok(news) => news,
            Err(error) => return self.excuse(at, "unlocking failed", &error.to_string()),
        };
        self.note(format_args!("c{at} is unlocked"));
        self.heard(at, &news)
    }

    pub(super) fn lock(&mut self, at: usize, chance: &mut Chance) -> Result<(), Flaw> {
        let Some(counter) = self.clinics[at].counter().cloned() else { return Ok(()) };
        if !self.clinics[at].is_unlocked() {
            return Ok(());
        }
        let mut records = counter.records();
        let locked = records.lock();
        let committed = records.commit();
        let is_locked = records.is_locked();
        drop(records);
        drop(counter);
        if !is_locked {
            return Err(Flaw::new("who locks a node finds it locked", format!("c{at} is not")));
        }
        self.note(format_args!("c{at} is locked"));
        match locked.and(committed) {
            Ok(news) => self.heard(at, &news)?,
            Err(error) => self.excuse(at, "locking failed", &error.to_string())?,
        }
        let life = self.clinics[at].life;
        let wait = chance.between(1_000, 120_000);
        self.schedule(self.now + wait, Event::Unlock { clinic: at, life });
        Ok(())
    }

    /// A copy of a directory is made now, and put back in its place after a while.
    pub(super) fn copy_to_restore(&mut self, at: usize, chance: &mut Chance) -> Result<(), Flaw> {
        let copy = self.copy(at)?;
        let wait = chance.between(5_000, 200_000);
        let same_place = chance.one_in(2);
        self.schedule(self.now + wait, Event::Restore { clinic: at, copy, same_place });
        Ok(())
    }

    fn copy(&mut self, at: usize) -> Result<Copy, Flaw> {
        self.copies += 1;
        let number = self.copies;
        self.note(format_args!("c{at}: copy {number} of the directory"));
        self.clinics[at].copy(number).map_err(disk)
    }

    pub(super) fn restore(&mut self, at: usize, copy: &Copy, same_place: bool) -> Result<(), Flaw> {
        if self.healing {
            return Ok(());
        }
        let ran = self.stop(at, End::Kill)?;
        self.note(format_args!("c{at} is put back, on the same machine: {same_place}"));
        let author =
            self.clinics[at].author().map_err(|error| Flaw::harness("a restore", &error))?;
        self.clinics[at].restore(copy, same_place).map_err(disk)?;
        if same_place {
            // Nothing on the machine tells it: it may write once more what it wrote before.
            self.facts.may_fork(at, author);
        }
        let Self { clinics, facts, .. } = self;
        facts.set_back(at, clinics.len(), |other, log, head| {
            clinics[other].holds(log, head).unwrap_or(false)
        });
        if ran {
            self.rise(at);
        }
        Ok(())
    }

    /// A copy of a directory is made now, and runs beside the original after a while.
    pub(super) fn copy_to_clone(&mut self, at: usize, chance: &mut Chance) -> Result<(), Flaw> {
        if self.clinics.len() >= NODES_MAX {
            return Ok(());
        }
        let copy = self.copy(at)?;
        let wait = chance.between(0, 60_000);
        let (same_place, chance) = (chance.one_in(2), chance.next());
        self.schedule(self.now + wait, Event::Clone { clinic: at, copy, same_place, chance });
        Ok(())
    }

    pub(super) fn clone_of(
        &mut self,
        at: usize,
        copy: &Copy,
        same_place: bool,
        chance: u64,
    ) -> Result<(), Flaw> {
        if self.clinics.len() >= NODES_MAX || self.healing {
            return Ok(());
        }
        let site = self.site();
        let twin = self.clinics[at].cloned(copy, site, same_place).map_err(disk)?;
        let new = self.clinics.len();
        self.note(format_args!("c{new} is a clone of c{at}, all marks copied: {same_place}"));
        if same_place {
            let author = twin.author().map_err(|error| Flaw::harness("a clone", &error))?;
            self.facts.may_fork(at, author);
            self.facts.may_fork(new, author);
        }
        self.settle(twin)?;
        let mut chance = Chance::new(chance);
        let known = chance.index(new);
        self.link_newcomer(known, &mut chance);
        self.open(new)
    }

    /// Leaves a node's disk room for so many pages, or all the room that it wants.
    pub(super) fn fill(&mut self, at: usize, room: Option<u32>) -> Result<(), Flaw> {
        let full = room.is_some();
        let Some(counter) = self.clinics[at].counter().cloned() else { return Ok(()) };
        if self.desks[at].full == full {
            return Ok(());
        }
        counter
            .records()
            .limit_growth(room)
            .map_err(|error| Flaw::harness("a full disk", &error))?;
        self.desks[at].full = full;
        self.note(format_args!("c{at}: the disk has room for pages: {room:?}"));
        Ok(())
    }
}
