//! The UDP sockets: dials a pinned peer, takes in whoever proves to hold a key.
//!
//! Dialing has a socket of its own on any free port, for both IP versions, so that a node reaches
//! every peer whatever address it listens on.

use super::congestion::ShortQueue;
use super::error::SyncError;
use super::schedule::Race;
use super::tls::{self, Identity, Purpose};
use crate::base::environment::Environment;
use crate::base::private::Private;
use carnet_sync_protocol::id::TransportKey;
use quinn::rustls::pki_types::CertificateDer;
use quinn::{ConnectionError, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The label under which both ends derive the bytes that bind HELLO to the handshake.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-carnet-link-v1";
/// A satellite line's round trip, with a margin; how long QUIC waits before it has measured one.
const RTT_INITIAL: Duration = Duration::from_secs(1);
/// A line may be away for this long before a link is given up.
const IDLE_MAX: Duration = Duration::from_secs(180);
/// Below the half minute after which many address translators forget a UDP flow.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Unread bytes of one stream: 1 MiB keeps 8 Mbit/s busy over a round trip of a second.
const STREAM_WINDOW: u32 = 1 << 20;
/// Unread bytes of one link.
const LINK_WINDOW: u32 = 4 << 20;
/// Unread bytes of one link whose other end is not accepted yet: HELLO fits several times.
const STRANGER_WINDOW: u32 = 256 << 10;
/// One data stream for each channel, and as many again while old ones end.
const DATA_STREAMS: u32 = 16;
/// What QUIC may hold for sending. It is shared by all streams, so it must never be full of less
/// urgent ones; a session's windows bound what is really in it.
const SEND_WINDOW: u64 = 64 << 20;
/// Datagrams are pings only, and never read.
const PINGS_BYTES: usize = 64;
/// The size that passes every path; probing for more costs datagrams that a thin line loses.
const DATAGRAM_BYTES: u16 = 1_200;
/// How long a peer may take to answer a dial, over all its addresses.
const DIAL_MAX: Duration = Duration::from_secs(30);
/// How long a handshake that somebody else began may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(20);
/// Handshakes under way that others began; more wait in the socket, or are refused.
const HANDSHAKES_MAX: usize = 64;
/// From this many on, a caller must first prove its address, at the cost of a round trip.
const HANDSHAKES_UNPROVEN_MAX: usize = 16;
/// What is to be said of who does not answer.
const SILENT: &str = "it does not answer; is it running, and is the line up?";
/// Addresses of one peer that are tried.
const ADDRESSES_MAX: usize = 8;

/// A finished handshake: both keys are proved.
pub(super) struct Secured {
    /// The connection.
    pub(super) connection: quinn::Connection,
    /// The key that the other end holds.
    pub(super) peer: TransportKey,
    /// Bytes that only the two ends of this handshake know.
    pub(super) exporter: [u8; 32],
    /// What the dialer wants.
    pub(super) purpose: Purpose,
    /// Whether this side dialed.
    pub(super) dialed: bool,
}

impl Secured {
    fn new(connection: quinn::Connection, dialed: bool) -> Result<Self, SyncError> {
        let lost = |what: &str| SyncError::Violation(format!("the handshake gave no {what}"));
        let peer = connection
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
            .and_then(|chain| chain.first().and_then(|key| tls::read_key(key).ok()))
            .ok_or_else(|| lost("key"))?;
        let purpose = connection
            .handshake_data()
            .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok())
            .and_then(|data| Purpose::from_alpn(&data.protocol?))
            .ok_or_else(|| lost("protocol"))?;
        let mut exporter = [0; 32];
        connection
            .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
            .map_err(|_| lost("exporter"))?;
        Ok(Self { connection, peer, exporter, purpose, dialed })
    }

    /// Gives an accepted peer room for what it sends.
    pub(super) fn welcome(connection: &quinn::Connection) {
        connection.set_receive_window(LINK_WINDOW.into());
    }
}

/// This node's sockets.
pub(super) struct Endpoint {
    identity: Identity,
    outgoing: quinn::Endpoint,
    incoming: Option<quinn::Endpoint>,
}

