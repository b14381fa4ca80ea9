//! One history: nodes, lines, a clock and a queue, all from one seed.
//!
//! Phase one: people work, and what was planned befalls the nodes. Phase two: everything heals,
//! and all nodes must come to hold and to show the same. Nothing here reads a clock, draws chance
//! of its own, or runs on another thread, so a seed gives the same history each time.
//!
//! What is real: the protocol's sessions, the records with vault, charts and store on SQLite, and
//! the link's own decisions (`Conversation`, `perform`, `Batch`). What is simulated: QUIC
//! (see `network`), the thread that owns the records (here a *turn*: the calls that wait are run
//! one after another, made durable together, and only then answered), time, chance and machines.

mod compact;
mod happen;
mod heal;
mod level;
mod life;
mod link;
mod membership;
mod secrets;
mod stick;
mod turn;

use crate::chance::Chance;
use crate::checks::{Facts, Flaw};
use crate::clinic::{Clinic, Copy};
use crate::faults::Plan;
use crate::journal::Journal;
use crate::meddle::Meddler;
use crate::network::{Line, Link};
use crate::workload::{Catalogue, Token};
use carnet_node::chart::ResourceKey;
use carnet_node::vault::RecoveryCode;
use carnet_sync_protocol::session::Lane;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;
use turn::Call;

/// Events in one history at most: one that needs more runs in a circle.
const EVENTS_MAX: u64 = 400_000;

/// Something that is due.
enum Event {
    /// A frame arrives at an end of a link.
    Arrive { link: u64, end: usize, lane: Lane, frame: Vec<u8> },
    /// A session's deadline.
    Tick { link: u64, end: usize, at: u64 },
    /// An end notices that its connection is gone.
    Lost { link: u64, end: usize },
    /// An end gives a silent connection up, if it still is.
    GiveUp { link: u64, end: usize },
    /// A line may go in a direction again.
    Unblock { line: usize, from: usize },
    /// Somebody dials.
    Dial { line: usize },
    /// A handshake is done.
    Connect { line: usize, dialer: usize },
    /// The thread that owns a node's records takes what waits.
    Turn { clinic: usize, life: u32 },
    /// Something planned happens.
    Item(usize),
    /// A process is started.
    Open { clinic: usize },
    /// Somebody unlocks a node.
    Unlock { clinic: usize, life: u32 },
    /// A copy of a directory is put back.
    Restore { clinic: usize, copy: Copy, same_place: bool },
    /// A copy of a directory begins to run elsewhere.
    Clone { clinic: usize, copy: Copy, same_place: bool, chance: u64 },
    /// A stick is read: runs, as they were written to it.
    Stick { clinic: usize, runs: Vec<Vec<u8>> },
    /// A disk has room again.
    Room { clinic: usize },
    /// Somebody at a node works.
    Work { clinic: usize, focus: Option<ResourceKey>, chance: u64 },
    /// A suspension is ended by who made it.
    Reinstate { by: usize, target: usize },
    /// Everything heals.
    Heal,
}

/// What waits for the thread that owns a node's records.
#[derive(Default)]
struct Desk {
    calls: VecDeque<Call>,
    turn_due: bool,
    /// The process is to be killed within its next turn.
    doom: Option<turn::Doom>,
    /// The disk is full.
    full: bool,
}

/// One history.
pub struct World {
    plan: Plan,
    clinics: Vec<Clinic>,
    desks: Vec<Desk>,
    lines: Vec<Line>,
    links: BTreeMap<u64, Link>,
    queue: BTreeMap<(u64, u64), Event>,
    order: u64,
    next_link: u64,
    now: u64,
    clock: Arc<AtomicU64>,
    network: Chance,
    turns: Chance,
    keys: Chance,
    catalogue: Catalogue,
    next_token: Token,
    code: Option<RecoveryCode>,
    copies: usize,
    /// Until when a node meddles.
    meddlers: BTreeMap<usize, u64>,
    /// The joint runs that are about to leave, and the runs that they stand for.
    joint: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The links over which somebody meddled.
    meddled: BTreeSet<u64>,
    meddler: Meddler,
    healing: bool,
    /// The nodes that are to come to rest; known once everything heals.
    active: BTreeSet<usize>,
    journal: Journal,
    facts: Facts,
    base: TempDir,
}

/// What came of a history.
pub struct Told {
    /// The hash of its log and of what all nodes hold and show at the end.
    pub hash: blake3::Hash,
    /// What is wrong, if anything is.
    pub flaw: Option<Flaw>,
}

