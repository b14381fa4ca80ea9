//! The roster: who belongs to the practice, and which keys there are, folded from control statements.
//!
//! A function of the *set* of statements: they may come in any order, and twice. So nothing is
//! decided when a statement comes; facts are kept, and questions are answered from all of them.
//! Clocks decide nothing but which of two suspensions and reinstatements by administrators counts,
//! and the practice key, by revoking its author, decides over that too.

mod epoch;
mod standing;

use super::statement::{
    ControlStatement, EpochStatement, KeyWrap, PracticeStatement, SealedParent, WrapSubject,
};
use carnet_sync_protocol::certificate::{
    Certificate, Issuer, Revocation, RevocationIssuer, RevocationKind, VerifiedCertificate,
    VerifiedRevocation,
};
use carnet_sync_protocol::error::Violation;
use carnet_sync_protocol::id::{
    Author, EntryId, EpochId, HpkeKey, NodeId, PracticeId, TransportKey,
};
use carnet_sync_protocol::wire;
pub use epoch::EpochFact;
pub use standing::{CutAt, Standing};
use std::collections::BTreeMap;

/// A control statement and the entry that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The entry.
    pub id: EntryId,
    /// Who wrote it.
    pub author: Author,
    /// Its place in the author's control log.
    pub sequence: u64,
    /// What it says.
    pub statement: ControlStatement,
}

/// Why a statement does not count. It is listed, and everything else goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// What the practice says of itself is not signed by the practice.
    #[error("a statement about the practice does not count: {0}")]
    Practice(Violation),
    /// A certificate that does not lead to the practice's key.
    #[error("a certificate does not count: {0}")]
    Certificate(Violation),
    /// A revocation by somebody who may not.
    #[error("a revocation does not count: {0}")]
    Revocation(Violation),
}

/// Where a fact stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    sequence: u64,
    id: EntryId,
}

/// A certificate and the logs in which it stands, each with the first place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    certificate: VerifiedCertificate,
    places: BTreeMap<Author, Place>,
}

/// Newest last; whatever the practice key signed is above what others did.
type Rank = (bool, u64, [u8; 32]);

/// Who may suspend; `None` is the practice key.
type Suspender = Option<NodeId>;

/// One wrap of a key for each recipient and author, the first.
type Wraps = BTreeMap<(HpkeKey, Author), (Place, KeyWrap)>;

/// Certificates that are kept for one node, the highest ranks.
const CERTIFICATES_MAX: usize = 16;

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    practice: PracticeId,
    statement: Option<PracticeStatement>,
    certificates: BTreeMap<NodeId, BTreeMap<Rank, Held>>,
    /// Final revocations, by the node and a hash.
    revoked: BTreeMap<NodeId, BTreeMap<[u8; 32], VerifiedRevocation>>,
    /// For each node and suspender the latest suspension or reinstatement.
    suspended: BTreeMap<NodeId, BTreeMap<Suspender, VerifiedRevocation>>,
    epochs: BTreeMap<EpochId, EpochFact>,
    wraps: BTreeMap<WrapSubject, Wraps>,
}

impl Roster {
    /// The roster of a practice of which nothing is known yet.
    pub const fn new(practice: PracticeId) -> Self {
        Self {
            practice,
            statement: None,
            certificates: BTreeMap::new(),
            revoked: BTreeMap::new(),
            suspended: BTreeMap::new(),
            epochs: BTreeMap::new(),
            wraps: BTreeMap::new(),
        }
    }

    /// Takes a statement in; an error says that it does not count.
    pub fn insert(&mut self, fact: Fact) -> Result<(), Problem> {
        let Fact { id, author, sequence, statement } = fact;
        let place = Place { sequence, id };
        match statement {
            ControlStatement::Practice(statement) => self.insert_practice(*statement)?,
            ControlStatement::Certificate(certificate) => {
                self.insert_certificate(*certificate, author, place)?;
            }
            ControlStatement::Revocation(revocation) => self.insert_revocation(*revocation)?,
            ControlStatement::Epoch(epoch) => self.insert_epoch(epoch, author, place),
            ControlStatement::Pseudonym(pseudonym) => {
                self.insert_wraps(WrapSubject::Pseudonym, pseudonym.wraps, author, place);
            }
            ControlStatement::Wrap(wrap) => {
                self.insert_wraps(wrap.subject, wrap.wraps, author, place);
            }
            // A newer version's business: kept in the ledger and passed on.
            ControlStatement::Unknown { .. } => {}
        }
        Ok(())
    }