impl Endpoint {
    /// Opens a socket for dialing and, if asked for, one to listen on. Needs a tokio runtime.
    pub(super) fn open(
        environment: &Environment,
        seed: &Private<[u8; 32]>,
        listen: Option<SocketAddr>,
    ) -> Result<Self, SyncError> {
        let identity = Identity::new(seed)?;
        let any_v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
        let any_v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        // A machine without IPv6 has no such socket.
        let outgoing = quinn::Endpoint::client(any_v6)
            .or_else(|_| quinn::Endpoint::client(any_v4))
            .map_err(|error| SyncError::Socket(error.to_string()))?;
        let incoming = listen
            .map(|address| open_listener(environment, &identity, seed, address))
            .transpose()?;
        Ok(Self { identity, outgoing, incoming })
    }

    /// This node's transport key.
    pub(super) fn transport(&self) -> TransportKey {
        self.identity.transport()
    }

    /// Where this node listens.
    pub(super) fn listening(&self) -> Option<SocketAddr> {
        self.incoming.as_ref().and_then(|endpoint| endpoint.local_addr().ok())
    }

    /// Reaches `peer` at one of its addresses. While nobody answers, fresh handshakes are begun as
    /// `race` says; the first to finish wins.
    pub(super) async fn dial(
        &self,
        peer: TransportKey,
        addresses: &[String],
        purpose: Purpose,
        mut race: Race,
    ) -> Result<Secured, SyncError> {
        let addresses = resolve(addresses).await?;
        let mut failure = SyncError::Unreachable {
            address: addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            reason: SILENT.to_owned(),
        };
        let mut handshakes = JoinSet::new();
        let dialing = async {
            loop {
                let (index, wait_ms) = race.next(addresses.len());
                match self.handshake(peer, addresses[index], purpose) {
                    Ok(handshake) => drop(handshakes.spawn(handshake)),
                    Err(error) => failure = error,
                }
                let answers = first_secured(&mut handshakes, &mut failure);
                match timeout(Duration::from_millis(wait_ms), answers).await {
                    Ok(Some(secured)) => return Some(secured),
                    // Everybody has given an answer, and none is the right one.
                    Ok(None) if race.tried_all(addresses.len()) => return None,
                    _ => {}
                }
            }
        };
        let secured = timeout(DIAL_MAX, dialing).await;
        secured.ok().flatten().ok_or(failure)
    }

    /// Begins one handshake.
    fn handshake(
        &self,
        peer: TransportKey,
        address: SocketAddr,
        purpose: Purpose,
    ) -> Result<impl Future<Output = Result<Secured, SyncError>> + Send + use<>, SyncError> {
        let (crypto, wrong_key) = self.identity.client(peer, purpose)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport(LINK_WINDOW, DATA_STREAMS, 0)));
        let connecting = self
            .outgoing
            .connect_with(config, address, "carnet")
            .map_err(|error| unreachable_at(address, error.to_string()))?;
        Ok(async move {
            match connecting.await {
                Ok(connection) => Secured::new(connection, true),
                Err(_) if wrong_key.load(Ordering::Acquire) => Err(SyncError::WrongKey { address }),
                Err(error) => Err(unreachable_at(address, describe(&error))),
            }
        })
    }

    /// Takes in handshakes that others begin, until the endpoint is closed, and hands over those
    /// that finish. Does nothing on a node that does not listen.
    pub(super) async fn serve(&self, secured: mpsc::Sender<Secured>) {
        let Some(endpoint) = &self.incoming else { return };
        let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        while let Some(incoming) = endpoint.accept().await {
            let taken = HANDSHAKES_MAX - places.available_permits();
            if taken >= HANDSHAKES_UNPROVEN_MAX && incoming.may_retry() {
                // Fails only where `may_retry` is false.
                let _ = incoming.retry();
                continue;
            }
            let Ok(place) = places.clone().try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let secured = secured.clone();
            tokio::spawn(async move {
                let from = incoming.remote_address();
                match timeout(HANDSHAKE_MAX, incoming).await {
                    Ok(Ok(connection)) => {
                        drop(place);
                        match Secured::new(connection, false) {
                            // Refused only while the network shuts down.
                            Ok(link) => drop(secured.send(link).await),
                            Err(error) => tracing::debug!(%from, %error, "handshake unusable"),
                        }
                    }
                    Ok(Err(error)) => tracing::debug!(%from, %error, "handshake failed"),
                    Err(_) => tracing::debug!(%from, "handshake too slow"),
                }
            });
        }
    }

    /// Closes every connection and lets the last datagrams leave.
    pub(super) async fn close(&self, patience: Duration) {
        for endpoint in [Some(&self.outgoing), self.incoming.as_ref()].into_iter().flatten() {
            endpoint.close(VarInt::from_u32(0), b"the node is shutting down");
            // A peer that is away does not confirm; it will notice by itself.
            let _ = timeout(patience, endpoint.wait_idle()).await;
        }
    }
}

