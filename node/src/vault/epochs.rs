//! The book of keys: what a node can read, opened from the roster with the node's own secret.
//!
//! Nothing of it is stored. The control statements and one HPKE secret (a node's, or the one that
//! the recovery code gives) are enough to open it again.

use super::cipher::{self, Secret};
use super::pseudonym::PseudonymKey;
use super::sealed::EpochKey;
use super::share::{self, HpkeSecret, Purpose};
use crate::base::environment::Environment;
use crate::base::private::Private;
use crate::identity::roster::{EpochFact, Roster};
use crate::identity::statement::{
    ControlStatement, EpochKind, EpochStatement, KeyWrap, SealedParent, WRAPS_MAX, WrapStatement,
    WrapSubject,
};
use carnet_sync_protocol::id::{EpochId, HpkeKey, PracticeId};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The keys that a node has.
#[derive(Clone, Debug, Default)]
pub struct KeyBook {
    epochs: BTreeMap<EpochId, EpochKey>,
    pseudonym: Option<PseudonymKey>,
}

impl KeyBook {
    /// Opens what was wrapped to this secret, and through it the older epochs. What can't be opened
    /// is absent.
    pub fn read(roster: &Roster, secret: &HpkeSecret) -> Self {
        let mut book = Self::default();
        book.update(roster, secret);
        book
    }

    /// Opens what is new in the roster; tells whether anything was.
    pub fn update(&mut self, roster: &Roster, secret: &HpkeSecret) -> bool {
        let before = (self.epochs.len(), self.pseudonym.is_some());
        if self.pseudonym.is_none() {
            self.pseudonym = open_pseudonym(roster, secret);
        }
        for epoch in roster.epochs() {
            if !self.epochs.contains_key(&epoch.id)
                && let Some(key) = open_wrapped(roster, epoch, secret)
            {
                self.epochs.insert(epoch.id, key);
            }
        }
        self.open_parents(roster);
        before != (self.epochs.len(), self.pseudonym.is_some())
    }

    fn open_parents(&mut self, roster: &Roster) {
        let mut open: Vec<EpochId> = self.epochs.keys().copied().collect();
        while let Some(child) = open.pop() {
            let (Some(fact), Some(key)) = (roster.epoch(&child), self.epochs.get(&child)) else {
                continue;
            };
            let sealing = parent_key(key);
            for sealed in &fact.parents {
                if self.epochs.contains_key(&sealed.epoch) {
                    continue;
                }
                let Some(parent) = roster.epoch(&sealed.epoch) else { continue };
                if let Some(key) = open_parent(roster.practice(), &sealing, fact, sealed, parent) {
                    self.epochs.insert(parent.id, key);
                    open.push(parent.id);
                }
            }
        }
    }

    /// The key of an epoch.
    pub fn epoch(&self, id: &EpochId) -> Option<&EpochKey> {
        self.epochs.get(id)
    }

    /// The pseudonym key.
    pub const fn pseudonym(&self) -> Option<&PseudonymKey> {
        self.pseudonym.as_ref()
    }

    /// The epoch under which to write, with its key. If this node has not been given the key of the
    /// one that all others use, any other leaf that it can open is as good.
    pub fn current(&self, roster: &Roster, kind: EpochKind) -> Option<(EpochId, &EpochKey)> {
        let others = roster.leaves(kind).into_iter().map(|epoch| epoch.id);
        roster
            .current_epoch(kind)
            .into_iter()
            .chain(others)
            .find_map(|id| self.epochs.get(&id).map(|key| (id, key)))
    }

    /// The epochs whose keys this node lacks: entries under them are held, and unreadable.
    pub fn unreadable(&self, roster: &Roster) -> Vec<EpochId> {
        let lacking = roster.epochs().filter(|epoch| !self.epochs.contains_key(&epoch.id));
        lacking.map(|epoch| epoch.id).collect()
    }

    /// A new epoch, which takes over from the leaves that this node can open.
    pub fn new_epoch(
        &self,
        environment: &Environment,
        roster: &Roster,
        kind: EpochKind,
    ) -> ControlStatement {
        let key = EpochKey::generate(environment);
        let practice = roster.practice();
        let sealing = parent_key(&key);
        let parents = roster
            .leaves(kind)
            .into_iter()
            .filter_map(|leaf| self.epochs.get(&leaf.id).map(|key| (leaf.id, key)))
            .take(crate::identity::statement::PARENTS_MAX)
            .map(|(epoch, parent)| {
                let nonce = environment.random();
                let context = parent_context(practice, kind, epoch);
                let payload = cipher::encrypt(&sealing, &nonce, &context, parent.secret().expose());
                SealedParent { epoch, nonce, payload }
            })
            .collect();
        let recipients = roster.recipients(kind);
        epoch_statement(environment, practice, kind, &key, parents, &recipients)
    }

