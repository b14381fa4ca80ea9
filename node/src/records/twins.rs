//! Two different changes in one place: which of them counts.
//!
//! A change's place is its actor and its number among that actor's changes. No honest node fills
//! one twice; a running machine that was copied may, and so may whoever has a node's keys. The
//! merge engine takes one change for a place, so without a rule the first to come would count, and
//! nodes would differ. The rule here looks at nothing but the changes that are held and can be
//! read, whether or not they can be applied: of two in one place that one counts
//!
//! 1. that is not withheld,
//! 2. then, on which changes of more other nodes build that are not withheld: who writes a second
//!    one later can't take away what others have worked with,
//! 3. then, whose hash is smaller.
//!
//! The others, and all that builds on them, are set aside with the reason, on every node. A change
//! that can be applied and has no rival speaks for those that count already, and so settles
//! nothing anew; every other one of such a document has the question asked again.

use super::documents::{Resident, actor_prefix};
use super::{Records, RecordsError};
use crate::chart::{ChangeHash, Inspected, inspect};
use crate::store::index::{Claim, Outcast};
use crate::store::ledger::Held;
use carnet_sync_protocol::id::{DocumentId, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// Why an entry is set aside whose change lost its place to another.
const RIVAL: &str = "its author wrote two changes in one place, and the other one counts";

/// Why an entry is set aside that builds on one of those.
const BUILT: &str = "it builds on a change that does not count, since its author wrote two in one \
                     place";

/// In words.
const fn reason(outcast: Outcast) -> &'static str {
    match outcast {
        Outcast::Rival => RIVAL,
        Outcast::Built => BUILT,
    }
}

/// The changes that do not count, and why.
pub(super) type Outcasts = BTreeMap<ChangeHash, Outcast>;

/// What the change of an entry says of itself; nothing if it can't be its author's.
pub(super) fn claim(held: &Held, change: &[u8]) -> Option<Inspected> {
    let inspected = inspect(change).ok()?;
    let prefix = actor_prefix(&held.entry.header.log.author);
    (inspected.actor[..8] == prefix).then_some(inspected)
}

/// How the index keeps it.
fn row(claim: &Inspected) -> Claim {
    Claim { actor: claim.actor, sequence: claim.sequence, change: claim.hash.0 }
}

/// A change, as far as the rule looks at it.
#[derive(Clone, Debug)]
struct Candidate {
    dependencies: Vec<ChangeHash>,
    node: NodeId,
    /// Every entry that brings it is withheld.
    withheld: bool,
}

/// The changes of a document, in whatever order they come.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    changes: BTreeMap<ChangeHash, Candidate>,
    places: BTreeMap<([u8; 16], u64), BTreeSet<ChangeHash>>,
}

impl Candidates {
    /// Adds the change of an entry.
    pub fn add(&mut self, claim: Inspected, node: NodeId, withheld: bool) {
        let place = (claim.actor, claim.sequence);
        self.places.entry(place).or_default().insert(claim.hash);
        let dependencies = claim.dependencies;
        let new = Candidate { dependencies, node, withheld };
        self.changes.entry(claim.hash).or_insert(new).withheld &= withheld;
    }

    /// Whether a place is filled twice.
    pub fn are_contested(&self) -> bool {
        self.places.values().any(|rivals| rivals.len() > 1)
    }

    /// The changes that do not count.
    pub fn outcasts(&self) -> Outcasts {
        if !self.are_contested() {
            return Outcasts::new();
        }
        let support = self.support();
        let rank = |hash: &ChangeHash| {
            (
                self.changes[hash].withheld,
                usize::MAX - support.get(hash).copied().unwrap_or(0),
                *hash,
            )
        };
        let mut outcasts = Outcasts::new();
        for rivals in self.places.values().filter(|rivals| rivals.len() > 1) {
            let first = rivals.iter().min_by_key(|hash| rank(hash));
            let others = rivals.iter().filter(|hash| Some(*hash) != first);
            outcasts.extend(others.map(|hash| (*hash, Outcast::Rival)));
        }
        let built_on = self.built_on();
        let mut pending: Vec<ChangeHash> = outcasts.keys().copied().collect();
        while let Some(hash) = pending.pop() {
            for above in built_on.get(&hash).into_iter().flatten() {
                if !outcasts.contains_key(above) {
                    outcasts.insert(*above, Outcast::Built);
                    pending.push(*above);
                }
            }
        }
        outcasts
    }