/// Waits for the first handshake that succeeds; nothing when all have failed. A wrong key is the
/// failure worth telling, whatever else happens.
async fn first_secured(
    handshakes: &mut JoinSet<Result<Secured, SyncError>>,
    failure: &mut SyncError,
) -> Option<Secured> {
    while let Some(joined) = handshakes.join_next().await {
        match joined {
            Ok(Ok(secured)) => return Some(secured),
            Ok(Err(error)) if !failure.is_refusal() => *failure = error,
            _ => {}
        }
    }
    None
}

fn unreachable_at(address: SocketAddr, reason: String) -> SyncError {
    SyncError::Unreachable { address: address.to_string(), reason }
}

/// What ended a connection, in words.
pub(super) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::TimedOut => SILENT.into(),
        ConnectionError::Reset => "it was restarted".into(),
        ConnectionError::ApplicationClosed(close) => String::from_utf8_lossy(&close.reason)
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect(),
        other => other.to_string(),
    }
}

/// The addresses of a peer, in the order in which they are written.
async fn resolve(addresses: &[String]) -> Result<Vec<SocketAddr>, SyncError> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if let Ok(resolved) = tokio::net::lookup_host(address.as_str()).await {
            for address in resolved {
                if !found.contains(&address) && found.len() < ADDRESSES_MAX {
                    found.push(address);
                }
            }
        }
    }
    match (found.is_empty(), addresses.is_empty()) {
        (false, _) => Ok(found),
        (true, true) => Err(SyncError::NoAddress),
        (true, false) => Err(SyncError::Resolve(addresses.join(", "))),
    }
}

fn open_listener(
    environment: &Environment,
    identity: &Identity,
    seed: &Private<[u8; 32]>,
    address: SocketAddr,
) -> Result<quinn::Endpoint, SyncError> {
    let fail = |error: std::io::Error| SyncError::Listen { address, reason: error.to_string() };
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(identity.server()?));
    config
        .transport_config(Arc::new(transport(STRANGER_WINDOW, DATA_STREAMS, 1)))
        .max_incoming(HANDSHAKES_MAX * 2)
        .incoming_buffer_size(32 << 10)
        .incoming_buffer_size_total(2 << 20);
    let mut local = EndpointConfig::new(Arc::new(ResetKey::derive(seed)));
    let environment = environment.clone();
    local.cid_generator(move || Box::new(RandomIds(environment.clone())));
    let socket = std::net::UdpSocket::bind(address).map_err(fail)?;
    quinn::Endpoint::new(local, Some(config), socket, Arc::new(quinn::TokioRuntime)).map_err(fail)
}

/// How QUIC behaves on thin, long, lossy lines, and what a peer may make this side hold.
fn transport(link_window: u32, data_streams: u32, control_streams: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(IdleTimeout::try_from(IDLE_MAX).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(RTT_INITIAL)
        .initial_mtu(DATAGRAM_BYTES)
        .mtu_discovery_config(None)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(link_window.into())
        .max_concurrent_uni_streams(data_streams.into())
        .max_concurrent_bidi_streams(control_streams.into())
        .datagram_receive_buffer_size(Some(PINGS_BYTES))
        .send_window(SEND_WINDOW)
        .allow_spin(false)
        .congestion_controller_factory(Arc::new(ShortQueue));
    transport
}

/// Signs the resets by which a restarted node tells its peers that it knows their link no more.
/// Derived from the transport key, so that it is the same after the restart.
struct ResetKey([u8; 32]);

impl ResetKey {
    fn derive(seed: &Private<[u8; 32]>) -> Self {
        Self(blake3::derive_key("carnet 2026 stateless reset key v1", seed.expose()))
    }
}

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let signature =
            blake3::Hash::from_slice(signature).map_err(|_| quinn::crypto::CryptoError)?;
        // `Hash` compares in constant time.
        let same = blake3::keyed_hash(&self.0, data) == signature;
        if same { Ok(()) } else { Err(quinn::crypto::CryptoError) }
    }
}

/// Names connections by chance alone. (Quinn's own ids are keyed anew at each start, so that a
/// restarted node would ignore what its peers still send, where it should reset them.)
struct RandomIds(Environment);

