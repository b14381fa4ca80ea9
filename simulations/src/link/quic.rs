//! One QUIC connection over the line, for what is measured beside the nodes: a single stream of
//! frames each way. Its settings are the nodes' own; only the listener has a key, and nothing is
//! proved with it, which saves the others the bytes of a second one.

use super::line::{Line, Traffic};
use super::profile::Shape;
use crate::local::{Outcome, node::now};
use carnet_node::sync::congestion::ShortQueue;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use quinn::rustls::crypto::ring;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use quinn::rustls::server::AlwaysResolvesServerRawPublicKeys;
use quinn::rustls::sign::CertifiedKey;
use quinn::rustls::version::TLS13;
use quinn::rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use quinn::{Endpoint, IdleTimeout, RecvStream, SendStream, TransportConfig, VarInt};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// DER of an Ed25519 PKCS #8 private key, whose seed is all zeros: it keeps no secret.
const KEY: [u8; 48] = {
    let prefix = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
    let mut key = [0; 48];
    let mut at = 0;
    while at < prefix.len() {
        key[at] = prefix[at];
        at += 1;
    }
    key
};

/// A conversation that takes longer is broken off: on a line that comes and goes it might not end.
pub const TALK_MAX: Duration = Duration::from_secs(600);

/// One end: frames in, frames out.
pub struct End {
    /// What is to be sent; never waits.
    pub outgoing: mpsc::UnboundedSender<Vec<u8>>,
    incoming: RecvStream,
}

impl End {
    fn new(mut sending: SendStream, incoming: RecvStream) -> Self {
        let (outgoing, mut frames) = mpsc::unbounded_channel::<Vec<u8>>();
        tokio::spawn(async move {
            while let Some(frame) = frames.recv().await {
                // Whoever reads has gone; the measurement is over.
                if sending.write_all(&length(frame.len())).await.is_err()
                    || sending.write_all(&frame).await.is_err()
                {
                    return;
                }
            }
        });
        Self { outgoing, incoming }
    }

    /// The next frame; none at the end.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut bytes = 0;
        for shift in (0..35).step_by(7) {
            let mut byte = [0];
            self.incoming.read_exact(&mut byte).await.ok()?;
            bytes |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut frame = vec![0; bytes];
        self.incoming.read_exact(&mut frame).await.ok()?;
        Some(frame)
    }
}

fn length(mut bytes: usize) -> Vec<u8> {
    let mut written = Vec::new();
    while bytes >= 0x80 {
        written.push(bytes as u8 | 0x80);
        bytes >>= 7;
    }
    written.push(bytes as u8);
    written
}

/// What a conversation took.
pub struct Talk {
    /// Until the line has fallen silent, or until it was broken off.
    pub traffic: Traffic,
    /// When both were done; none if they were not within [`TALK_MAX`].
    pub done: Option<Instant>,
}

/// Runs `talk` between the two ends (the called one, the caller) of a new connection over the
/// line. It says when both were done.
pub fn over<F>(line: &Line, shape: Shape, talk: impl FnOnce(End, End) -> F) -> Outcome<Talk>
where
    F: Future<Output = Outcome<Instant>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let called = Endpoint::server(server()?, SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let caller = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        line.lead_to(called.local_addr()?);
        line.begin(shape);
        let talking = converse(&called, &caller, line, talk);
        let done = tokio::time::timeout(TALK_MAX, talking).await.ok().transpose()?;
        if let Some(done) = done {
            let rest = Duration::from_millis(500) + shape.round_trip() * 4;
            while line.traffic().last.is_some_and(|last| last.elapsed() < rest)
                && done.elapsed() < rest * 4
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let traffic = line.traffic();
        caller.close(VarInt::from_u32(0), b"");
        called.close(VarInt::from_u32(0), b"");
        Ok(Talk { traffic, done })
    })
}

/// Connects the two, and lets them talk.
async fn converse<F>(
    called: &Endpoint,
    caller: &Endpoint,
    line: &Line,
    talk: impl FnOnce(End, End) -> F,
) -> Outcome<Instant>
where
    F: Future<Output = Outcome<Instant>>,
{
    let dialing = caller.connect_with(client()?, line.address, "carnet")?;
    let answering = async {
        let incoming = called.accept().await.ok_or("nobody calls")?;
        Ok::<_, Box<dyn std::error::Error>>(incoming.await?)
    };
    let (there, here) = tokio::join!(dialing, answering);
    let (there, here) = (there?, here?);
    let (sending, receiving) = there.open_bi().await?;
    let caller_end = End::new(sending, receiving);
    // The stream shows itself with its first frame, which says nothing.
    caller_end.outgoing.send(Vec::new())?;
    let (sending, receiving) = here.accept_bi().await?;
    let mut called_end = End::new(sending, receiving);
    called_end.receive().await.ok_or("the stream ended")?;
    talk(called_end, caller_end).await
}

/// Now, for those who tell when they were done.
pub fn moment() -> Instant {
    now()
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(IdleTimeout::try_from(Duration::from_secs(600)).ok())
        .initial_rtt(Duration::from_secs(1))
        .initial_mtu(1_200)
        .mtu_discovery_config(None)
        .allow_spin(false)
        .congestion_controller_factory(Arc::new(ShortQueue));
    Arc::new(transport)
}

fn server() -> Outcome<quinn::ServerConfig> {
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&KEY[..]))?;
    let public = key.public_key().ok_or("the key has no public half")?;
    let chain = vec![CertificateDer::from(public.to_vec())];
    let resolver = AlwaysResolvesServerRawPublicKeys::new(Arc::new(CertifiedKey::new(chain, key)));
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    tls.send_tls13_tickets = 0;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport());
    Ok(config)
}

fn client() -> Outcome<quinn::ClientConfig> {
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    tls.enable_sni = false;
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport());
    Ok(config)
}

/// Believes everybody: both ends are in this process.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
