//! TLS 1.3 with raw Ed25519 public keys (RFC 7250) on both sides, and nothing else.
//!
//! There are no certificates, names or authorities at this level. A dialer pins the one key that
//! may answer. A listener lets every key finish the handshake and learns which one it was; the
//! session decides about it. Nothing is resumed and nothing is sent before the handshake is done,
//! so that each link proves both keys afresh.

use super::error::SyncError;
use crate::base::private::Private;
use carnet_sync_protocol::id::TransportKey;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use quinn::rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use quinn::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use quinn::rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use quinn::rustls::server::AlwaysResolvesServerRawPublicKeys;
use quinn::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use quinn::rustls::sign::CertifiedKey;
use quinn::rustls::version::TLS13;
use quinn::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureScheme,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

/// What a link is for; each purpose has its own ALPN name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A sync session between two certified nodes.
    Session,
    /// A newcomer asks for its certificate.
    Join,
}

impl Purpose {
    const ALL: [Self; 2] = [Self::Session, Self::Join];

    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Session => b"carnet/1",
            Self::Join => b"carnet-join/1",
        }
    }

    /// The purpose with this ALPN name.
    pub(super) fn from_alpn(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.alpn() == name)
    }
}

/// DER of an Ed25519 SubjectPublicKeyInfo up to the 32 bytes of the key (RFC 8410).
const PUBLIC_KEY_PREFIX: [u8; 12] = [48, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0];
/// DER of an Ed25519 PKCS #8 private key up to the 32 bytes of the seed (RFC 8410).
const PRIVATE_KEY_PREFIX: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];

/// This node's transport key, ready for TLS.
#[derive(Clone)]
pub(super) struct Identity {
    key: Arc<CertifiedKey>,
    transport: TransportKey,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    /// Takes the 32 secret bytes of an Ed25519 key.
    pub(super) fn new(seed: &Private<[u8; 32]>) -> Result<Self, SyncError> {
        let fail = |error: Error| SyncError::Key(error.to_string());
        let mut der = Zeroizing::new(PRIVATE_KEY_PREFIX.to_vec());
        der.extend_from_slice(seed.expose());
        let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&der[..])).map_err(fail)?;
        let public =
            key.public_key().ok_or_else(|| SyncError::Key("it has no public half".into()))?;
        let transport =
            read_key(&public).map_err(|_| SyncError::Key("its public half is malformed".into()))?;
        let chain = vec![CertificateDer::from(public.to_vec())];
        Ok(Self {
            key: Arc::new(CertifiedKey::new(chain, key)),
            transport,
            provider: Arc::new(ring::default_provider()),
        })
    }

    /// The public half.
    pub(super) fn transport(&self) -> TransportKey {
        self.transport
    }

    /// The configuration of a dial to `peer`, and the flag that tells afterwards whether the one
    /// who answered held another key.
    pub(super) fn client(
        &self,
        peer: TransportKey,
        purpose: Purpose,
    ) -> Result<(QuicClientConfig, Arc<AtomicBool>), SyncError> {
        let wrong_key = Arc::new(AtomicBool::new(false));
        let verifier = PinnedKey {
            expected: peer,
            wrong_key: wrong_key.clone(),
            provider: self.provider.clone(),
        };
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| SyncError::Key(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                self.key.clone(),
            )));
        config.alpn_protocols = vec![purpose.alpn().to_vec()];
        config.enable_sni = false;
        // A resumed connection would skip the proof of the key.
        config.resumption = Resumption::disabled();
        let config = QuicClientConfig::try_from(config)
            .map_err(|error| SyncError::Key(error.to_string()))?;
        Ok((config, wrong_key))
    }

    /// The configuration of the listening side.
    pub(super) fn server(&self) -> Result<QuicServerConfig, SyncError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| SyncError::Key(error.to_string()))?
            .with_client_cert_verifier(Arc::new(AnyKey { provider: self.provider.clone() }))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = Purpose::ALL.map(|purpose| purpose.alpn().to_vec()).to_vec();
        config.send_tls13_tickets = 0;
        QuicServerConfig::try_from(config).map_err(|error| SyncError::Key(error.to_string()))
    }
}

/// Reads the key that the other side proved to hold out of what TLS calls its certificate.
pub(super) fn read_key(certificate: &[u8]) -> Result<TransportKey, Error> {
    certificate
        .strip_prefix(&PUBLIC_KEY_PREFIX)
        .and_then(|key| key.try_into().ok())
        .map(TransportKey)
        .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn verify_signature(
    provider: &CryptoProvider,
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(
        message,
        &SubjectPublicKeyInfoDer::from(key.as_ref()),
        signature,
        &provider.signature_verification_algorithms,
    )
}

fn refuse_tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
}

/// Accepts one key only.
#[derive(Debug)]
struct PinnedKey {
    expected: TransportKey,
    wrong_key: Arc<AtomicBool>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if read_key(key)? == self.expected && intermediates.is_empty() {
            return Ok(ServerCertVerified::assertion());
        }
        self.wrong_key.store(true, Ordering::Release);
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts every well-formed key whose owner proves to hold it.
#[derive(Debug)]
struct AnyKey {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        read_key(key).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