impl quinn::ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        quinn::ConnectionId::new(&self.0.random::<8>())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::schedule::Chance;
    use tokio::time::Instant;

    fn open(seed: u8, listen: Option<&str>) -> Endpoint {
        let (environment, _) = Environment::seeded(u64::from(seed), 0);
        let listen = listen.map(|address| address.parse().unwrap());
        Endpoint::open(&environment, &Private::new([seed; 32]), listen).unwrap()
    }

    fn race() -> Race {
        Race::new(Chance::new([0; 32]))
    }

    async fn accept_one(listener: Arc<Endpoint>) -> Secured {
        let (sender, mut secured) = mpsc::channel(1);
        tokio::spawn(async move { listener.serve(sender).await });
        secured.recv().await.expect("a handshake finishes")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn both_ends_prove_their_keys_over_both_ip_versions() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = Arc::new(open(1, Some(address)));
            let dialer = open(2, None);
            let to = [listener.listening().unwrap().to_string()];
            let began = Instant::now();
            let (dialed, accepted) = tokio::join!(
                dialer.dial(listener.transport(), &to, Purpose::Join, race()),
                accept_one(listener.clone())
            );
            let dialed = dialed.unwrap();
            assert!(began.elapsed() < Duration::from_secs(1), "a near peer is reached at once");
            assert_eq!((dialed.peer, accepted.peer), (listener.transport(), dialer.transport()));
            assert_eq!(dialed.exporter, accepted.exporter);
            assert_ne!(dialed.exporter, [0; 32]);
            assert_eq!((dialed.purpose, accepted.purpose), (Purpose::Join, Purpose::Join));
            assert!(dialed.dialed && !accepted.dialed);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn another_key_than_the_pinned_one_is_told_apart_from_silence() {
        let listener = Arc::new(open(1, Some("127.0.0.1:0")));
        let address = listener.listening().unwrap();
        let serving = listener.clone();
        let (sender, _secured) = mpsc::channel(1);
        tokio::spawn(async move { serving.serve(sender).await });
        let dialer = open(2, None);
        let dialed = dialer
            .dial(TransportKey([9; 32]), &[address.to_string()], Purpose::Session, race())
            .await;
        assert_eq!(dialed.err(), Some(SyncError::WrongKey { address }));
        let none = dialer.dial(TransportKey([9; 32]), &[], Purpose::Session, race()).await;
        assert_eq!(none.err(), Some(SyncError::NoAddress));
        let name = ["not an address".to_owned()];
        let unnamed = dialer.dial(TransportKey([9; 32]), &name, Purpose::Session, race()).await;
        assert!(matches!(unnamed.err(), Some(SyncError::Resolve(_))));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_handshake_that_began_while_the_line_was_down_does_not_delay_the_link() {
        // Nobody listens yet: the first handshakes go unanswered.
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap().to_string();
        let transport = open(1, None).transport();
        let dialer = open(2, None);
        let began = Instant::now();
        let to = [address.clone()];
        let dialing = dialer.dial(transport, &to, Purpose::Session, race());
        let appear = async {
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            drop(port);
            accept_one(Arc::new(open(1, Some(&address)))).await
        };
        let (dialed, accepted) = tokio::join!(dialing, appear);
        assert_eq!(accepted.peer, dialer.transport());
        assert_eq!(dialed.unwrap().peer, transport);
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_restarted_node_resets_the_links_of_its_former_life() {
        let life = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let first = life.spawn(async { Arc::new(open(1, Some("127.0.0.1:0"))) }).await.unwrap();
        let address = first.listening().unwrap();
        let dialer = open(2, None);
        let to = [address.to_string()];
        let (dialed, accepted) = tokio::join!(
            dialer.dial(first.transport(), &to, Purpose::Session, race()),
            life.spawn(accept_one(first.clone()))
        );
        let link = dialed.unwrap().connection;
        // A crash: whoever could say good-bye is gone.
        life.shutdown_background();
        drop((first, accepted));
        let busy = || std::net::UdpSocket::bind(address).is_err();
        while busy() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _restarted = open(1, Some(&address.to_string()));
        let mut stream = link.open_uni().await;
        while let Ok(open) = &mut stream {
            if open.write_all(&[0; 2_000]).await.is_err() {
                break;
            }
            stream = timeout(Duration::from_millis(200), link.open_uni())
                .await
                .unwrap_or(Err(ConnectionError::TimedOut));
        }
        let end = timeout(Duration::from_secs(10), link.closed()).await.expect("it is told");
        assert!(matches!(end, ConnectionError::Reset | ConnectionError::ApplicationClosed(_)));
    }
}
