//! Joining a practice over QUIC: the newcomer dials the inviter, whose key its invitation pins,
//! asks once, and gets one answer.

use super::endpoint::{self, Endpoint, Secured};
use super::error::SyncError;
use super::link::CODE_CUT;
use super::replica::Replica;
use super::schedule::{Allowance, Chance, Race};
use super::tls::Purpose;
use crate::base::environment::Environment;
use crate::base::private::Private;
use carnet_sync_protocol::id::TransportKey;
use carnet_sync_protocol::limit;
use carnet_sync_protocol::message::{JoinAnswer, JoinRefusal, JoinRequest};
use quinn::{ReadToEndError, VarInt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long a question and its answer may take, on a line of a few bytes a second.
const EXCHANGE_MAX: Duration = Duration::from_secs(60);
/// Newcomers that are answered at the same time.
const ANSWERS_MAX: usize = 4;
/// Requests at once, before they are counted by the second.
const BURST: u32 = 10;
/// One request more in this time.
const REFILL_MS: u64 = 2_000;
/// How often the question is put again when the line breaks before the answer has come. (The
/// inviter gives the same keys the same answer.)
const ATTEMPTS: usize = 3;
/// How long the last datagrams may take to leave.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Asks the inviter for admission. `request` is made for the connection, whose TLS exporter it is
/// given; it is made again if the line breaks before the answer has come.
pub async fn join(
    environment: &Environment,
    transport_seed: &Private<[u8; 32]>,
    inviter: TransportKey,
    addresses: &[String],
    request: impl Fn([u8; 32]) -> JoinRequest,
) -> Result<JoinAnswer, SyncError> {
    let endpoint = Endpoint::open(environment, transport_seed, None)?;
    let mut result = Err(SyncError::NoAddress);
    for _ in 0..ATTEMPTS {
        let race = Race::new(Chance::new(environment.random()));
        let secured = endpoint.dial(inviter, addresses, Purpose::Join, race).await;
        result = match secured {
            Ok(secured) => ask(&secured, &request(secured.exporter)).await,
            Err(error) => Err(error),
        };
        if !matches!(result, Err(SyncError::Lost(_))) {
            break;
        }
    }
    endpoint.close(CLOSE_MAX).await;
    result
}

async fn ask(secured: &Secured, request: &JoinRequest) -> Result<JoinAnswer, SyncError> {
    let connection = &secured.connection;
    let lost = |reason: String| match connection.close_reason() {
        Some(error @ quinn::ConnectionError::ApplicationClosed(_)) => {
            SyncError::ClosedByPeer(endpoint::describe(&error))
        }
        Some(error) => SyncError::Lost(endpoint::describe(&error)),
        None => SyncError::Lost(reason),
    };
    let exchange = async {
        let (mut send, mut receive) =
            connection.open_bi().await.map_err(|error| lost(error.to_string()))?;
        send.write_all(&request.to_bytes()).await.map_err(|error| lost(error.to_string()))?;
        send.finish().map_err(|error| lost(error.to_string()))?;
        match receive.read_to_end(limit::JOIN_BYTES_MAX).await {
            Ok(bytes) => JoinAnswer::from_bytes(&bytes)
                .map_err(|violation| SyncError::Violation(violation.to_string())),
            Err(ReadToEndError::TooLong) => {
                Err(SyncError::Violation("its answer is too long".into()))
            }
            Err(ReadToEndError::Read(error)) => Err(lost(error.to_string())),
        }
    };
    let answer = timeout(EXCHANGE_MAX, exchange)
        .await
        .unwrap_or_else(|_| Err(SyncError::Lost("the answer did not come in time".into())));
    connection.close(VarInt::from_u32(0), b"thank you");
    answer
}

/// Where newcomers are answered, a few at a time.
pub(super) struct Desk {
    places: Semaphore,
    allowance: Mutex<Allowance>,
}

impl Desk {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            places: Semaphore::new(ANSWERS_MAX),
            allowance: Mutex::new(Allowance::new(BURST, REFILL_MS, now_ms)),
        }
    }

    /// Answers one newcomer, or sends it away when there are too many; says why it was refused.
    pub(super) async fn answer(
        &self,
        secured: Secured,
        replica: Arc<dyn Replica>,
        now_ms: u64,
    ) -> Result<(), String> {
        let connection = secured.connection.clone();
        let allowed = self.allowance.lock().unwrap_or_else(PoisonError::into_inner).take(now_ms);
        let place = if allowed { self.places.try_acquire().ok() } else { None };
        if place.is_none() {
            connection.close(CODE_CUT.into(), b"too many requests to join; try again in a minute");
            return Err("too many requests to join".into());
        }
        let answered = timeout(EXCHANGE_MAX, answer(secured, replica)).await;
        connection.close(VarInt::from_u32(0), b"");
        match answered {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(refusal.to_string()),
            Err(_) => Err("too slow".into()),
        }
    }
}

async fn answer(secured: Secured, replica: Arc<dyn Replica>) -> Option<JoinRefusal> {
    let Secured { connection, peer, exporter, .. } = secured;
    // Whatever goes wrong on the line concerns the newcomer only, who asks again.
    let (mut send, mut receive) = connection.accept_bi().await.ok()?;
    let bytes = receive.read_to_end(limit::JOIN_BYTES_MAX).await.ok()?;
    let answer = match JoinRequest::from_bytes(&bytes) {
        Err(_) => JoinAnswer::Refused(JoinRefusal::Invalid),
        Ok(request) => {
            let asked =
                tokio::task::spawn_blocking(move || replica.answer_join(request, peer, exporter));
            match asked.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a newcomer could not be answered");
                    JoinAnswer::Refused(JoinRefusal::Failed)
                }
                Err(_) => JoinAnswer::Refused(JoinRefusal::Failed),
            }
        }
    };
    let refusal = match &answer {
        JoinAnswer::Refused(refusal) => Some(*refusal),
        JoinAnswer::Admitted(_) => None,
    };
    if let Some(refusal) = &refusal {
        tracing::info!(%peer, %refusal, "a newcomer was refused");
    }
    if send.write_all(&answer.to_bytes()).await.is_ok() && send.finish().is_ok() {
        // The newcomer closes when it has the answer; its QUIC confirming is not enough, because
        // closing at once could overtake what it has not read.
        connection.closed().await;
    }
    refusal
}