    /// What builds on each change.
    fn built_on(&self) -> BTreeMap<ChangeHash, Vec<ChangeHash>> {
        let mut built_on: BTreeMap<ChangeHash, Vec<ChangeHash>> = BTreeMap::new();
        for (hash, change) in &self.changes {
            for below in &change.dependencies {
                built_on.entry(*below).or_default().push(*hash);
            }
        }
        built_on
    }

    /// On how many other nodes' changes each change has support: those that build on it, and are
    /// not withheld. One pass, from the newest down.
    fn support(&self) -> BTreeMap<ChangeHash, usize> {
        let nodes: BTreeSet<NodeId> = self.changes.values().map(|change| change.node).collect();
        let number: BTreeMap<NodeId, usize> = nodes.into_iter().zip(0..).collect();
        let words = number.len().div_ceil(64);
        let mut above: BTreeMap<ChangeHash, usize> =
            self.built_on().into_iter().map(|(hash, above)| (hash, above.len())).collect();
        let mut sets: BTreeMap<ChangeHash, Vec<u64>> = BTreeMap::new();
        let newest = self.changes.keys().filter(|hash| !above.contains_key(hash));
        let mut pending: Vec<ChangeHash> = newest.copied().collect();
        let mut support = BTreeMap::new();
        while let Some(hash) = pending.pop() {
            let Some(change) = self.changes.get(&hash) else { continue };
            let mut set = sets.remove(&hash).unwrap_or_else(|| vec![0; words]);
            let own = number[&change.node];
            let (word, bit) = (own / 64, 1 << (own % 64));
            let others: u32 = set.iter().map(|word| word.count_ones()).sum();
            let others = others - u32::from(set[word] & bit != 0);
            support.insert(hash, others as usize);
            if !change.withheld {
                set[word] |= bit;
            }
            for below in &change.dependencies {
                let of_below = sets.entry(*below).or_insert_with(|| vec![0; words]);
                of_below.iter_mut().zip(&set).for_each(|(to, from)| *to |= from);
                if let Some(left) = above.get_mut(below) {
                    *left -= 1;
                    if *left == 0 {
                        pending.push(*below);
                    }
                }
            }
        }
        support
    }
}

