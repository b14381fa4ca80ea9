//! The Carnet sync protocol without IO: ids, entries, signatures and opaque payload bytes.
//!
//! Two nodes of a practice hold append-only logs of signed entries ([`entry`], [`run`]). A
//! [`Session`](session::Session) at each end of a link finds out what each side lacks
//! ([`frontier`]), moves it, and ends with a [`receipt`] that both sign. Who may take part follows
//! from [`certificate`]s, which lead to the practice's key by themselves. `docs/protocol.md` has
//! the bytes.
//!
//! Absent on purpose: tokio, quinn, SQLite, Automerge, a clock, randomness, and any meaning of a
//! payload. Time comes in as a number, chance not at all; storage is something that a session asks
//! for and is answered.
//!
//! # The contract
//!
//! - One input at a time: [`Session::handle`](session::Session::handle), then
//!   [`Session::poll`](session::Session::poll) until it returns
//!   [`Output::Wait`](session::Output::Wait). Only then the next input.
//! - Each question ([`Output::Load`](session::Output::Load), `FindKnown`, `FindWaypoints`, `Store`,
//!   `Identify`, `KeepReceipt`) is answered once, at any time and in any order.
//! - `Stored` and `ReceiptKept` mean *durable*. The session tells the other side so.
//! - A peer's bytes never panic. They end the session with a
//!   [`Violation`](error::Violation), and nothing that came with them is handed on to be stored.
//! - A panic is a bug of this crate, or of an author who signs a broken chain.
//!
//! # Two nodes
//!
//! ```
//! use carnet_sync_protocol::SigningKey;
//! use carnet_sync_protocol::certificate::*;
//! use carnet_sync_protocol::entry::*;
//! use carnet_sync_protocol::frontier::Frontier;
//! use carnet_sync_protocol::id::*;
//! use carnet_sync_protocol::session::*;
//! use std::collections::VecDeque;
//!
//! let practice_key = SigningKey::from_bytes(&[1; 32]);
//! let practice = PracticeId(practice_key.verifying_key().to_bytes());
//!
//! // A node: three keys, a certificate, and here a ledger of one run at most.
//! let node = |seed: u8, runs: Vec<VerifiedRun>| {
//!     let (entry, transport) =
//!         (SigningKey::from_bytes(&[seed; 32]), SigningKey::from_bytes(&[seed + 100; 32]));
//!     let body = CertificateBody {
//!         practice,
//!         keys: NodeKeys {
//!             entry: NodeId(entry.verifying_key().to_bytes()),
//!             transport: TransportKey(transport.verifying_key().to_bytes()),
//!             hpke: HpkeKey([seed; 32]),
//!         },
//!         role: Role::Clinic,
//!         capabilities: Capabilities::default(),
//!         site: format!("Site {seed}"),
//!         serial: [seed; 8],
//!         issued_ms: 0,
//!         expires_ms: u64::MAX,
//!     };
//!     let certificate = Certificate::issue(body, &practice_key).unwrap().into_certificate();
//!     (transport, certificate, runs)
//! };
//!
//! // The first node has written one entry, about which this crate knows nothing but its header.
//! let key = SigningKey::from_bytes(&[2; 32]);
//! let author =
//!     Author { node: NodeId(key.verifying_key().to_bytes()), incarnation: Incarnation([0; 8]) };
//! let payload = b"sealed".to_vec();
//! let header = Header {
//!     practice,
//!     log: LogId { channel: Channel::Critical, author },
//!     sequence: 1,
//!     previous: EntryId::ZERO,
//!     document: DocumentId([7; 16]),
//!     epoch: EpochId::ZERO,
//!     codec: Codec(16),
//!     nonce: [0; 24],
//!     time: HybridTime::from_unix_ms(1_700_000_000_000),
//!     payload_length: payload.len() as u32,
//!     payload_hash: *blake3::hash(&payload).as_bytes(),
//! };
//! let run = VerifiedRun::written(vec![Entry { id: header.id(), header, payload }], &key);
//! let mut nodes = [node(2, vec![run]), node(3, Vec::new())];
//!
//! let mut sessions = [Side::Dialer, Side::Listener].map(|side| {
//!     let (transport, certificate, runs) = &nodes[side as usize];
//!     let mut frontier = Frontier::default();
//!     for run in runs {
//!         frontier.set(run.log(), vec![run.head()]);
//!     }
//!     Session::new(Config {
//!         practice,
//!         side,
//!         certificate: certificate.clone(),
//!         transport_key: transport.clone(),
//!         peer: None,
//!         codecs: vec![Codec(16)],
//!         channels: Channel::ALL.to_vec(),
//!         frontier,
//!         last_receipt: None,
//!     })
//! });
//!
//! // The link: what one end sends is the other's input. TLS has told each the other's key.
//! let mut inputs = VecDeque::new();
//! for end in [1, 0] {
//!     let peer = nodes[1 - end].1.body.keys.transport;
//!     inputs.push_back((end, Input::Connected { exporter: [9; 32], peer }));
//! }
//! let mut receipts = 0;
//! while let Some((end, input)) = inputs.pop_front() {
//!     sessions[end].handle(1_700_000_000_000, input);
//!     loop {
//!         let answer = match sessions[end].poll() {
//!             Output::Send { lane, frame } => {
//!                 inputs.push_back((1 - end, Input::Received { lane, frame }));
//!                 continue;
//!             }
//!             Output::Identify(_) => Input::PeerKnown(PeerVerdict::Accepted { last_receipt: None }),
//!             Output::Load { request, .. } => {
//!                 let runs = nodes[end].2.iter().map(|run| run.clone().into_run().into()).collect();
//!                 Input::Loaded { request, runs }
//!             }
//!             Output::Store { request, runs } => {
//!                 let heads = runs.iter().map(|run| (run.log(), vec![run.head()])).collect();
//!                 nodes[end].2.extend(runs);
//!                 Input::Stored { request, heads, refused: Vec::new() }
//!             }
//!             Output::KeepReceipt(receipt) => {
//!                 receipt.receipt.verify(practice).unwrap();
//!                 receipts += 1;
//!                 Input::ReceiptKept
//!             }
//!             Output::Event(_) => continue,
//!             Output::Wait(_) => break,
//!             other => panic!("not in this example: {other:?}"),
//!         };
//!         inputs.push_back((end, answer));
//!     }
//! }
//! assert_eq!(nodes[0].2, nodes[1].2);
//! assert!(sessions.iter().all(Session::in_sync));
//! assert_eq!(receipts, 2);
//! ```

pub mod certificate;
pub mod entry;
pub mod error;
pub mod frontier;
pub mod id;
pub mod joint;
pub mod limit;
pub mod message;
#[cfg(planted)]
pub mod planted;
pub mod receipt;
pub mod run;
pub mod session;
mod transfer;
mod vectors;
pub mod wire;

pub use ed25519_dalek::SigningKey;