impl World {
    /// Lives a plan; `aloud` prints what happens.
    pub fn live(plan: Plan, aloud: bool) -> Told {
        let mut world = match Self::new(plan, aloud) {
            Ok(world) => world,
            Err(flaw) => return Told { hash: blake3::hash(b""), flaw: Some(flaw) },
        };
        let flaw = world.run().err();
        if let Some(flaw) = &flaw {
            world.note(format_args!("FLAW {flaw}"));
        }
        Told { hash: world.journal.hash(), flaw }
    }

    fn new(plan: Plan, aloud: bool) -> Result<Self, Flaw> {
        let mut chance = Chance::new(plan.chance);
        let base = tempfile::Builder::new()
            .prefix("carnet-history-")
            .tempdir_in(memory())
            .map_err(|error| Flaw::harness("no directory", &error))?;
        let mut world = Self {
            clinics: Vec::new(),
            desks: Vec::new(),
            lines: Vec::new(),
            links: BTreeMap::new(),
            queue: BTreeMap::new(),
            order: 0,
            next_link: 0,
            now: 0,
            clock: Arc::new(AtomicU64::new(0)),
            network: chance.split(),
            turns: chance.split(),
            keys: chance.split(),
            catalogue: Catalogue::default(),
            next_token: 0,
            code: None,
            copies: 0,
            meddlers: BTreeMap::new(),
            joint: BTreeMap::new(),
            meddled: BTreeSet::new(),
            meddler: Meddler::default(),
            healing: false,
            active: BTreeSet::new(),
            journal: Journal::new(aloud, base.path()),
            facts: Facts::default(),
            base,
            plan,
        };
        world.note(format_args!("{}", world.plan.clone()));
        world.found()?;
        for (number, item) in world.plan.items.clone().into_iter().enumerate() {
            world.schedule(item.at_ms, Event::Item(number));
        }
        let heal = world.plan.options.faults_ms;
        world.schedule(heal, Event::Heal);
        Ok(world)
    }

    fn run(&mut self) -> Result<(), Flaw> {
        let mut events = 0;
        let mut next_look = 0;
        while let Some(((time, _), event)) = self.queue.pop_first() {
            events += 1;
            if events > EVENTS_MAX {
                return Err(Flaw::new("convergence", "the nodes do not come to rest".into()));
            }
            self.now = self.now.max(time);
            self.clock.store(self.now, Ordering::Relaxed);
            self.handle(event)?;
            if self.healing && self.now >= next_look {
                next_look = self.now + 500;
                if self.is_at_rest()? {
                    return self.judge();
                }
            }
        }
        // They may have come to rest since the last look.
        if self.healing && self.is_at_rest()? {
            return self.judge();
        }
        Err(Flaw::new("convergence", format!("nothing happens any more; {}", self.unrest())))
    }

    fn handle(&mut self, event: Event) -> Result<(), Flaw> {
        match event {
            Event::Arrive { link, end, lane, frame } => self.arrive(link, end, lane, frame),
            Event::Tick { link, end, at } => self.tick(link, end, at),
            Event::Lost { link, end } => self.lost(link, end),
            Event::GiveUp { link, end } => self.give_up(link, end),
            Event::Unblock { line, from } => self.unblock(line, from),
            Event::Dial { line } => {
                self.dial(line);
                Ok(())
            }
            Event::Connect { line, dialer } => self.connect(line, dialer),
            Event::Turn { clinic, life } => self.turn(clinic, life),
            Event::Item(number) => self.happen(number),
            Event::Open { clinic } => self.open(clinic),
            Event::Unlock { clinic, life } => self.unlock(clinic, life),
            Event::Restore { clinic, copy, same_place } => self.restore(clinic, &copy, same_place),
            Event::Clone { clinic, copy, same_place, chance } => {
                self.clone_of(clinic, &copy, same_place, chance)
            }
            Event::Stick { clinic, runs } => self.read_stick(clinic, &runs),
            Event::Room { clinic } => self.fill(clinic, None),
            Event::Work { clinic, focus, chance } => {
                self.work(clinic, focus, &mut Chance::new(chance));
                Ok(())
            }
            Event::Reinstate { by, target } => self.reinstate(by, target),
            Event::Heal => self.heal(),
        }
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.insert((at.max(self.now), self.order), event);
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.journal.note(self.now, what);
    }

    /// Has a node's thread take a call.
    fn call(&mut self, clinic: usize, call: Call) {
        self.desks[clinic].calls.push_back(call);
        if !self.desks[clinic].turn_due {
            self.desks[clinic].turn_due = true;
            let (life, at) = (self.clinics[clinic].life, self.now + self.turns.between(1, 12));
            self.schedule(at, Event::Turn { clinic, life });
        }
    }
}

/// Where directories are made: in memory, if the machine has such a place.
fn memory() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}
