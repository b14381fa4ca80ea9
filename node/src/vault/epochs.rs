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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Fact, PracticeKey, SigningSecret};
    use crate::vault::founding::{Founding, found};
    use crate::vault::{RecoveryCode, VaultError};
    use carnet_sync_protocol::certificate::{
        Capabilities, Certificate, CertificateBody, NodeKeys, Revocation, RevocationBody,
        RevocationKind, Role,
    };
    use carnet_sync_protocol::id::{Author, EntryId, Incarnation, NodeId, TransportKey};

    struct Node {
        entry: SigningSecret,
        hpke: HpkeSecret,
    }

    impl Node {
        fn new(environment: &Environment) -> Self {
            let entry = SigningSecret::generate(environment);
            Self { entry, hpke: HpkeSecret::generate(environment) }
        }

        fn keys(&self) -> NodeKeys {
            let public = self.entry.public();
            NodeKeys {
                entry: NodeId(public),
                transport: TransportKey(public),
                hpke: self.hpke.public(),
            }
        }
    }

    /// A founded practice, its control statements as everybody holds them, and its first node.
    struct World {
        environment: Environment,
        code: RecoveryCode,
        practice_key: PracticeKey,
        founder: Node,
        roster: Roster,
        written: u64,
    }

    impl World {
        fn new() -> Self {
            let (environment, _) = Environment::seeded(21, 0);
            let code = RecoveryCode::generate(&environment);
            let founder = Node::new(&environment);
            let founding = Founding {
                name: "Casamance",
                site: "Sédhiou",
                keys: founder.keys(),
                expires_ms: 9,
                code: &code,
            };
            let founded = found(&environment, &founding).unwrap();
            let practice_key = founded.practice_key;
            let roster = Roster::new(practice_key.id());
            let mut world = Self { environment, code, practice_key, founder, roster, written: 0 };
            for statement in founded.statements {
                world.says(statement);
            }
            world
        }

        /// The founder writes a statement, which everybody then holds.
        fn says(&mut self, statement: ControlStatement) -> EpochId {
            self.written += 1;
            let id = EntryId([self.written as u8; 32]);
            let node = NodeId(self.founder.entry.public());
            let author = Author { node, incarnation: Incarnation([1; 8]) };
            // What is written goes through the bytes that travel.
            let statement = ControlStatement::from_payload(&statement.to_payload()).unwrap();
            let fact = Fact { id, author, sequence: self.written, statement };
            self.roster.insert(fact).unwrap();
            id.into()
        }

        fn admits(&mut self, node: &Node, role: Role, restricted: bool) {
            let body = CertificateBody {
                practice: self.practice_key.id(),
                keys: node.keys(),
                role,
                capabilities: Capabilities { restricted, ..Capabilities::default() },
                site: "Ziguinchor".to_owned(),
                serial: [0; 8],
                issued_ms: 1,
                expires_ms: 2,
            };
            let certificate = Certificate::issue(body, self.practice_key.key()).unwrap();
            self.says(ControlStatement::Certificate(Box::new(certificate.into_certificate())));
        }

        fn revokes(&mut self, node: &Node) {
            let body = RevocationBody {
                practice: self.practice_key.id(),
                node: node.keys().entry,
                kind: RevocationKind::Revoke,
                cuts: vec![],
                time_ms: 3,
            };
            let said = Revocation::by_practice(body, self.practice_key.key()).unwrap();
            self.says(ControlStatement::Revocation(Box::new(said.into_revocation())));
        }

        fn book(&self, node: &Node) -> KeyBook {
            KeyBook::read(&self.roster, &node.hpke)
        }

        fn fills_wraps(&mut self) {
            for statement in self.book(&self.founder).fill_wraps(&self.environment, &self.roster) {
                self.says(statement);
            }
        }

        fn rotates(&mut self, kind: EpochKind) -> EpochId {
            let book = self.book(&self.founder);
            let statement = book.new_epoch(&self.environment, &self.roster, kind);
            self.says(statement)
        }

        fn current(&self, kind: EpochKind) -> EpochId {
            self.roster.current_epoch(kind).unwrap()
        }
    }

    #[test]
    fn the_founder_can_write_and_read_at_once() {
        let world = World::new();
        let book = world.book(&world.founder);
        assert!(book.pseudonym().is_some());
        for kind in EpochKind::ALL {
            let (epoch, key) = book.current(&world.roster, kind).unwrap();
            assert_eq!(epoch, world.current(kind));
            assert_eq!(key.check(kind), world.roster.epoch(&epoch).unwrap().check);
            assert!(!world.roster.epoch_due(kind));
        }
        assert_eq!(book.unreadable(&world.roster), []);
        assert_eq!(world.roster.missing_wraps(), []);
    }

    #[test]
    fn the_code_and_the_control_log_alone_are_the_practice() {
        let mut world = World::new();
        let first = world.current(EpochKind::General);
        let second = world.rotates(EpochKind::General);
        let founder = world.book(&world.founder);

        let typed: RecoveryCode = world.code.reveal().expose().parse().unwrap();
        let statement = world.roster.practice_statement().unwrap();
        let restored = typed.recover_practice(statement).unwrap();
        assert_eq!(restored.seed(), world.practice_key.seed());
        let book = KeyBook::read(&world.roster, &typed.secret());
        for epoch in [first, second, world.current(EpochKind::Restricted)] {
            let (ours, theirs) = (book.epoch(&epoch).unwrap(), founder.epoch(&epoch).unwrap());
            assert_eq!(ours.secret(), theirs.secret());
        }
        assert_eq!(book.pseudonym().unwrap().secret(), founder.pseudonym().unwrap().secret());

        let other = RecoveryCode::generate(&world.environment);
        let refused = other.recover_practice(statement);
        assert!(matches!(refused, Err(VaultError::WrongSecret("recovery code"))));
        let nothing = KeyBook::read(&world.roster, &other.secret());
        assert_eq!(nothing.unreadable(&world.roster).len(), 3);
    }

    #[test]
    fn who_joins_later_reads_history_and_a_relay_reads_nothing() {
        let mut world = World::new();
        let first = world.current(EpochKind::General);
        let second = world.rotates(EpochKind::General);
        let (clinic, relay) = (Node::new(&world.environment), Node::new(&world.environment));
        world.admits(&clinic, Role::Clinic, false);
        world.admits(&relay, Role::Relay, false);
        assert!(world.book(&clinic).current(&world.roster, EpochKind::General).is_none());
        world.fills_wraps();
        assert_eq!(world.roster.missing_wraps(), []);

        let book = world.book(&clinic);
        assert_eq!(book.current(&world.roster, EpochKind::General).unwrap().0, second);
        assert!(book.epoch(&first).is_some() && book.pseudonym().is_some());
        assert!(book.current(&world.roster, EpochKind::Restricted).is_none());
        let relay = world.book(&relay);
        assert_eq!(relay.unreadable(&world.roster).len(), 3);
        assert!(relay.pseudonym().is_none());
    }

    #[test]
    fn who_is_revoked_cannot_read_the_next_epoch() {
        let mut world = World::new();
        let thief = Node::new(&world.environment);
        world.admits(&thief, Role::Clinic, true);
        world.fills_wraps();
        let before = world.current(EpochKind::General);
        assert!(world.book(&thief).epoch(&before).is_some());
        world.revokes(&thief);
        for kind in EpochKind::ALL {
            assert!(world.roster.epoch_due(kind));
            let after = world.rotates(kind);
            assert!(!world.roster.epoch_due(kind));
            assert_eq!(world.current(kind), after);
            assert!(world.book(&thief).epoch(&after).is_none());
            assert!(world.book(&world.founder).epoch(&after).is_some());
        }
        assert_eq!(world.roster.missing_wraps(), []);
    }

    #[test]
    fn two_that_rotate_apart_are_both_read_and_the_next_epoch_joins_them() {
        let mut world = World::new();
        let book = world.book(&world.founder);
        let apart =
            [0, 1].map(|_| book.new_epoch(&world.environment, &world.roster, EpochKind::General));
        let [one, two] = apart.map(|statement| world.says(statement));
        assert_eq!(world.roster.leaves(EpochKind::General).len(), 2);
        let joined = world.rotates(EpochKind::General);
        assert_eq!(world.roster.leaves(EpochKind::General).len(), 1);
        let clinic = Node::new(&world.environment);
        world.admits(&clinic, Role::Clinic, false);
        world.fills_wraps();
        let book = world.book(&clinic);
        assert!([one, two, joined].iter().all(|epoch| book.epoch(epoch).is_some()));
    }

    #[test]
    fn wrong_keys_are_noticed_and_hold_nobody_up() {
        let mut world = World::new();
        let clinic = Node::new(&world.environment);
        world.admits(&clinic, Role::Clinic, false);
        let epoch = world.current(EpochKind::General);
        let check = world.roster.epoch(&epoch).unwrap().check;
        let practice = world.practice_key.id();
        let forged = wrap_all(
            &world.environment,
            practice,
            Purpose::Epoch(EpochKind::General, check),
            &[clinic.hpke.public(), HpkeKey::ZERO],
            &Private::new([66; 32]),
        );
        assert_eq!(forged.len(), 1, "nothing can be wrapped to an unusable key");
        let subject = WrapSubject::Epoch(epoch);
        world.says(ControlStatement::Wrap(WrapStatement { subject, wraps: forged }));
        assert!(world.book(&clinic).epoch(&epoch).is_none());
    }

    #[test]
    fn an_epoch_hands_down_parents_of_its_own_kind_only() {
        let mut world = World::new();
        let restricted = world.current(EpochKind::Restricted);
        let book = world.book(&world.founder);
        let secret = book.epoch(&restricted).unwrap().secret().expose().to_vec();
        let key = EpochKey::generate(&world.environment);
        let practice = world.practice_key.id();
        let nonce = world.environment.random();
        let context = parent_context(practice, EpochKind::General, restricted);
        let payload = cipher::encrypt(&parent_key(&key), &nonce, &context, &secret);
        let parents = vec![SealedParent { epoch: restricted, nonce, payload }];
        let clinic = Node::new(&world.environment);
        world.admits(&clinic, Role::Clinic, false);
        let recipients = [clinic.hpke.public()];
        let statement = epoch_statement(
            &world.environment,
            practice,
            EpochKind::General,
            &key,
            parents,
            &recipients,
        );
        let epoch = world.says(statement);
        let book = world.book(&clinic);
        assert!(book.epoch(&epoch).is_some() && book.epoch(&restricted).is_none());
    }

    #[test]
    fn parents_that_were_altered_or_are_missing_are_passed_over() {
        let mut world = World::new();
        let first = world.current(EpochKind::General);
        let book = world.book(&world.founder);
        let statement = book.new_epoch(&world.environment, &world.roster, EpochKind::General);
        let ControlStatement::Epoch(mut epoch) = statement else {
            unreachable!("a new epoch is an epoch")
        };
        epoch.parents[0].payload[0] ^= 1;
        let nowhere = EpochId([77; 16]);
        epoch.parents.push(SealedParent { epoch: nowhere, nonce: [0; 24], payload: vec![] });
        let second = world.says(ControlStatement::Epoch(epoch));
        let clinic = Node::new(&world.environment);
        world.admits(&clinic, Role::Clinic, false);
        world.fills_wraps();
        let book = world.book(&clinic);
        assert!(book.epoch(&second).is_some());
        assert_eq!(book.unreadable(&world.roster).len(), 2);
        assert!(book.epoch(&first).is_none() && book.epoch(&nowhere).is_none());
    }

    #[test]
    fn a_book_that_is_kept_up_to_date_equals_one_that_is_read_anew() {
        let mut world = World::new();
        let mut book = KeyBook::default();
        assert!(book.update(&world.roster, &world.founder.hpke));
        assert!(!book.update(&world.roster, &world.founder.hpke));
        let epoch = world.rotates(EpochKind::General);
        assert!(book.update(&world.roster, &world.founder.hpke));
        let anew = world.book(&world.founder);
        assert_eq!(book.epoch(&epoch).unwrap().secret(), anew.epoch(&epoch).unwrap().secret());
    }

    #[test]
    fn a_practice_needs_a_name_and_a_site() {
        let (environment, _) = Environment::seeded(1, 0);
        let code = RecoveryCode::generate(&environment);
        let keys = Node::new(&environment).keys();
        let founding = |name, site| {
            let founding = Founding { name, site, keys, expires_ms: 1, code: &code };
            found(&environment, &founding).map(|_| ())
        };
        assert!(matches!(founding(" ", "here"), Err(VaultError::PracticeName)));
        assert!(matches!(founding("name", "a\nb"), Err(VaultError::SiteName)));
        assert!(founding("name", "here").is_ok());
    }
}
