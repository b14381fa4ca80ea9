//! Tests of the module above.

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
fn newcomers_of_the_revoked_do_not_vouch_for_each_other_and_nothing_of_them_counts() {
    let [mut one, mut two, mut four, mut five] = [1, 2, 4, 5].map(Node::new);
    let mut facts = vec![
        one.certifies(one.by_practice(true)),
        one.certifies(two.by_practice(true)),
        two.says(revokes(&one, &[(Channel::Control, 2)])),
    ];
    let minted = [&four, &five].map(|node| one.sponsors(node, Role::Clinic, true, node.number));
    for minted in &minted {
        facts.extend([four.certifies(minted.clone()), five.certifies(minted.clone())]);
    }
    let log = |node: &Node, channel| LogId { channel, author: node.author() };
    for node in [&four, &five] {
        let roster = roster(&facts);
        assert_eq!(roster.standing(&node.id()), Standing::Unknown);
        assert!(roster.is_known(&node.id()) && roster.certificate(&node.id()).is_none());
        assert_eq!(roster.shown_certificate(&node.id()).unwrap().node(), node.id());
        assert_eq!(roster.cut(&log(node, Channel::Clinical)).map(|cut| cut.sequence), Some(0));
    }
    // Whoever belongs vouches for one of them; the other is vouched for by that one.
    facts.push(two.certifies(minted[0].clone()));
    for node in [&four, &five] {
        assert_eq!(roster(&facts).standing(&node.id()), Standing::Active);
        assert_eq!(roster(&facts).cut(&log(node, Channel::Clinical)), None);
    }
}

#[test]
fn a_revoked_sponsor_drives_out_no_certificate_of_another() {
    let [mut one, mut two, late] = [1, 2, 5].map(Node::new);
    let mut facts = vec![
        one.certifies(one.by_practice(true)),
        one.certifies(two.by_practice(true)),
        two.certifies(two.sponsors(&late, Role::Clinic, true, 1)),
        two.says(revokes(&one, &[(Channel::Control, 2)])),
    ];
    for number in 0..40 {
        facts.push(one.certifies(one.sponsors(&late, Role::Clinic, true, 10 + number)));
    }
    assert_eq!(roster(&facts).standing(&late.id()), Standing::Active);
    facts.reverse();
    assert_eq!(roster(&facts).standing(&late.id()), Standing::Active);
    assert_eq!(roster(&facts).certificates[&late.id()].len(), CERTIFICATES_MAX + 1);
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
