//! What befalls a history, all drawn from its seed before it begins.
//!
//! A history is a *plan*: how many nodes, how they are linked, and a list of items, each at a time
//! and with chance of its own. Leaving items out (which is how a failing history is made smaller)
//! changes nothing about the others but what follows from them.

use crate::chance::Chance;
use std::fmt;

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Somebody at a node reads, and writes.
    Act,
    /// The line between two nodes is down for a while, in both directions or in one.
    Cut,
    /// The nodes fall apart in two groups for a while.
    Partition,
    /// A process is killed: anywhere, after some of the calls that share a commit, or after the
    /// commit and before its answers.
    Kill,
    /// The power fails, and with it the end of what nobody waited for.
    PowerCut,
    /// A process is ended in good order, and started again.
    Restart,
    /// A directory is put back to how it was some time ago, on the same machine or another.
    Restore,
    /// A directory is copied, and both run.
    Clone,
    /// A node is locked for a while.
    Lock,
    /// A disk is full for a while.
    FullDisk,
    /// A clock jumps by up to ten years, either way, and perhaps back.
    Jump,
    /// A node joins the practice.
    Join,
    /// A node is revoked, or suspended and perhaps reinstated, and the keys are renewed.
    Revoke,
    /// An index is lost while its node is down.
    LoseIndex,
    /// A node with a valid certificate drops, replays and alters what it passes on, for a while.
    Meddle,
    /// A node with a valid certificate writes what no honest node would.
    Rogue,
    /// What a node holds is carried to another on a stick, and read there some time later.
    Stick,
    /// A node packs its ledger.
    Compact,
}

impl What {
    /// All of them but the acts.
    pub const FAULTS: [Self; 17] = [
        Self::Cut,
        Self::Partition,
        Self::Kill,
        Self::PowerCut,
        Self::Restart,
        Self::Restore,
        Self::Clone,
        Self::Lock,
        Self::FullDisk,
        Self::Jump,
        Self::Join,
        Self::Revoke,
        Self::LoseIndex,
        Self::Meddle,
        Self::Rogue,
        Self::Stick,
        Self::Compact,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Act => "act",
            Self::Cut => "cut",
            Self::Partition => "partition",
            Self::Kill => "kill",
            Self::PowerCut => "power-cut",
            Self::Restart => "restart",
            Self::Restore => "restore",
            Self::Clone => "clone",
            Self::Lock => "lock",
            Self::FullDisk => "full-disk",
            Self::Jump => "jump",
            Self::Join => "join",
            Self::Revoke => "revoke",
            Self::LoseIndex => "lose-index",
            Self::Meddle => "meddle",
            Self::Rogue => "rogue",
            Self::Stick => "stick",
            Self::Compact => "compact",
        }
    }

    /// In how many of 12 histories it may happen, and how often at most.
    const fn dice(self) -> (u64, u64) {
        match self {
            Self::Act => (12, 0),
            Self::Cut => (9, 8),
            Self::Partition => (6, 3),
            Self::Kill => (8, 4),
            Self::PowerCut => (4, 3),
            Self::Restart => (4, 3),
            Self::Restore => (4, 2),
            Self::Clone => (2, 1),
            Self::Lock => (4, 3),
            Self::FullDisk => (3, 2),
            Self::Jump => (4, 4),
            Self::Join => (6, 2),
            Self::Revoke => (4, 2),
            Self::LoseIndex => (3, 2),
            Self::Meddle => (3, 2),
            Self::Rogue => (3, 3),
            Self::Stick => (4, 3),
            Self::Compact => (8, 4),
        }
    }
}

/// Who is linked with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Everybody with everybody.
    Mesh,
    /// Everybody with the first.
    Star,
    /// Each with the next.
    Line,
    /// Each with the next, and the last with the first.
    Ring,
}

/// How large a history is: most are small, since what breaks in a large one usually breaks in a
/// small one, and many small ones are more different from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Three nodes, a minute or two.
    Small,
    /// Three or four nodes, some minutes.
    Medium,
    /// Four or five nodes, up to seven with those who come later, and many minutes.
    Large,
}

impl Size {
    fn draw(chance: &mut Chance) -> Self {
        match chance.below(10) {
            0..6 => Self::Small,
            6..9 => Self::Medium,
            _ => Self::Large,
        }
    }

    /// The least and the most of the nodes, the acts, and the seconds of phase one.
    const fn bounds(self) -> [(u64, u64); 3] {
        match self {
            Self::Small => [(3, 3), (5, 14), (20, 150)],
            Self::Medium => [(3, 4), (10, 24), (60, 300)],
            Self::Large => [(4, 5), (20, 40), (120, 600)],
        }
    }