    /// The statements that give others the keys that they still lack, as far as this node has them.
    pub fn fill_wraps(&self, environment: &Environment, roster: &Roster) -> Vec<ControlStatement> {
        let practice = roster.practice();
        let mut statements = Vec::new();
        for (subject, recipients) in roster.missing_wraps() {
            let (purpose, secret) = match subject {
                WrapSubject::Pseudonym => {
                    let Some(key) = &self.pseudonym else { continue };
                    (Purpose::Pseudonym(key.check()), key.secret())
                }
                WrapSubject::Epoch(id) => {
                    let (Some(fact), Some(key)) = (roster.epoch(&id), self.epochs.get(&id)) else {
                        continue;
                    };
                    (Purpose::Epoch(fact.kind, fact.check), key.secret())
                }
            };
            let wraps = wrap_all(environment, practice, purpose, &recipients, secret);
            if !wraps.is_empty() {
                statements.push(ControlStatement::Wrap(WrapStatement { subject, wraps }));
            }
        }
        statements
    }
}

/// The statement of an epoch, with its key wrapped to everybody.
pub(super) fn epoch_statement(
    environment: &Environment,
    practice: PracticeId,
    kind: EpochKind,
    key: &EpochKey,
    parents: Vec<SealedParent>,
    recipients: &[HpkeKey],
) -> ControlStatement {
    let check = key.check(kind);
    let purpose = Purpose::Epoch(kind, check);
    let wraps = wrap_all(environment, practice, purpose, recipients, key.secret());
    ControlStatement::Epoch(EpochStatement { kind, check, parents, wraps })
}

/// Wraps a secret to each recipient. One whose key is unusable gets none, and holds nobody up;
/// those beyond one statement's bound get theirs with the next.
pub(super) fn wrap_all(
    environment: &Environment,
    practice: PracticeId,
    purpose: Purpose,
    recipients: &[HpkeKey],
    secret: &Private<[u8; 32]>,
) -> Vec<KeyWrap> {
    recipients
        .iter()
        .take(WRAPS_MAX)
        .filter_map(|to| share::wrap(environment, practice, purpose, *to, secret).ok())
        .collect()
}

fn open_pseudonym(roster: &Roster, secret: &HpkeSecret) -> Option<PseudonymKey> {
    let check = roster.practice_statement()?.body.pseudonym_check;
    roster
        .wraps_for(WrapSubject::Pseudonym, secret.public())
        .filter_map(|wrap| {
            share::unwrap(secret, roster.practice(), Purpose::Pseudonym(check), wrap).ok()
        })
        .map(PseudonymKey::from_secret)
        .find(|key| key.check() == check)
}

fn open_wrapped(roster: &Roster, epoch: &EpochFact, secret: &HpkeSecret) -> Option<EpochKey> {
    let purpose = Purpose::Epoch(epoch.kind, epoch.check);
    roster
        .wraps_for(WrapSubject::Epoch(epoch.id), secret.public())
        .filter_map(|wrap| share::unwrap(secret, roster.practice(), purpose, wrap).ok())
        .map(EpochKey::from_secret)
        .find(|key| key.check(epoch.kind) == epoch.check)
}

fn open_parent(
    practice: PracticeId,
    sealing: &Secret,
    child: &EpochFact,
    sealed: &SealedParent,
    parent: &EpochFact,
) -> Option<EpochKey> {
    let context = parent_context(practice, child.kind, parent.id);
    let secret = cipher::decrypt(sealing, &sealed.nonce, &context, &sealed.payload)
        .map(Zeroizing::new)
        .ok()?;
    let key = EpochKey::from_secret(Private::new(secret.as_slice().try_into().ok()?));
    // A child of another kind would carry a restricted key to who may not have it.
    (parent.kind == child.kind && key.check(parent.kind) == parent.check).then_some(key)
}

/// The key under which an epoch seals its parents.
fn parent_key(child: &EpochKey) -> Secret {
    cipher::derive(child.secret(), "carnet 2026 parent key v1")
}

fn parent_context(practice: PracticeId, kind: EpochKind, parent: EpochId) -> Vec<u8> {
    let mut context = b"carnet 2026 parent v1\0".to_vec();
    context.extend_from_slice(practice.as_bytes());
    context.push(kind.number());
    context.extend_from_slice(parent.as_bytes());
    context
}
