//! Which key epochs there are, under which to write, and who still has to be given which key.

use super::{Author, EntryId, EpochId, HpkeKey, KeyWrap, NodeId, Place, Roster, SealedParent};
use super::{Standing, WrapSubject};
use crate::identity::statement::{Check, EpochKind};
use carnet_sync_protocol::certificate::{Role, VerifiedCertificate};
use std::collections::{BTreeMap, BTreeSet};

/// An epoch, and the entry that brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochFact {
    /// The epoch.
    pub id: EpochId,
    /// The entry.
    pub entry: EntryId,
    /// Who wrote it.
    pub author: Author,
    /// Its place in the author's control log.
    pub sequence: u64,
    /// The family.
    pub kind: EpochKind,
    /// Tells its key from any other.
    pub check: Check,
    /// The epochs that it takes over from, with their secrets sealed under its own.
    pub parents: Vec<SealedParent>,
}

impl Roster {
    /// Every epoch, believed or not: entries under any of them may have to be read.
    pub fn epochs(&self) -> impl Iterator<Item = &EpochFact> {
        self.epochs.values()
    }

    /// The epoch with this id.
    pub fn epoch(&self, id: &EpochId) -> Option<&EpochFact> {
        self.epochs.get(id)
    }

    /// The wraps of a key for one recipient, by whomever; more than one if several nodes made one.
    pub fn wraps_for(
        &self,
        subject: WrapSubject,
        recipient: HpkeKey,
    ) -> impl Iterator<Item = &KeyWrap> {
        self.wraps
            .get(&subject)
            .into_iter()
            .flatten()
            .filter(move |((to, _), _)| *to == recipient)
            .map(|(_, (_, wrap))| wrap)
    }

    /// The believed epochs of a kind from which no other has taken over: one, unless several nodes
    /// rotated apart.
    pub fn leaves(&self, kind: EpochKind) -> Vec<&EpochFact> {
        let believed: Vec<_> =
            self.epochs.values().filter(|e| e.kind == kind && self.is_believed(e)).collect();
        let parents: BTreeSet<EpochId> =
            believed.iter().flat_map(|epoch| &epoch.parents).map(|parent| parent.epoch).collect();
        believed.into_iter().filter(|epoch| !parents.contains(&epoch.id)).collect()
    }

    /// The epoch under which to write: the same at all nodes with the same statements. One that
    /// nobody can read who should not goes before others.
    pub fn current_epoch(&self, kind: EpochKind) -> Option<EpochId> {
        let outsiders = self.outsiders(kind);
        self.leaves(kind)
            .into_iter()
            .map(|epoch| (self.is_exposed(epoch.id, &outsiders), epoch.id))
            .min()
            .map(|(_, id)| id)
    }

    /// Whether a new epoch should be made: there is none, or somebody can read the current one who
    /// no longer should.
    pub fn epoch_due(&self, kind: EpochKind) -> bool {
        let outsiders = self.outsiders(kind);
        self.current_epoch(kind).is_none_or(|current| self.is_exposed(current, &outsiders))
    }

    /// To whom a key of this kind is wrapped: every active clinic that may have it, and the
    /// recovery key.
    pub fn recipients(&self, kind: EpochKind) -> Vec<HpkeKey> {
        let clinics = self.nodes().filter(|node| self.is_entitled(node, kind));
        let recovery = self.practice_statement().map(|statement| statement.body.recovery);
        let all: BTreeSet<HpkeKey> =
            clinics.map(|node| node.body.keys.hpke).chain(recovery).collect();
        all.into_iter().collect()
    }

    /// The keys that some recipients still lack, for any unlocked node to give them.
    pub fn missing_wraps(&self) -> Vec<(WrapSubject, Vec<HpkeKey>)> {
        let mut subjects = vec![(WrapSubject::Pseudonym, EpochKind::General)];
        for kind in EpochKind::ALL {
            let leaves = self.leaves(kind).into_iter();
            subjects.extend(leaves.map(|epoch| (WrapSubject::Epoch(epoch.id), kind)));
        }
        subjects
            .into_iter()
            .map(|(subject, kind)| {
                let mut recipients = self.recipients(kind);
                recipients.retain(|recipient| !self.has_wrap(subject, *recipient));
                (subject, recipients)
            })
            .filter(|(_, recipients)| !recipients.is_empty())
            .collect()
    }

    /// Whether a node may read what stands under the general key: an active clinic may.
    pub fn is_reader(&self, node: &NodeId) -> bool {
        let held = self.certificate(node);
        held.is_some_and(|held| self.is_entitled(held, EpochKind::General))
    }

    fn is_entitled(&self, node: &VerifiedCertificate, kind: EpochKind) -> bool {
        let capable = match kind {
            EpochKind::General => true,
            EpochKind::Restricted => node.body.capabilities.restricted,
        };
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("gives-keys-to-relays") {
            return capable && self.standing(&node.node()) == Standing::Active;
        }
        capable && node.body.role == Role::Clinic && self.standing(&node.node()) == Standing::Active
    }

    /// The keys of known nodes that may not read this kind. A recipient that is not known (yet) is
    /// none of them: its certificate may be on its way.
    fn outsiders(&self, kind: EpochKind) -> BTreeSet<HpkeKey> {
        let entitled: BTreeSet<HpkeKey> = self.recipients(kind).into_iter().collect();
        let known = self.certificates.values().flat_map(BTreeMap::values);
        known
            .map(|held| held.certificate.body.keys.hpke)
            .filter(|key| !entitled.contains(key))
            .collect()
    }

    fn is_exposed(&self, epoch: EpochId, outsiders: &BTreeSet<HpkeKey>) -> bool {
        let wraps = self.wraps.get(&WrapSubject::Epoch(epoch));
        wraps.is_some_and(|wraps| wraps.keys().any(|(to, _)| outsiders.contains(to)))
    }

    fn has_wrap(&self, subject: WrapSubject, recipient: HpkeKey) -> bool {
        let wraps = self.wraps.get(&subject).into_iter().flatten();
        wraps.filter(|((to, _), _)| *to == recipient).any(|((_, author), (place, _))| {
            self.is_clinic(&author.node) && self.is_accepted(*author, *place)
        })
    }

    fn is_believed(&self, epoch: &EpochFact) -> bool {
        let place = Place { sequence: epoch.sequence, id: epoch.entry };
        self.is_clinic(&epoch.author.node) && self.is_accepted(epoch.author, place)
    }

    fn is_clinic(&self, node: &NodeId) -> bool {
        self.certificate(node).is_some_and(|held| held.body.role == Role::Clinic)
    }
}
