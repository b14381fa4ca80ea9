//! Certificates, grants and revocations: how every signature leads back to the practice's key.
//!
//! A certificate verifies by itself. It is signed by the practice key, or by a *sponsor* under a
//! one-use [`Grant`] that it embeds; the grant in turn is signed by the practice key, or by a node
//! whose embedded certificate is signed by the practice key and has the capability `admit`. So the
//! way to the practice is at most three signatures long, by the shape of the types.
//!
//! Times are carried for display. Nothing here looks at a clock: an expired certificate is still a
//! certificate, and whether a grant was used in time and only once is its sponsor's to see to.

use crate::entry::{SignatureBytes, sign, verify};
use crate::error::Violation;
use crate::id::{Channel, EntryId, HpkeKey, Incarnation, NodeId, PracticeId, TransportKey};
use crate::{limit, wire};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use std::ops::Deref;

const CERTIFICATE_DOMAIN: &str = "carnet certificate v1";
const SPONSORED_DOMAIN: &str = "carnet sponsored certificate v1";
const GRANT_DOMAIN: &str = "carnet grant v1";
const REVOCATION_DOMAIN: &str = "carnet revocation v1";

/// What a node is to the practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Reads and writes charts.
    Clinic,
    /// Keeps and passes on sealed entries without a key to them.
    Relay,
}

/// What a node may do beyond its role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capabilities {
    /// Grant certificates to others (without `admit`) and suspend nodes.
    pub admit: bool,
    /// Hold the key of the restricted channel.
    pub restricted: bool,
    /// Hold the key of the audit trail.
    pub audit: bool,
}

impl Capabilities {
    /// Whether everything here is also in `other`.
    pub const fn within(self, other: Self) -> bool {
        (!self.admit || other.admit)
            && (!self.restricted || other.restricted)
            && (!self.audit || other.audit)
    }
}

/// A node's three public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeKeys {
    /// Verifies what the node writes, and names it.
    pub entry: NodeId,
    /// Verifies its connections, HELLOs and receipts.
    pub transport: TransportKey,
    /// Epoch keys are wrapped to it.
    pub hpke: HpkeKey,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateBody {
    /// The practice.
    pub practice: PracticeId,
    /// The node's keys.
    pub keys: NodeKeys,
    /// Its role.
    pub role: Role,
    /// Its capabilities.
    pub capabilities: Capabilities,
    /// Where it stands, as people call the place; 1 to 64 bytes, no control characters.
    pub site: String,
    /// Drawn at random; tells two certificates for the same keys apart.
    pub serial: [u8; 8],
    /// When it was made, by its issuer's clock.
    pub issued_ms: u64,
    /// From when on people are warned.
    pub expires_ms: u64,
}

/// A certificate that rests on the practice key and on no other node's permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PracticeCertificate {
    /// What it says.
    pub body: CertificateBody,
    /// What it rests on.
    pub basis: Basis,
    /// By the practice key, or by the sponsor of the practice key's grant.
    pub signature: SignatureBytes,
}

/// Under what a [`PracticeCertificate`] was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Basis {
    /// The practice key itself.
    Practice,
    /// A grant of the practice key, used by its sponsor.
    Grant {
        /// The grant.
        grant: Box<Grant>,
        /// The practice key's signature over it.
        signature: SignatureBytes,
    },
}

impl PracticeCertificate {
    fn check(&self, practice: PracticeId) -> Result<(), Violation> {
        let Self { body, basis, signature } = self.clone();
        let issuer = match basis {
            Basis::Practice => Issuer::Practice,
            Basis::Grant { grant, signature } => Issuer::Grant(Box::new(SignedGrant {
                grant: *grant,
                grantor: Grantor::Practice,
                signature,
            })),
        };
        Certificate { body, issuer, signature }.verify(practice).map(|_| ())
    }
}

