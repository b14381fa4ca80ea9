//! Who is active, suspended or revoked, and up to where the revoked are believed.

use super::{Held, Place, Roster};
use carnet_sync_protocol::certificate::{
    Basis, Cut, Grantor, Issuer, RevocationKind, VerifiedCertificate, VerifiedRevocation,
};
use carnet_sync_protocol::id::{Author, Channel, EntryId, LogId, NodeId};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// What a node is to the practice now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// No certificate of it counts.
    Unknown,
    /// It belongs.
    Active,
    /// An administrator has shut it out until further notice.
    Suspended,
    /// The practice has shut it out for good.
    Revoked,
}

/// The last entry of a log that still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CutAt {
    /// Its sequence; 0 if nothing of the log counts.
    pub sequence: u64,
    /// Its id; zero if nothing of the log counts.
    pub id: EntryId,
}

impl CutAt {
    /// Nothing of the log counts.
    const START: Self = Self { sequence: 0, id: EntryId::ZERO };
}

/// The nodes of which a certificate counts, found when somebody first asks.
#[derive(Clone, Debug)]
pub(super) struct Attested(OnceLock<BTreeSet<NodeId>>);

impl Attested {
    /// Nobody has asked yet.
    pub(super) const fn unasked() -> Self {
        Self(OnceLock::new())
    }
}

/// Whether somebody has asked makes no difference.
impl PartialEq for Attested {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Attested {}

/// The latest counts, and of simultaneous ones the suspension.
pub(super) fn suspension_rank(revocation: &VerifiedRevocation) -> (u64, bool, [u8; 32]) {
    let suspends = revocation.body.kind == RevocationKind::Suspend;
    (revocation.body.time_ms, suspends, super::hash_of(&**revocation))
}

impl Roster {
    /// What a node is now.
    pub fn standing(&self, node: &NodeId) -> Standing {
        if self.is_revoked(node) {
            Standing::Revoked
        } else if self.suspension(node).is_some() {
            Standing::Suspended
        } else if self.certificate(node).is_some() {
            Standing::Active
        } else {
            Standing::Unknown
        }
    }

    /// When a node was last suspended or reinstated, as those said who did it.
    pub fn last_suspension_ms(&self, node: &NodeId) -> Option<u64> {
        self.suspended.get(node)?.values().map(|said| said.body.time_ms).max()
    }

    /// What a node is that shows this certificate, which the roster need not hold yet.
    pub fn standing_with(&self, certificate: &VerifiedCertificate) -> Standing {
        match self.standing(&certificate.node()) {
            // Who was revoked could still make grants and put an old date on them; so what rests
            // on the revoked counts only if it stands in the ledger in time.
            Standing::Unknown if !self.rests_on_the_revoked(certificate) => Standing::Active,
            standing => standing,
        }
    }

    /// Up to where a log is believed; nothing if it is not cut. Of a node that nobody admitted but
    /// who was cut off, nothing is, until somebody who belongs admits it.
    pub fn cut(&self, log: &LogId) -> Option<CutAt> {
        let node = &log.author.node;
        let revoked = self.revoked.get(node).into_iter().flat_map(|held| held.values());
        let cuts = revoked.chain(self.suspension(node)).map(|revocation| cut_by(revocation, log));
        let unattested = self.is_known(node) && self.certificate(node).is_none();
        cuts.chain(unattested.then_some(CutAt::START)).min()
    }

    /// Whether a control entry at this place is believed. On a log with branches an entry below
    /// the cut may lie on another branch than the cut; it is believed all the same.
    pub(super) fn is_accepted(&self, author: Author, place: Place) -> bool {
        let log = LogId { channel: Channel::Control, author };
        self.cut(&log).is_none_or(|cut| {
            place.sequence < cut.sequence || (place.sequence, place.id) == (cut.sequence, cut.id)
        })
    }

    /// Whether a certificate counts: signed by the practice, or resting on nobody who was revoked,
    /// or standing in the ledger where somebody else than the node itself is believed.
    pub(super) fn is_attested(&self, held: &Held) -> bool {
        let nodes = self.attested.0.get_or_init(|| {
            let mut nodes = BTreeSet::new();
            loop {
                // In a ring of nodes that attest each other, nobody is believed before another.
                let news = self.certificates.iter().filter(|(node, held)| {
                    !nodes.contains(*node)
                        && held.values().any(|held| self.is_attested_by(&nodes, held))
                });
                let news: Vec<NodeId> = news.map(|(node, _)| *node).collect();
                if news.is_empty() {
                    break nodes;
                }
                nodes.extend(news);
            }
        });
        self.is_attested_by(nodes, held)
    }

    fn is_attested_by(&self, nodes: &BTreeSet<NodeId>, held: &Held) -> bool {
        !self.rests_on_the_revoked(&held.certificate)
            || held.places.iter().any(|(author, place)| {
                author.node != held.certificate.node()
                    && nodes.contains(&author.node)
                    && self.is_accepted_finally(*author, *place)
            })
    }

    /// As [`Self::is_accepted`], by final revocations only. Whether a certificate counts may not
    /// depend on suspensions, since who may suspend depends on certificates.
    fn is_accepted_finally(&self, author: Author, place: Place) -> bool {
        let log = LogId { channel: Channel::Control, author };
        let revoked = self.revoked.get(&author.node).into_iter().flat_map(|held| held.values());
        revoked.map(|revocation| cut_by(revocation, &log)).min().is_none_or(|cut| {
            place.sequence < cut.sequence || (place.sequence, place.id) == (cut.sequence, cut.id)
        })
    }

    fn rests_on_the_revoked(&self, certificate: &VerifiedCertificate) -> bool {
        let Issuer::Grant(grant) = &certificate.issuer else { return false };
        let by_grantor = match &grant.grantor {
            Grantor::Practice => false,
            Grantor::Node(grantor) => {
                let sponsor = match &grantor.basis {
                    Basis::Practice => None,
                    Basis::Grant { grant, .. } => Some(grant.sponsor),
                };
                self.is_revoked(&grantor.body.keys.entry)
                    || sponsor.is_some_and(|sponsor| self.is_revoked(&sponsor))
            }
        };
        by_grantor || self.is_revoked(&grant.grant.sponsor)
    }

    fn is_revoked(&self, node: &NodeId) -> bool {
        self.revoked.contains_key(node)
    }

    /// The suspension that is in force. What a revoked administrator said no longer counts, and
    /// nobody reinstates themselves.
    fn suspension(&self, node: &NodeId) -> Option<&VerifiedRevocation> {
        self.suspended
            .get(node)?
            .iter()
            .filter(|(suspender, said)| {
                suspender.is_none_or(|by| {
                    let themselves = by == *node && said.body.kind == RevocationKind::Reinstate;
                    !themselves && !self.is_revoked(&by)
                })
            })
            .map(|(_, said)| said)
            .max_by_key(|said| suspension_rank(said))
            .filter(|said| said.body.kind == RevocationKind::Suspend)
    }
}

fn cut_by(revocation: &VerifiedRevocation, log: &LogId) -> CutAt {
    let named =
        |cut: &&Cut| cut.channel == log.channel && cut.incarnation == log.author.incarnation;
    let cuts = revocation.body.cuts.iter().filter(named);
    cuts.map(|cut| CutAt { sequence: cut.sequence, id: cut.id }).min().unwrap_or(CutAt::START)
}
