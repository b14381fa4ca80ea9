//! The roster: who belongs to the practice, and which keys there are, folded from control statements.
//!
//! A function of the *set* of statements: they may come in any order, and twice. So nothing is
//! decided when a statement comes; facts are kept, and questions are answered from all of them.
//! Clocks decide nothing but which of two suspensions and reinstatements by administrators counts,
//! and the practice key, by revoking its author, decides over that too.

mod epoch;
mod standing;
#[cfg(test)]
mod tests;

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
use standing::Attested;
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

/// Certificates that are kept of one node by one sponsor, the highest ranks.
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
    attested: Attested,
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
            attested: Attested::unasked(),
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
        // Nobody drives out what another said.
        let sponsor = sponsor(&of_node[&rank].certificate);
        let mut theirs =
            of_node.iter().filter(|(_, held)| self::sponsor(&held.certificate) == sponsor);
        let lowest = theirs.next().map(|(rank, _)| *rank);
        if theirs.count() >= CERTIFICATES_MAX {
            lowest.and_then(|rank| of_node.remove(&rank));
        }
        self.attested = Attested::unasked();
        Ok(())
    }

    fn insert_revocation(&mut self, revocation: Revocation) -> Result<(), Problem> {
        let revocation = revocation.verify(self.practice).map_err(Problem::Revocation)?;
        let node = revocation.body.node;
        if revocation.body.kind == RevocationKind::Revoke {
            self.revoked.entry(node).or_default().insert(hash_of(&*revocation), revocation);
            self.attested = Attested::unasked();
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

    /// Whether a certificate of a node is held, though it may not count.
    pub fn is_known(&self, node: &NodeId) -> bool {
        self.certificates.contains_key(node)
    }

    /// The certificate of a node that counts, or the highest that does not: nobody admitted the node
    /// but who was cut off.
    pub fn shown_certificate(&self, node: &NodeId) -> Option<&VerifiedCertificate> {
        let highest = || Some(&self.certificates.get(node)?.values().next_back()?.certificate);
        self.certificate(node).or_else(highest)
    }

    /// The certificate of a node that counts now, if it is above one that is held of the node.
    pub fn newer_certificate(&self, held: &Certificate) -> Option<&VerifiedCertificate> {
        self.certificate(&held.node()).filter(|counts| rank(counts) > rank(held))
    }

    /// The certificate of every node, in order of the nodes' ids.
    pub fn nodes(&self) -> impl Iterator<Item = &VerifiedCertificate> {
        self.certificates.keys().filter_map(|node| self.certificate(node))
    }

    /// All nodes of which a certificate is held, with [`Self::shown_certificate`].
    pub fn known_nodes(&self) -> impl Iterator<Item = &VerifiedCertificate> {
        self.certificates.keys().filter_map(|node| self.shown_certificate(node))
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

/// Who brought a node in; `None` is the practice key.
fn sponsor(certificate: &Certificate) -> Option<NodeId> {
    match &certificate.issuer {
        Issuer::Practice => None,
        Issuer::Grant(grant) => Some(grant.grant.sponsor),
    }
}

fn hash_of<T: serde::Serialize>(value: &T) -> [u8; 32] {
    *blake3::hash(&wire::encode(value)).as_bytes()
}