/// The permission to certify one node that is not there yet; an invitation rests on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The practice.
    pub practice: PracticeId,
    /// Drawn at random; a grant is used once.
    pub id: [u8; 16],
    /// The node that may use it.
    pub sponsor: NodeId,
    /// See [`token_hash`]: who is to be admitted shows the token.
    pub token_hash: [u8; 32],
    /// The role that it gives.
    pub role: Role,
    /// The most that it gives.
    pub capabilities: Capabilities,
    /// The site that it is for.
    pub site: String,
    /// After this the sponsor no longer uses it.
    pub expires_ms: u64,
}

/// What a grant holds instead of an invitation's secret token.
pub fn token_hash(token: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("carnet 2026 invitation token v1", token)
}

/// Who signed a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantor {
    /// The practice key.
    Practice,
    /// The entry key of a node that may admit.
    Node(Box<PracticeCertificate>),
}

/// A grant with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedGrant {
    /// What is granted.
    pub grant: Grant,
    /// Who grants it.
    pub grantor: Grantor,
    /// The grantor's signature.
    pub signature: SignatureBytes,
}

impl SignedGrant {
    /// Signs a grant with the practice key.
    pub fn by_practice(grant: Grant, practice_key: &SigningKey) -> Result<Self, Violation> {
        let signature = sign(practice_key, GRANT_DOMAIN, &wire::encode(&grant));
        Self { grant, grantor: Grantor::Practice, signature }.checked()
    }

    /// Signs a grant with the entry key of a node whose certificate the practice key signed and
    /// which has `admit`; other certificates are refused with [`Violation::Authority`].
    pub fn by_node(
        grant: Grant,
        grantor: &Certificate,
        entry_key: &SigningKey,
    ) -> Result<Self, Violation> {
        let grantor = grantor.by_practice().ok_or(Violation::Authority)?;
        let signature = sign(entry_key, GRANT_DOMAIN, &wire::encode(&grant));
        Self { grant, grantor: Grantor::Node(Box::new(grantor)), signature }.checked()
    }

    fn checked(self) -> Result<Self, Violation> {
        let practice = self.grant.practice;
        self.verify(practice)?;
        Ok(self)
    }

    /// Checks who granted it, and that it was theirs to grant.
    pub fn verify(&self, practice: PracticeId) -> Result<(), Violation> {
        if self.grant.practice != practice {
            return Err(Violation::Practice);
        }
        check_site(&self.grant.site)?;
        let key = match &self.grantor {
            Grantor::Practice => practice.as_bytes(),
            Grantor::Node(certificate) => {
                certificate.check(practice)?;
                let theirs = certificate.body.capabilities;
                // What a node passes on is at most its own, and never the right to pass on.
                let most = Capabilities { admit: false, ..theirs };
                if !theirs.admit || !self.grant.capabilities.within(most) {
                    return Err(Violation::Authority);
                }
                certificate.body.keys.entry.as_bytes()
            }
        };
        verify(key, GRANT_DOMAIN, &wire::encode(&self.grant), &self.signature)
    }
}

/// Who signed a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Issuer {
    /// The practice key.
    Practice,
    /// The entry key of the grant's sponsor.
    Grant(Box<SignedGrant>),
}

/// The statement that these keys are a node of the practice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// What it says.
    pub body: CertificateBody,
    /// Who says so.
    pub issuer: Issuer,
    /// The issuer's signature.
    pub signature: SignatureBytes,
}

impl Certificate {
    /// Certifies a node with the practice key.
    pub fn issue(
        body: CertificateBody,
        practice_key: &SigningKey,
    ) -> Result<VerifiedCertificate, Violation> {
        let practice = body.practice;
        let signature = sign(practice_key, CERTIFICATE_DOMAIN, &wire::encode(&body));
        Self { body, issuer: Issuer::Practice, signature }.verify(practice)
    }

    /// Certifies a node under a grant, with the sponsor's entry key.
    pub fn sponsor(
        body: CertificateBody,
        grant: SignedGrant,
        sponsor_entry_key: &SigningKey,
    ) -> Result<VerifiedCertificate, Violation> {
        let practice = body.practice;
        let signature = sign(sponsor_entry_key, SPONSORED_DOMAIN, &wire::encode(&(&body, &grant)));
        Self { body, issuer: Issuer::Grant(Box::new(grant)), signature }.verify(practice)
    }