impl Records {
    /// Why an entry's change does not count, if it does not. One that may have a rival, or is
    /// brought once more, has the question asked again.
    pub(super) fn contested(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
        held: &Held,
        change: &[u8],
    ) -> Result<Option<&'static str>, RecordsError> {
        let Some(claim) = claim(held, change) else { return Ok(None) };
        let index = &self.charts()?.index;
        let outcast = index.outcast(id, &claim.hash.0)?;
        if outcast.is_some() {
            self.note_claim(id, resident, Some(&claim))?;
        } else {
            resident.unsettled |= index.has_rival(id, &row(&claim))?;
        }
        Ok(outcast.map(reason))
    }

    /// Notes a change that is not in its document, and asks again which count if it may matter.
    pub(super) fn note_claim(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
        claim: Option<&Inspected>,
    ) -> Result<(), RecordsError> {
        let Some(claim) = claim else { return Ok(()) };
        self.begin()?;
        let (index, row) = (&mut self.charts_mut()?.index, row(claim));
        index.put_claim(id, &row)?;
        let rivalled = resident.document.is_taken(claim) || index.has_rival(id, &row)?;
        resident.unsettled |= rivalled || resident.claims.outcasts;
        resident.claims.any = true;
        Ok(())
    }

    /// Sees to it that of two changes in one place the one is in the document that counts, if
    /// something has come that may have changed that.
    pub(super) fn settle_twins(
        &mut self,
        id: &DocumentId,
        resident: &mut Resident,
    ) -> Result<(), RecordsError> {
        if !std::mem::take(&mut resident.unsettled) {
            return Ok(());
        }
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("takes-the-first-of-two-in-one-place") {
            return Ok(());
        }
        let outcasts = self.candidates(id)?.outcasts();
        let index = &self.charts()?.index;
        let known = index.outcasts(id)?;
        let now: BTreeMap<[u8; 32], Outcast> =
            outcasts.iter().map(|(hash, outcast)| (hash.0, *outcast)).collect();
        if known == now {
            return Ok(());
        }
        self.begin()?;
        let index = &mut self.charts_mut()?.index;
        index.remove_document(id)?;
        for (hash, outcast) in &now {
            index.put_outcast(id, hash, *outcast)?;
        }
        // What this node writes next must not stand in the place of what is set aside.
        self.charts_mut()?.documents.renew_actor();
        let before = resident.document.keys();
        *resident = self.empty_document(id)?;
        self.catch_up_document(id, resident, u64::MAX)?;
        resident.unsettled = false;
        resident.touched.extend(before);
        resident.touched.extend(resident.document.keys());
        self.save_document(id, resident)
    }

    /// Every change of a document that is held and can be read.
    pub(super) fn candidates(&self, id: &DocumentId) -> Result<Candidates, RecordsError> {
        let mut candidates = Candidates::default();
        let mut after = 0;
        loop {
            let page = self.ledger.of_document(id, after, super::open::PAGE)?;
            let Some(last) = page.last() else { return Ok(candidates) };
            after = last.arrival;
            for held in &page {
                if let Some(change) = self.readable_change(held)?
                    && let Some(claim) = claim(held, &change)
                {
                    let node = held.entry.header.log.author.node;
                    candidates.add(claim, node, self.is_withheld(held)?);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> ChangeHash {
        ChangeHash([number; 32])
    }

    /// A change by its number, its actor and place, what it builds on, its node, and whether it is
    /// withheld.
    type Told<'a> = (u8, (u8, u64), &'a [u8], u8, bool);

    /// What does not count, in whatever order the changes come.
    fn outcasts(told: &[Told<'_>]) -> Vec<(u8, Outcast)> {
        let found = |told: &mut dyn Iterator<Item = &Told<'_>>| {
            let mut candidates = Candidates::default();
            for (number, (actor, sequence), below, node, withheld) in told {
                let claim = Inspected {
                    hash: hash(*number),
                    actor: [*actor; 16],
                    sequence: *sequence,
                    dependencies: below.iter().map(|below| hash(*below)).collect(),
                    unix_ms: 0,
                    by: None,
                };
                candidates.add(claim, NodeId([*node; 32]), *withheld);
            }
            let outcasts = candidates.outcasts().into_iter();
            outcasts.map(|(hash, why)| (hash.0[0], why)).collect::<Vec<_>>()
        };
        let forth = found(&mut told.iter());
        assert_eq!(forth, found(&mut told.iter().rev()));
        forth
    }

    #[test]
    fn of_two_in_one_place_one_counts_and_what_builds_on_the_other_does_not() {
        use Outcast::{Built, Rival};
        let base: Told<'_> = (9, (9, 1), &[], 1, false);
        let (one, other): (Told<'_>, Told<'_>) =
            ((3, (1, 1), &[9], 1, false), (4, (1, 1), &[9], 1, false));
        assert_eq!(outcasts(&[base, one]), []);
        assert_eq!(outcasts(&[base, one, other]), [(4, Rival)]);
        // The author's own later work supports nothing, others' does, however far above.
        let own: Told<'_> = (5, (1, 2), &[4], 1, false);
        assert_eq!(outcasts(&[base, one, other, own]), [(4, Rival), (5, Built)]);
        let above: Told<'_> = (6, (2, 1), &[5], 2, false);
        assert_eq!(outcasts(&[base, one, other, own, above]), [(3, Rival)]);
        // As much for both: the smaller hash.
        let against: Told<'_> = (7, (3, 1), &[3, 9], 3, false);
        let all = [base, one, other, own, above, against];
        assert_eq!(outcasts(&all), [(4, Rival), (5, Built), (6, Built)]);
        // What is withheld neither counts against another nor supports one.
        let withheld: Told<'_> = (3, (1, 1), &[9], 1, true);
        assert_eq!(outcasts(&[base, withheld, other, against]), [(3, Rival), (7, Built)]);
        let mute: Told<'_> = (7, (3, 1), &[3, 9], 3, true);
        assert_eq!(outcasts(&[base, one, other, own, above, mute]), [(3, Rival), (7, Built)]);
    }

    #[test]
    fn a_change_in_two_entries_is_one_and_withheld_only_if_both_are() {
        let twice: [Told<'_>; 3] =
            [(3, (1, 1), &[], 1, true), (3, (1, 1), &[], 1, false), (2, (1, 1), &[], 1, true)];
        assert_eq!(outcasts(&twice), [(2, Outcast::Rival)]);
    }
}