    /// The faults of one kind at most, of those that it has in a large history.
    fn most(self, large: u64) -> u64 {
        match self {
            Self::Small => large.div_ceil(3),
            Self::Medium => large.div_ceil(2),
            Self::Large => large,
        }
    }
}

/// What a history is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How large it is.
    pub size: Size,
    /// The nodes at the beginning, the founder included.
    pub nodes: usize,
    /// Whether the last of them is a relay.
    pub relay: bool,
    /// Whether one of them may not read restricted entries.
    pub unrestricted: bool,
    /// Whether the second node may admit others, and suspend.
    pub admits: bool,
    /// Who is linked with whom.
    pub shape: Shape,
    /// The shortest and the longest time that a frame takes.
    pub delay_ms: (u64, u64),
    /// One in so many frames is lost on the way and comes again later, with all behind it.
    pub loss: u64,
    /// How wrong each clock is from the beginning, at most.
    pub skew_ms: u64,
    /// How long phase one lasts.
    pub faults_ms: u64,
}

/// Something planned.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// When.
    pub at_ms: u64,
    /// What.
    pub what: What,
    /// Draws the rest when it happens.
    pub chance: u64,
}

/// A history before it happens.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything is drawn from it.
    pub seed: u64,
    /// What the history is like.
    pub options: Options,
    /// What happens, by time.
    pub items: Vec<Item>,
    /// Draws what no item does: delays, turns, keys.
    pub chance: u64,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0xc3a5_c85c_97cb_3127);
        let options = Options::draw(&mut chance.split());
        let mut items = Vec::new();
        let mut acts = chance.split();
        let [_, (fewest, most), _] = options.size.bounds();
        for _ in 0..acts.between(fewest, most) {
            items.push(Item::draw(What::Act, &options, &mut acts));
        }
        for what in What::FAULTS {
            let mut dice = chance.split();
            let (often, most) = what.dice();
            if dice.below(12) < often {
                for _ in 0..dice.between(1, options.size.most(most)) {
                    items.push(Item::draw(what, &options, &mut dice));
                }
            }
        }
        items.sort_by_key(|item| (item.at_ms, item.what, item.chance));
        Self { seed, options, items, chance: chance.next() }
    }

    /// The plan without some kinds of items.
    #[must_use]
    pub fn without(mut self, kinds: &[What]) -> Self {
        self.items.retain(|item| !kinds.contains(&item.what));
        self
    }

    /// The plan with only the items at these places.
    #[must_use]
    pub fn keeping(mut self, places: &[usize]) -> Self {
        self.items = places.iter().filter_map(|place| self.items.get(*place).copied()).collect();
        self
    }
}

impl Options {
    fn draw(chance: &mut Chance) -> Self {
        let shapes = [Shape::Mesh, Shape::Mesh, Shape::Star, Shape::Line, Shape::Ring];
        let size = Size::draw(chance);
        let [nodes, _, seconds] = size.bounds();
        let fast = chance.between(1, 40);
        let skews = [0, 1_000, 600_000, 30 * 24 * 3_600_000];
        Self {
            size,
            nodes: chance.between(nodes.0, nodes.1) as usize,
            relay: chance.one_in(3),
            unrestricted: chance.one_in(5),
            admits: chance.one_in(2),
            shape: *chance.pick(&shapes).unwrap_or(&Shape::Mesh),
            delay_ms: (fast, fast * chance.between(1, 30)),
            loss: *chance.pick(&[20, 100, 1_000]).unwrap_or(&100),
            skew_ms: *chance.pick(&skews).unwrap_or(&0),
            faults_ms: 1_000 * chance.between(seconds.0, seconds.1),
        }
    }
}

impl Item {
    fn draw(what: What, options: &Options, chance: &mut Chance) -> Self {
        Self { at_ms: chance.below(options.faults_ms), what, chance: chance.next() }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        let Options { size, nodes, relay, unrestricted, admits, .. } = options;
        let Options { shape, delay_ms, loss, skew_ms, faults_ms, .. } = options;
        write!(f, "SEED={} size={size:?} nodes={nodes} relay={relay}", self.seed)?;
        write!(f, " unrestricted={unrestricted} admits={admits} shape={shape:?}")?;
        write!(f, " delay={}-{}ms loss=1/{loss}", delay_ms.0, delay_ms.1)?;
        write!(f, " skew={skew_ms}ms faults={}s", faults_ms / 1000)?;
        for what in std::iter::once(What::Act).chain(What::FAULTS) {
            let count = self.items.iter().filter(|item| item.what == what).count();
            if count > 0 {
                write!(f, " {}={count}", what.name())?;
            }
        }
        Ok(())
    }
}