    /// Follows every signature to the practice's key.
    pub fn verify(self, practice: PracticeId) -> Result<VerifiedCertificate, Violation> {
        match &self.issuer {
            Issuer::Practice => {
                check_body(&self.body, practice)?;
                let message = wire::encode(&self.body);
                verify(practice.as_bytes(), CERTIFICATE_DOMAIN, &message, &self.signature)?;
            }
            Issuer::Grant(grant) => {
                check_body(&self.body, practice)?;
                grant.verify(practice)?;
                let given = &grant.grant;
                if self.body.role != given.role
                    || self.body.site != given.site
                    || !self.body.capabilities.within(given.capabilities)
                {
                    return Err(Violation::Grant);
                }
                let message = wire::encode(&(&self.body, grant));
                verify(given.sponsor.as_bytes(), SPONSORED_DOMAIN, &message, &self.signature)?;
            }
        }
        Ok(VerifiedCertificate(self))
    }

    /// The same in the form that may stand inside a grant or suspension; nothing if it rests on
    /// another node's grant: what a node passes on goes one level deep.
    pub fn by_practice(&self) -> Option<PracticeCertificate> {
        let basis = match &self.issuer {
            Issuer::Practice => Basis::Practice,
            Issuer::Grant(grant) if grant.grantor == Grantor::Practice => {
                Basis::Grant { grant: Box::new(grant.grant.clone()), signature: grant.signature }
            }
            Issuer::Grant(_) => return None,
        };
        Some(PracticeCertificate { body: self.body.clone(), basis, signature: self.signature })
    }

    /// The node that it certifies.
    pub fn node(&self) -> NodeId {
        self.body.keys.entry
    }
}

/// A certificate whose every signature has been checked; made only by [`Certificate::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate(Certificate);

impl VerifiedCertificate {
    /// The certificate, to be sent or kept.
    pub fn into_certificate(self) -> Certificate {
        self.0
    }
}

impl Deref for VerifiedCertificate {
    type Target = Certificate;

    fn deref(&self) -> &Certificate {
        &self.0
    }
}

/// The last entry of a revoked node's log that still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cut {
    /// The channel.
    pub channel: Channel,
    /// The incarnation of the node.
    pub incarnation: Incarnation,
    /// The entry's sequence.
    pub sequence: u64,
    /// The entry's id.
    pub id: EntryId,
}

/// What a revocation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RevocationKind {
    /// For good; only the practice key may.
    Revoke,
    /// Until it is reinstated; a node with `admit` may too.
    Suspend,
    /// Ends a suspension.
    Reinstate,
}

/// What a revocation says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationBody {
    /// The practice.
    pub practice: PracticeId,
    /// The node concerned.
    pub node: NodeId,
    /// What it does.
    pub kind: RevocationKind,
    /// For each log of the node the last entry that counts; of a log not named, none does.
    pub cuts: Vec<Cut>,
    /// When it was said, by the issuer's clock.
    pub time_ms: u64,
}

/// Who signed a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RevocationIssuer {
    /// The practice key.
    Practice,
    /// The entry key of a node that may admit.
    Node(Box<PracticeCertificate>),
}

/// The statement that a node no longer belongs, or belongs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// What it says.
    pub body: RevocationBody,
    /// Who says so.
    pub issuer: RevocationIssuer,
    /// The issuer's signature.
    pub signature: SignatureBytes,
}

impl Revocation {
    /// Signs with the practice key.
    pub fn by_practice(
        body: RevocationBody,
        practice_key: &SigningKey,
    ) -> Result<VerifiedRevocation, Violation> {
        let practice = body.practice;
        let signature = sign(practice_key, REVOCATION_DOMAIN, &wire::encode(&body));
        Self { body, issuer: RevocationIssuer::Practice, signature }.verify(practice)
    }

