//! How a node joins: an invitation that pins its inviter, or a request and an answer on a stick.
//!
//! An invitation is a text with a secret token; the grant that the inviter keeps holds only the
//! token's hash, and is used once. Without a link the new node writes a *request*, which somebody
//! carries to a node that may admit; whoever approves it compares its fingerprint with the new
//! node's by voice, since nothing else ties the file to the place. The *answer* is for that node's
//! keys alone and carries control runs, so that the keys of the practice come with it.

use super::text::{self, TextError};
use crate::base::private::Private;
use carnet_sync_protocol::SigningKey;
use carnet_sync_protocol::certificate::{Certificate, NodeKeys, VerifiedCertificate, check_site};
use carnet_sync_protocol::entry::{SignatureBytes, sign, verify};
use carnet_sync_protocol::id::{PracticeId, TransportKey};
use carnet_sync_protocol::limit::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};
use carnet_sync_protocol::message::PeerAddress;
use carnet_sync_protocol::wire;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const INVITATION_PREFIX: &str = "carnet-invite-1-";
const REQUEST_PREFIX: &str = "carnet-request-1-";
const ANSWER_PREFIX: &str = "carnet-answer-1-";
const REQUEST_DOMAIN: &str = "carnet enrolment request v1";

/// Addresses in an invitation; it has to fit a QR code.
pub const INVITATION_ADDRESSES_MAX: usize = 8;

/// 145 bytes of ids and 8 addresses.
const INVITATION_BYTES_MAX: usize = 256 + INVITATION_ADDRESSES_MAX * ADDRESS_BYTES_MAX;

/// Three keys, a site and a signature.
const REQUEST_BYTES_MAX: usize = 512;

/// A certificate, peers, and the control log of a practice, which is mostly a few hundred
/// statements; what does not fit is synced later.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Runs in an answer: with those of a hundred bytes it is as long as it may be.
const ANSWER_RUNS_MAX: usize = 1 << 16;

/// Why an invitation, a request or an answer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentError {
    /// It can't be read.
    #[error("the {0} cannot be used: {1}")]
    Text(&'static str, TextError),
    /// It can be read, and makes no sense.
    #[error("the {0} cannot be used: it was made by another version, or altered")]
    Malformed(&'static str),
    /// The request was not signed by the node that it names.
    #[error("the request was not made by the node that it names")]
    Forged,
    /// The answer is for another node.
    #[error("the answer is for another node: its certificate does not name this node's keys")]
    OtherNode,
    /// The answer's certificate does not lead to its practice.
    #[error("the answer's certificate is not signed by its practice")]
    Certificate,
}

/// What an administrator gives to whom sets up a new node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The practice.
    pub practice: PracticeId,
    /// The only node that may answer.
    pub inviter: TransportKey,
    /// Where the inviter can be called: host and port.
    pub addresses: Vec<String>,
    /// The grant that it stands for.
    pub grant: [u8; 16],
    /// Shows that one holds the invitation.
    pub token: Private<[u8; 32]>,
    /// After this it is refused, by the inviter's clock.
    pub expires_ms: u64,
}

type InvitationParts = (PracticeId, TransportKey, Vec<String>, [u8; 16], [u8; 32], u64);

impl Invitation {
    /// The text; whoever has it can join, so it is private until it is used.
    pub fn to_text(&self) -> String {
        let parts: InvitationParts = (
            self.practice,
            self.inviter,
            self.addresses.clone(),
            self.grant,
            *self.token.expose(),
            self.expires_ms,
        );
        text::to_text(INVITATION_PREFIX, &wire::encode(&parts))
    }
}

impl FromStr for Invitation {
    type Err = EnrolmentError;

    fn from_str(given: &str) -> Result<Self, EnrolmentError> {
        const WHAT: &str = "invitation";
        let parts: InvitationParts = read(WHAT, INVITATION_PREFIX, given, INVITATION_BYTES_MAX)?;
        let (practice, inviter, addresses, grant, token, expires_ms) = parts;
        if !are_addresses(&addresses, INVITATION_ADDRESSES_MAX) {
            return Err(EnrolmentError::Malformed(WHAT));
        }
        let token = Private::new(token);
        Ok(Self { practice, inviter, addresses, grant, token, expires_ms })
    }
}

/// A new node's wish to join, as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentRequest {
    /// The new node's keys.
    pub keys: NodeKeys,
    /// Where it stands, as its people call the place.
    pub site: String,
    /// When it was made, by the new node's clock.
    pub created_ms: u64,
    signature: SignatureBytes,
}