    fn insert_practice(&mut self, statement: PracticeStatement) -> Result<(), Problem> {
        statement.verify(self.practice).map_err(Problem::Practice)?;
        let rank = |held: &PracticeStatement| (held.body.revision, hash_of(held));
        if self.statement.as_ref().is_none_or(|held| rank(held) < rank(&statement)) {
            self.statement = Some(statement);
        }
        Ok(())
    }

    fn insert_certificate(
        &mut self,
        certificate: Certificate,
        author: Author,
        place: Place,
    ) -> Result<(), Problem> {
        let certificate = certificate.verify(self.practice).map_err(Problem::Certificate)?;
        let rank = rank(&certificate);
        let of_node = self.certificates.entry(certificate.node()).or_default();
        let held =
            of_node.entry(rank).or_insert_with(|| Held { certificate, places: BTreeMap::new() });
        let first = held.places.entry(author).or_insert(place);
        *first = place.min(*first);
        while of_node.len() > CERTIFICATES_MAX {
            of_node.pop_first();
        }
        Ok(())
    }

    fn insert_revocation(&mut self, revocation: Revocation) -> Result<(), Problem> {
        let revocation = revocation.verify(self.practice).map_err(Problem::Revocation)?;
        let node = revocation.body.node;
        if revocation.body.kind == RevocationKind::Revoke {
            self.revoked.entry(node).or_default().insert(hash_of(&*revocation), revocation);
            return Ok(());
        }
        let suspender = match &revocation.issuer {
            RevocationIssuer::Practice => None,
            RevocationIssuer::Node(certificate) => Some(certificate.body.keys.entry),
        };
        let of_node = self.suspended.entry(node).or_default();
        let rank = |held: &VerifiedRevocation| standing::suspension_rank(held);
        if of_node.get(&suspender).is_none_or(|held| rank(held) < rank(&revocation)) {
            of_node.insert(suspender, revocation);
        }
        Ok(())
    }

    fn insert_epoch(&mut self, statement: EpochStatement, author: Author, place: Place) {
        let EpochStatement { kind, check, parents, wraps } = statement;
        let id = EpochId::from(place.id);
        let fact = EpochFact {
            id,
            entry: place.id,
            author,
            sequence: place.sequence,
            kind,
            check,
            parents,
        };
        // Half an entry's id names an epoch; of two with the same half, one is chosen alike anywhere.
        match self.epochs.get(&id) {
            Some(held) if held.entry <= fact.entry => {}
            _ => {
                self.epochs.insert(id, fact);
            }
        }
        self.insert_wraps(WrapSubject::Epoch(id), wraps, author, place);
    }

    fn insert_wraps(
        &mut self,
        subject: WrapSubject,
        wraps: Vec<KeyWrap>,
        author: Author,
        place: Place,
    ) {
        let of_subject = self.wraps.entry(subject).or_default();
        for wrap in wraps {
            let slot = (wrap.recipient, author);
            let candidate = (place, wrap);
            if of_subject.get(&slot).is_none_or(|held| candidate < *held) {
                of_subject.insert(slot, candidate);
            }
        }
    }

    /// The practice.
    pub const fn practice(&self) -> PracticeId {
        self.practice
    }

    /// What the practice says of itself.
    pub const fn practice_statement(&self) -> Option<&PracticeStatement> {
        self.statement.as_ref()
    }

    /// What people call the practice.
    pub fn name(&self) -> Option<&str> {
        self.statement.as_ref().map(|statement| statement.body.name.as_str())
    }

    /// The certificate of a node that counts now, whether or not the node is revoked.
    pub fn certificate(&self, node: &NodeId) -> Option<&VerifiedCertificate> {
        let held = self.certificates.get(node)?;
        held.values().rev().find(|held| self.is_attested(held)).map(|held| &held.certificate)
    }

    /// The certificate of a node that counts now, if it is above one that is held of the node.
    pub fn newer_certificate(&self, held: &Certificate) -> Option<&VerifiedCertificate> {
        self.certificate(&held.node()).filter(|counts| rank(counts) > rank(held))
    }

    /// The certificate of every node, in order of the nodes' ids.
    pub fn nodes(&self) -> impl Iterator<Item = &VerifiedCertificate> {
        self.certificates.keys().filter_map(|node| self.certificate(node))
    }