    /// Signs a suspension, or its end, with the entry key of a node that may admit.
    pub fn by_node(
        body: RevocationBody,
        issuer: &Certificate,
        entry_key: &SigningKey,
    ) -> Result<VerifiedRevocation, Violation> {
        let practice = body.practice;
        let issuer = issuer.by_practice().ok_or(Violation::Authority)?;
        let signature = sign(entry_key, REVOCATION_DOMAIN, &wire::encode(&body));
        Self { body, issuer: RevocationIssuer::Node(Box::new(issuer)), signature }.verify(practice)
    }

    /// Checks who signed it, and that it was theirs to say.
    pub fn verify(self, practice: PracticeId) -> Result<VerifiedRevocation, Violation> {
        if self.body.practice != practice {
            return Err(Violation::Practice);
        }
        if self.body.cuts.len() > limit::CUTS_MAX {
            return Err(Violation::Encoding);
        }
        let key = match &self.issuer {
            RevocationIssuer::Practice => practice.as_bytes(),
            RevocationIssuer::Node(certificate) => {
                certificate.check(practice)?;
                if !certificate.body.capabilities.admit || self.body.kind == RevocationKind::Revoke
                {
                    return Err(Violation::Authority);
                }
                certificate.body.keys.entry.as_bytes()
            }
        };
        verify(key, REVOCATION_DOMAIN, &wire::encode(&self.body), &self.signature)?;
        Ok(VerifiedRevocation(self))
    }
}

/// A revocation whose signatures have been checked; made only by [`Revocation::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRevocation(Revocation);

impl VerifiedRevocation {
    /// The revocation, to be sent or kept.
    pub fn into_revocation(self) -> Revocation {
        self.0
    }
}

impl Deref for VerifiedRevocation {
    type Target = Revocation;

    fn deref(&self) -> &Revocation {
        &self.0
    }
}

/// Whether a text can be a site's name.
pub fn check_site(site: &str) -> Result<(), Violation> {
    let fits = !site.trim().is_empty() && site.len() <= limit::SITE_BYTES_MAX;
    if fits && !site.chars().any(char::is_control) { Ok(()) } else { Err(Violation::Site) }
}