impl EnrolmentRequest {
    /// Signs a request with the new node's entry key.
    pub fn new(keys: NodeKeys, site: String, created_ms: u64, entry: &SigningKey) -> Self {
        let message = wire::encode(&(&keys, &site, created_ms));
        let signature = sign(entry, REQUEST_DOMAIN, &message);
        Self { keys, site, created_ms, signature }
    }

    /// The file's content.
    pub fn to_text(&self) -> String {
        text::to_text(REQUEST_PREFIX, &wire::encode(self))
    }

    /// The request in a file, which the node that it names has signed.
    pub fn from_text(given: &str) -> Result<Self, EnrolmentError> {
        const WHAT: &str = "request";
        let request: Self = read(WHAT, REQUEST_PREFIX, given, REQUEST_BYTES_MAX)?;
        let message = wire::encode(&(&request.keys, &request.site, request.created_ms));
        verify(request.keys.entry.as_bytes(), REQUEST_DOMAIN, &message, &request.signature)
            .map_err(|_| EnrolmentError::Forged)?;
        check_site(&request.site).map_err(|_| EnrolmentError::Malformed(WHAT))?;
        Ok(request)
    }

    /// See [`fingerprint`].
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.keys)
    }
}

/// What a node that may admit answers to a request, as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentAnswer {
    /// The new node's certificate.
    pub certificate: Certificate,
    /// What people call the practice; for display, before its own statement is known.
    pub practice_name: String,
    /// Whom the new node may call.
    #[serde(deserialize_with = "wire::at_most::<_, _, ADDRESSES_MAX>")]
    pub peers: Vec<PeerAddress>,
    /// Control runs, in the form of `Run::to_bytes`; checked when they are received.
    #[serde(deserialize_with = "wire::at_most::<_, _, ANSWER_RUNS_MAX>")]
    pub runs: Vec<Vec<u8>>,
}

impl EnrolmentAnswer {
    /// The file's content.
    pub fn to_text(&self) -> String {
        text::to_text(ANSWER_PREFIX, &wire::encode(self))
    }

    /// The answer in a file, and the certificate in it if it is for the node with these keys.
    pub fn from_text(
        given: &str,
        keys: &NodeKeys,
    ) -> Result<(Self, VerifiedCertificate), EnrolmentError> {
        const WHAT: &str = "answer";
        let answer: Self = read(WHAT, ANSWER_PREFIX, given, ANSWER_BYTES_MAX)?;
        let count: usize = answer.peers.iter().map(|peer| peer.addresses.len()).sum();
        let sound = answer.peers.iter().all(|peer| {
            check_site(&peer.site).is_ok() && are_addresses(&peer.addresses, ADDRESSES_MAX)
        });
        if !sound || count > ADDRESSES_MAX || answer.peers.len() > ADDRESSES_MAX {
            return Err(EnrolmentError::Malformed(WHAT));
        }
        if answer.certificate.body.keys != *keys {
            return Err(EnrolmentError::OtherNode);
        }
        let practice = answer.certificate.body.practice;
        let certificate = answer.certificate.clone().verify(practice);
        let certificate = certificate.map_err(|_| EnrolmentError::Certificate)?;
        Ok((answer, certificate))
    }
}

/// Twenty digits that two people compare by voice: 66 bits, far more than anybody can search for
/// keys that look alike while the two are on the telephone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fingerprint of a node's three keys.
pub fn fingerprint(keys: &NodeKeys) -> Fingerprint {
    let hash = blake3::derive_key("carnet 2026 node fingerprint v1", &wire::encode(keys));
    let groups: Vec<String> = hash
        .chunks_exact(4)
        .take(5)
        .map(|chunk| {
            let number = chunk.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
            format!("{:04}", number % 10_000)
        })
        .collect();
    Fingerprint(groups.join(" "))
}

fn read<T: Serialize + serde::de::DeserializeOwned>(
    what: &'static str,
    prefix: &'static str,
    given: &str,
    bytes_max: usize,
) -> Result<T, EnrolmentError> {
    let bytes = text::from_text(prefix, given, bytes_max)
        .map_err(|error| EnrolmentError::Text(what, error))?;
    wire::decode(&bytes).map_err(|_| EnrolmentError::Malformed(what))
}