    /// The certificate of the node with this transport key; active ones first.
    pub fn by_transport(&self, transport: &TransportKey) -> Option<&VerifiedCertificate> {
        self.nodes()
            .filter(|certificate| certificate.body.keys.transport == *transport)
            .min_by_key(|certificate| self.standing(&certificate.node()) != Standing::Active)
    }

    /// Grants by which more than one node was admitted: an invitation that was copied, and a
    /// sponsor that was cloned or cheated. For the administrator to look at.
    pub fn grants_used_twice(&self) -> Vec<[u8; 16]> {
        let mut users: BTreeMap<[u8; 16], Vec<NodeId>> = BTreeMap::new();
        for (node, held) in &self.certificates {
            for held in held.values() {
                if let Issuer::Grant(grant) = &held.certificate.issuer {
                    let users = users.entry(grant.grant.id).or_default();
                    if users.last() != Some(node) {
                        users.push(*node);
                    }
                }
            }
        }
        users.into_iter().filter(|(_, nodes)| nodes.len() > 1).map(|(grant, _)| grant).collect()
    }
}

fn rank(certificate: &Certificate) -> Rank {
    let by_practice = certificate.issuer == Issuer::Practice;
    (by_practice, certificate.body.issued_ms, hash_of(certificate))
}

fn hash_of<T: serde::Serialize>(value: &T) -> [u8; 32] {
    *blake3::hash(&wire::encode(value)).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::private::Private;
    use crate::identity::statement::{
        Check, EpochKind, PracticeBody, PseudonymStatement, WrapStatement,
    };
    use crate::identity::{PracticeKey, SigningSecret};
    use carnet_sync_protocol::certificate::{
        Capabilities, CertificateBody, Cut, Grant, NodeKeys, RevocationBody, Role, SignedGrant,
    };
    use carnet_sync_protocol::id::{Channel, Incarnation, LogId};
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    /// A node whose three keys are told by one number.
    struct Node {
        number: u8,
        entry: SigningSecret,
        written: u64,
    }

    impl Node {
        fn new(number: u8) -> Self {
            let entry = SigningSecret::from_seed(Private::new([number; 32]));
            Self { number, entry, written: 0 }
        }

        fn id(&self) -> NodeId {
            NodeId(self.entry.public())
        }

        fn hpke(&self) -> HpkeKey {
            HpkeKey([self.number; 32])
        }

        fn author(&self) -> Author {
            Author { node: self.id(), incarnation: Incarnation([self.number; 8]) }
        }

        fn body(&self, role: Role, restricted: bool) -> CertificateBody {
            CertificateBody {
                practice: practice().id(),
                keys: NodeKeys {
                    entry: self.id(),
                    transport: TransportKey([self.number; 32]),
                    hpke: self.hpke(),
                },
                role,
                capabilities: Capabilities { restricted, ..Capabilities::default() },
                site: "Sédhiou".to_owned(),
                serial: [self.number; 8],
                issued_ms: 1,
                expires_ms: 2,
            }
        }

        fn by_practice(&self, admit: bool) -> Certificate {
            let mut body = self.body(Role::Clinic, true);
            body.capabilities.admit = admit;
            Certificate::issue(body, practice().key()).unwrap().into_certificate()
        }

        /// A certificate for `other`, sponsored and granted by this node.
        fn sponsors(&self, other: &Node, role: Role, restricted: bool, grant: u8) -> Certificate {
            let body = other.body(role, restricted);
            let grant = Grant {
                practice: practice().id(),
                id: [grant; 16],
                sponsor: self.id(),
                token_hash: [0; 32],
                role,
                capabilities: body.capabilities,
                site: body.site.clone(),
                expires_ms: 9,
            };
            let own = self.by_practice(true);
            let grant = SignedGrant::by_node(grant, &own, self.entry.key()).unwrap();
            Certificate::sponsor(body, grant, self.entry.key()).unwrap().into_certificate()
        }

        fn says(&mut self, statement: ControlStatement) -> Fact {
            self.written += 1;
            let mut id = [self.number; 32];
            id[1] = self.written as u8;
            Fact { id: EntryId(id), author: self.author(), sequence: self.written, statement }
        }

        fn certifies(&mut self, certificate: Certificate) -> Fact {
            self.says(ControlStatement::Certificate(Box::new(certificate)))
        }

        fn rotates(&mut self, kind: EpochKind, parents: &[EpochId], to: &[HpkeKey]) -> Fact {
            let parents = parents
                .iter()
                .map(|epoch| SealedParent { epoch: *epoch, nonce: [0; 24], payload: vec![] })
                .collect();
            let check = Check([self.number; 16]);
            let wraps = to.iter().map(|to| wrap(*to)).collect();
            self.says(ControlStatement::Epoch(EpochStatement { kind, check, parents, wraps }))
        }

        fn gives(&mut self, subject: WrapSubject, to: HpkeKey) -> Fact {
            let wraps = vec![wrap(to)];
            self.says(ControlStatement::Wrap(WrapStatement { subject, wraps }))
        }

        fn suspension(&self, kind: RevocationKind, node: &Node, time_ms: u64) -> ControlStatement {
            let body = revocation_body(kind, node, time_ms, &[(Channel::Control, 1)]);
            let own = self.by_practice(true);
            let said = Revocation::by_node(body, &own, self.entry.key()).unwrap();
            ControlStatement::Revocation(Box::new(said.into_revocation()))
        }
    }

    fn practice() -> PracticeKey {
        PracticeKey::from_seed(Private::new([100; 32]))
    }

    fn wrap(recipient: HpkeKey) -> KeyWrap {
        KeyWrap { recipient, encapsulated: [0; 32], sealed: vec![] }
    }

    fn revocation_body(
        kind: RevocationKind,
        node: &Node,
        time_ms: u64,
        cuts: &[(Channel, u64)],
    ) -> RevocationBody {
        let cuts = cuts
            .iter()
            .map(|(channel, sequence)| {
                let mut id = [node.number; 32];
                id[1] = *sequence as u8;
                let incarnation = node.author().incarnation;
                Cut { channel: *channel, incarnation, sequence: *sequence, id: EntryId(id) }
            })
            .collect();
        RevocationBody { practice: practice().id(), node: node.id(), kind, cuts, time_ms }
    }

    fn revokes(node: &Node, cuts: &[(Channel, u64)]) -> ControlStatement {
        let body = revocation_body(RevocationKind::Revoke, node, 1, cuts);
        let said = Revocation::by_practice(body, practice().key()).unwrap();
        ControlStatement::Revocation(Box::new(said.into_revocation()))
    }

    fn practice_says(revision: u64, name: &str) -> ControlStatement {
        let body = PracticeBody {
            practice: practice().id(),
            revision,
            name: name.to_owned(),
            recovery: HpkeKey([200; 32]),
            pseudonym_check: Check([0; 16]),
            key: wrap(HpkeKey([200; 32])),
        };
        let signed = PracticeStatement::sign(body, practice().key());
        ControlStatement::Practice(Box::new(signed))
    }

    fn roster(facts: &[Fact]) -> Roster {
        let mut roster = Roster::new(practice().id());
        for fact in facts {
            assert_eq!(roster.insert(fact.clone()), Ok(()));
        }
        roster
    }

    fn epoch_of(fact: &Fact) -> EpochId {
        EpochId::from(fact.id)
    }

    /// A practice with an eventful life: 1 founds and is revoked, 2 admits too, 3 is a clinic
    /// without the restricted key, 4 a relay, 5 was admitted by 1 after its cut.
    fn life() -> Vec<Fact> {
        let [mut one, mut two, mut three, mut four, mut five] = [1, 2, 3, 4, 5].map(Node::new);
        let mut facts = vec![
            one.says(practice_says(0, "Casamance")),
            one.certifies(one.by_practice(true)),
            one.certifies(two.by_practice(true)),
            one.certifies(one.sponsors(&three, Role::Clinic, false, 1)),
            one.certifies(one.sponsors(&four, Role::Relay, false, 2)),
            one.rotates(EpochKind::General, &[], &[one.hpke(), two.hpke()]),
        ];
        let first = epoch_of(&facts[5]);
        facts.push(two.gives(WrapSubject::Epoch(first), three.hpke()));
        facts.push(two.says(practice_says(1, "Casamance et Gambie")));
        facts.push(three.rotates(EpochKind::General, &[first], &[two.hpke(), three.hpke()]));
        facts.push(two.rotates(EpochKind::General, &[first], &[one.hpke(), two.hpke()]));
        facts.push(four.rotates(EpochKind::Restricted, &[], &[four.hpke()]));
        facts.push(two.rotates(EpochKind::Restricted, &[], &[two.hpke()]));
        facts.push(two.says(two.suspension(RevocationKind::Suspend, &three, 10)));
        facts.push(one.says(one.suspension(RevocationKind::Reinstate, &three, 11)));
        facts.push(two.says(revokes(&one, &[(Channel::Control, 6), (Channel::Critical, 9)])));
        facts.push(four.says(revokes(&one, &[(Channel::Control, 7), (Channel::Critical, 4)])));
        facts.push(one.certifies(one.sponsors(&five, Role::Clinic, true, 1)));
        facts.push(five.rotates(EpochKind::General, &[first], &[five.hpke()]));
        let pseudonym = PseudonymStatement { check: Check([0; 16]), wraps: vec![wrap(two.hpke())] };
        facts.push(two.says(ControlStatement::Pseudonym(pseudonym)));
        facts.push(two.says(ControlStatement::Unknown { kind: 99, bytes: vec![1] }));
        facts
    }

    #[test]
    fn the_order_of_arrival_does_not_matter_nor_do_repeats() {
        let mut facts = life();
        let expected = roster(&facts);
        let mut chance = ChaCha20Rng::seed_from_u64(42);
        for _ in 0..100 {
            for place in (1..facts.len()).rev() {
                facts.swap(place, chance.next_u32() as usize % (place + 1));
            }
            let twice = [&facts[..], &facts[..3]].concat();
            assert_eq!(roster(&twice), expected);
        }
    }

    #[test]
    fn the_eventful_life_has_come_to_this() {
        let roster = roster(&life());
        let [one, two, three, four, five] = [1, 2, 3, 4, 5].map(Node::new);
        assert_eq!(roster.name(), Some("Casamance et Gambie"));
        let standings = [&one, &two, &three, &four, &five].map(|node| roster.standing(&node.id()));
        assert_eq!(
            standings,
            [
                Standing::Revoked,
                Standing::Active,
                // The reinstatement came from who was revoked.
                Standing::Suspended,
                Standing::Active,
                // Admitted by who was revoked, and not known before the cut.
                Standing::Unknown,
            ]
        );
        let log = |node: &Node, channel| LogId { channel, author: node.author() };
        let cut = |node, channel| roster.cut(&log(node, channel)).map(|cut| cut.sequence);
        assert_eq!(cut(&one, Channel::Control), Some(6));
        assert_eq!(cut(&one, Channel::Critical), Some(4));
        assert_eq!(cut(&one, Channel::Clinical), Some(0));
        assert_eq!(cut(&three, Channel::Control), Some(1));
        assert_eq!(cut(&two, Channel::Control), None);
        assert_eq!(roster.grants_used_twice(), [[1; 16]]);
        // The epoch of the relay and the one of the stranger do not count.
        assert_eq!(roster.leaves(EpochKind::Restricted).len(), 1);
        assert!(!roster.epoch_due(EpochKind::Restricted));
        let leaves = roster.leaves(EpochKind::General);
        assert_eq!(leaves.len(), 2);
        // One leaf was wrapped to the revoked, the other to the suspended.
        assert!(roster.epoch_due(EpochKind::General));
        assert_eq!(roster.recipients(EpochKind::General), [two.hpke(), HpkeKey([200; 32])]);
    }

    #[test]
    fn a_suspension_lasts_until_somebody_else_ends_it() {
        let [mut one, mut two, three] = [1, 2, 3].map(Node::new);
        let mut facts = vec![
            one.certifies(one.by_practice(true)),
            one.certifies(two.by_practice(true)),
            one.certifies(one.sponsors(&three, Role::Clinic, true, 1)),
        ];
        let standing = |facts: &[Fact], node: &Node| roster(facts).standing(&node.id());
        facts.push(one.says(one.suspension(RevocationKind::Suspend, &two, 5)));
        assert_eq!(standing(&facts, &two), Standing::Suspended);
        facts.push(two.says(two.suspension(RevocationKind::Reinstate, &two, 6)));
        assert_eq!(standing(&facts, &two), Standing::Suspended);
        facts.push(one.says(one.suspension(RevocationKind::Reinstate, &two, 7)));
        assert_eq!(standing(&facts, &two), Standing::Active);
        facts.push(two.says(two.suspension(RevocationKind::Suspend, &three, 8)));
        facts.push(one.says(one.suspension(RevocationKind::Reinstate, &three, 8)));
        assert_eq!(standing(&facts, &three), Standing::Suspended);
        facts.push(one.says(revokes(&two, &[])));
        assert_eq!(standing(&facts, &three), Standing::Active);
    }

    #[test]
    fn what_the_revoked_grant_afterwards_admits_nobody_unless_somebody_else_vouches() {
        let [mut one, mut two, mut late] = [1, 2, 5].map(Node::new);
        let mut facts = vec![
            one.certifies(one.by_practice(true)),
            one.certifies(two.by_practice(true)),
            two.says(revokes(&one, &[(Channel::Control, 2)])),
        ];
        let minted = one.sponsors(&late, Role::Clinic, true, 7);
        let shown = minted.clone().verify(practice().id()).unwrap();
        assert_eq!(roster(&facts[..2]).standing_with(&shown), Standing::Active);
        assert_eq!(roster(&facts).standing_with(&shown), Standing::Unknown);
        facts.push(one.certifies(minted.clone()));
        facts.push(late.certifies(minted.clone()));
        assert_eq!(roster(&facts).standing_with(&shown), Standing::Unknown);
        facts.push(two.certifies(minted));
        assert_eq!(roster(&facts).standing_with(&shown), Standing::Active);
        assert!(roster(&facts).by_transport(&TransportKey([5; 32])).is_some());
    }

    #[test]
    fn who_joins_is_given_the_keys_by_a_clinic() {
        let [mut one, three, mut four] = [1, 3, 4].map(Node::new);
        let recovery = HpkeKey([200; 32]);
        let mut facts = vec![
            one.says(practice_says(0, "Casamance")),
            one.certifies(one.by_practice(true)),
            one.rotates(EpochKind::General, &[], &[one.hpke(), recovery]),
            one.rotates(EpochKind::Restricted, &[], &[one.hpke(), recovery]),
        ];
        let general = WrapSubject::Epoch(epoch_of(&facts[2]));
        let lacking = |facts: &[Fact]| -> Vec<_> {
            let missing = roster(facts).missing_wraps();
            missing.into_iter().filter(|(subject, _)| *subject == general).collect()
        };
        assert_eq!(lacking(&facts), []);
        facts.push(one.certifies(one.sponsors(&three, Role::Clinic, false, 1)));
        facts.push(one.certifies(one.sponsors(&four, Role::Relay, false, 2)));
        assert_eq!(lacking(&facts), [(general, vec![three.hpke()])]);
        facts.push(four.gives(general, three.hpke()));
        assert_eq!(lacking(&facts), [(general, vec![three.hpke()])]);
        facts.push(one.gives(general, three.hpke()));
        assert_eq!(lacking(&facts), []);
        let roster = roster(&facts);
        assert_eq!(roster.recipients(EpochKind::Restricted), [one.hpke(), recovery]);
        assert!(EpochKind::ALL.iter().all(|kind| !roster.epoch_due(*kind)));
    }

    #[test]
    fn what_is_signed_wrongly_does_not_count_and_harms_nothing() {
        let mut one = Node::new(1);
        let facts = [one.certifies(one.by_practice(true))];
        let mut roster = roster(&facts);
        let before = roster.clone();
        let ControlStatement::Practice(mut forged) = practice_says(3, "Forged") else {
            unreachable!("that is what it makes")
        };
        forged.body.name.push('!');
        let forged = one.says(ControlStatement::Practice(forged));
        assert_eq!(roster.insert(forged), Err(Problem::Practice(Violation::Signature)));
        let mut certificate = Node::new(9).by_practice(true);
        certificate.body.site.push('!');
        let forged = one.certifies(certificate);
        assert_eq!(roster.insert(forged), Err(Problem::Certificate(Violation::Signature)));
        let ControlStatement::Revocation(mut revocation) = revokes(&one, &[]) else {
            unreachable!("that is what it makes")
        };
        revocation.body.practice.0[0] ^= 1;
        let forged = one.says(ControlStatement::Revocation(revocation));
        assert_eq!(roster.insert(forged), Err(Problem::Revocation(Violation::Practice)));
        assert_eq!(roster, before);
    }

    #[test]
    fn certificates_without_end_are_bounded_and_the_newest_counts() {
        let mut one = Node::new(1);
        let mut facts: Vec<Fact> = (0..40)
            .map(|issued_ms| {
                let mut body = one.body(Role::Clinic, true);
                body.issued_ms = issued_ms;
                let renewed = Certificate::issue(body, practice().key()).unwrap();
                one.certifies(renewed.into_certificate())
            })
            .collect();
        let forwards = roster(&facts);
        facts.reverse();
        assert_eq!(roster(&facts), forwards);
        assert_eq!(forwards.certificate(&one.id()).unwrap().body.issued_ms, 39);
        assert_eq!(forwards.certificates[&one.id()].len(), CERTIFICATES_MAX);
    }
}