fn check_body(body: &CertificateBody, practice: PracticeId) -> Result<(), Violation> {
    if body.practice != practice {
        return Err(Violation::Practice);
    }
    check_site(&body.site)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn practice() -> PracticeId {
        PracticeId(key(1).verifying_key().to_bytes())
    }

    fn body(seed: u8, admit: bool) -> CertificateBody {
        CertificateBody {
            practice: practice(),
            keys: NodeKeys {
                entry: NodeId(key(seed).verifying_key().to_bytes()),
                transport: TransportKey(key(seed + 100).verifying_key().to_bytes()),
                hpke: HpkeKey([seed; 32]),
            },
            role: Role::Clinic,
            capabilities: Capabilities { admit, restricted: true, audit: false },
            site: "Sédhiou".to_owned(),
            serial: [seed; 8],
            issued_ms: 1_000,
            expires_ms: 2_000,
        }
    }

    fn grant(sponsor: u8) -> Grant {
        Grant {
            practice: practice(),
            id: [9; 16],
            sponsor: NodeId(key(sponsor).verifying_key().to_bytes()),
            token_hash: token_hash(&[3; 32]),
            role: Role::Clinic,
            capabilities: Capabilities { restricted: true, ..Capabilities::default() },
            site: "Sédhiou".to_owned(),
            expires_ms: 5_000,
        }
    }

    #[test]
    fn a_practice_signed_certificate_verifies_for_its_practice_only() {
        let certificate = Certificate::issue(body(2, true), &key(1)).unwrap().into_certificate();
        assert!(certificate.clone().verify(practice()).is_ok());
        let other = PracticeId(key(7).verifying_key().to_bytes());
        assert_eq!(certificate.clone().verify(other), Err(Violation::Practice));
        let mut raised = certificate;
        raised.body.capabilities.audit = true;
        assert_eq!(raised.verify(practice()), Err(Violation::Signature));
        assert_eq!(Certificate::issue(body(2, true), &key(7)), Err(Violation::Signature));
    }

    #[test]
    fn a_sponsor_certifies_within_its_grant_only() {
        let sponsor = Certificate::issue(body(2, true), &key(1)).unwrap();
        for signed in [
            SignedGrant::by_practice(grant(2), &key(1)).unwrap(),
            SignedGrant::by_node(grant(2), &sponsor, &key(2)).unwrap(),
        ] {
            assert!(Certificate::sponsor(body(4, false), signed.clone(), &key(2)).is_ok());
            let result = Certificate::sponsor(body(4, true), signed.clone(), &key(2));
            assert_eq!(result, Err(Violation::Grant));
            let elsewhere = CertificateBody { site: "Bignona".to_owned(), ..body(4, false) };
            let result = Certificate::sponsor(elsewhere, signed.clone(), &key(2));
            assert_eq!(result, Err(Violation::Grant));
            let result = Certificate::sponsor(body(4, false), signed, &key(5));
            assert_eq!(result, Err(Violation::Signature));
        }
    }

    #[test]
    fn a_node_grants_only_with_admit_never_admit_and_never_at_second_hand() {
        let plain = Certificate::issue(body(2, false), &key(1)).unwrap();
        let result = SignedGrant::by_node(grant(2), &plain, &key(2));
        assert_eq!(result, Err(Violation::Authority));

        let admitting = Certificate::issue(body(2, true), &key(1)).unwrap();
        let mut with_admit = grant(2);
        with_admit.capabilities.admit = true;
        let result = SignedGrant::by_node(with_admit.clone(), &admitting, &key(2));
        assert_eq!(result, Err(Violation::Authority));
        let mut with_audit = grant(2);
        with_audit.capabilities.audit = true;
        let result = SignedGrant::by_node(with_audit, &admitting, &key(2));
        assert_eq!(result, Err(Violation::Authority));

        let by_practice = SignedGrant::by_practice(with_admit, &key(1)).unwrap();
        let sponsored = Certificate::sponsor(body(4, true), by_practice, &key(2)).unwrap();
        let second = SignedGrant::by_node(grant(4), &sponsored, &key(4)).unwrap();
        assert!(second.verify(practice()).is_ok(), "admit came from the practice key");

        let third = Certificate::sponsor(body(6, false), second, &key(4)).unwrap();
        let result = SignedGrant::by_node(grant(6), &third, &key(6));
        assert_eq!(result, Err(Violation::Authority), "at second hand");
        assert!(third.by_practice().is_none());
    }

    #[test]
    fn only_the_practice_key_revokes_for_good() {
        let issuer = Certificate::issue(body(2, true), &key(1)).unwrap();
        let said = |kind| RevocationBody {
            practice: practice(),
            node: NodeId([4; 32]),
            kind,
            cuts: Vec::new(),
            time_ms: 7,
        };
        assert!(Revocation::by_practice(said(RevocationKind::Revoke), &key(1)).is_ok());
        assert!(Revocation::by_node(said(RevocationKind::Suspend), &issuer, &key(2)).is_ok());
        assert_eq!(
            Revocation::by_node(said(RevocationKind::Revoke), &issuer, &key(2)),
            Err(Violation::Authority)
        );
        let plain = Certificate::issue(body(3, false), &key(1)).unwrap();
        assert_eq!(
            Revocation::by_node(said(RevocationKind::Suspend), &plain, &key(3)),
            Err(Violation::Authority)
        );
        let mut changed = Revocation::by_practice(said(RevocationKind::Suspend), &key(1))
            .unwrap()
            .into_revocation();
        changed.body.node = NodeId([5; 32]);
        assert_eq!(changed.verify(practice()), Err(Violation::Signature));
    }

    #[test]
    fn a_sites_name_is_short_plain_text() {
        assert_eq!(check_site("Kédougou · nord"), Ok(()));
        for site in ["", "  ", "a\nb", &"x".repeat(65)] {
            assert_eq!(check_site(site), Err(Violation::Site));
        }
    }
}