fn are_addresses(addresses: &[String], count_max: usize) -> bool {
    let is_address = |address: &String| {
        (1..=ADDRESS_BYTES_MAX).contains(&address.len()) && !address.chars().any(char::is_control)
    };
    addresses.len() <= count_max && addresses.iter().all(is_address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::environment::Environment;
    use crate::identity::{PracticeKey, SigningSecret};
    use carnet_sync_protocol::certificate::{Capabilities, CertificateBody, Role};
    use carnet_sync_protocol::id::{HpkeKey, NodeId};

    fn invitation() -> Invitation {
        Invitation {
            practice: PracticeId([1; 32]),
            inviter: TransportKey([2; 32]),
            addresses: vec!["clinic.example:4710".to_owned(), "[::1]:4710".to_owned()],
            grant: [3; 16],
            token: Private::new([4; 32]),
            expires_ms: 1_800_000_000_000,
        }
    }

    fn request() -> (EnrolmentRequest, SigningSecret) {
        let (environment, _) = Environment::seeded(1, 0);
        let entry = SigningSecret::generate(&environment);
        let keys = NodeKeys {
            entry: NodeId(entry.public()),
            transport: TransportKey([5; 32]),
            hpke: HpkeKey([6; 32]),
        };
        (EnrolmentRequest::new(keys, "Sédhiou".to_owned(), 7, entry.key()), entry)
    }

    #[test]
    fn an_invitation_is_read_as_it_was_written_and_shows_no_token() {
        let invitation = invitation();
        let text = invitation.to_text();
        assert!(text.starts_with("carnet-invite-1-") && text.len() < 320);
        assert_eq!(text.parse::<Invitation>().unwrap(), invitation);
        assert!(!format!("{invitation:?}").contains("4, 4, 4"));
    }

    #[test]
    fn an_invitation_that_was_cut_altered_or_made_up_is_refused() {
        let text = invitation().to_text();
        let refused = |text: &str| text.parse::<Invitation>().unwrap_err();
        let damaged = EnrolmentError::Text("invitation", TextError::Damaged);
        assert_eq!(refused(&text[..text.len() - 5]), damaged);
        let prefix = EnrolmentError::Text("invitation", TextError::Prefix(INVITATION_PREFIX));
        assert_eq!(refused("hello"), prefix);
        let short = text::to_text(INVITATION_PREFIX, &[1, 2, 3]);
        assert_eq!(refused(&short), EnrolmentError::Malformed("invitation"));
        let mut odd = invitation();
        odd.addresses = vec!["a\nb".to_owned()];
        assert_eq!(refused(&odd.to_text()), EnrolmentError::Malformed("invitation"));
        odd.addresses = vec!["a:1".to_owned(); 9];
        assert_eq!(refused(&odd.to_text()), EnrolmentError::Malformed("invitation"));
    }

    #[test]
    fn a_request_is_signed_by_the_node_that_it_names() {
        let (request, _) = request();
        assert_eq!(EnrolmentRequest::from_text(&request.to_text()).unwrap(), request);
        for alter in [
            (|r| r.keys.hpke.0[0] ^= 1) as fn(&mut EnrolmentRequest),
            |r| r.keys.entry.0[0] ^= 1,
            |r| r.site.push('x'),
            |r| r.created_ms += 1,
        ] {
            let mut altered = request.clone();
            alter(&mut altered);
            let refused = EnrolmentRequest::from_text(&altered.to_text());
            assert_eq!(refused, Err(EnrolmentError::Forged));
        }
        let mut other = request.keys;
        other.transport.0[0] ^= 1;
        assert_ne!(fingerprint(&other), request.fingerprint());
        assert_eq!(request.fingerprint().to_string().len(), 24);
    }

    #[test]
    fn an_answer_is_for_the_keys_of_the_request_only() {
        let (request, _) = request();
        let practice = PracticeKey::generate(&Environment::seeded(2, 0).0);
        let body = CertificateBody {
            practice: practice.id(),
            keys: request.keys,
            role: Role::Clinic,
            capabilities: Capabilities::default(),
            site: request.site.clone(),
            serial: [0; 8],
            issued_ms: 8,
            expires_ms: 9,
        };
        let certificate = Certificate::issue(body, practice.key()).unwrap().into_certificate();
        let peers = vec![PeerAddress {
            transport: TransportKey([2; 32]),
            site: "Ziguinchor".to_owned(),
            addresses: vec!["10.0.0.1:4710".to_owned()],
        }];
        let practice_name = "Casamance".to_owned();
        let answer =
            EnrolmentAnswer { certificate, practice_name, peers, runs: vec![vec![1, 2, 3]] };
        let (read, verified) =
            EnrolmentAnswer::from_text(&answer.to_text(), &request.keys).unwrap();
        assert_eq!((&read, verified.body.practice), (&answer, practice.id()));
        let mut other = request.keys;
        other.hpke.0[0] ^= 1;
        let refused = EnrolmentAnswer::from_text(&answer.to_text(), &other);
        assert_eq!(refused.unwrap_err(), EnrolmentError::OtherNode);
        let mut forged = answer;
        forged.certificate.body.capabilities.admit = true;
        let refused = EnrolmentAnswer::from_text(&forged.to_text(), &request.keys);
        assert_eq!(refused.unwrap_err(), EnrolmentError::Certificate);
    }
}
