//! A bare connection to a node, for tools that see what becomes of a peer that lies: whatever is
//! given to it is sent as it is.

use super::endpoint::{Endpoint, Secured};
use super::error::SyncError;
use super::schedule::{Chance, Race};
use super::tls::Purpose;
use crate::base::environment::Environment;
use crate::base::private::Private;
use carnet_sync_protocol::id::TransportKey;
use carnet_sync_protocol::limit;
use quinn::{RecvStream, SendStream};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

/// Whoever lies, by a transport key.
pub struct Prober {
    environment: Environment,
    endpoint: Endpoint,
}

/// One of its connections.
pub struct Probe {
    secured: Secured,
    control: (SendStream, RecvStream),
    data: Vec<SendStream>,
}

impl Prober {
    /// Opens a socket. Needs a tokio runtime.
    pub fn open(environment: Environment, seed: &Private<[u8; 32]>) -> Result<Self, SyncError> {
        let endpoint = Endpoint::open(&environment, seed, None)?;
        Ok(Self { environment, endpoint })
    }

    /// Dials a node, for a session or to join, and opens the control stream.
    pub async fn dial(
        &self,
        node: TransportKey,
        address: SocketAddr,
        joins: bool,
    ) -> Result<Probe, SyncError> {
        let race = Race::new(Chance::new(self.environment.random()));
        let purpose = if joins { Purpose::Join } else { Purpose::Session };
        let secured = self.endpoint.dial(node, &[address.to_string()], purpose, race).await?;
        let control = secured.connection.open_bi().await;
        let control = control.map_err(|error| SyncError::Lost(error.to_string()))?;
        Ok(Probe { secured, control, data: Vec::new() })
    }
}

impl Probe {
    /// The bytes that bind what is signed to this connection.
    pub const fn exporter(&self) -> &[u8; 32] {
        &self.secured.exporter
    }

    /// Sends bytes on the control stream; false when the node takes no more.
    pub async fn say(&mut self, bytes: &[u8]) -> bool {
        self.control.0.write_all(bytes).await.is_ok()
    }

    /// Sends a frame there.
    pub async fn frame(&mut self, frame: &[u8]) -> bool {
        let length = (frame.len() as u32).to_be_bytes();
        self.say(&length).await && self.say(frame).await
    }

    /// Ends that stream.
    pub fn end(&mut self) {
        // One that was reset already has ended.
        let _ = self.control.0.finish();
    }

    /// Opens a data stream and sends these bytes on it, within a while; it stays open.
    pub async fn stream(&mut self, bytes: &[u8], patience: Duration) -> bool {
        let connection = self.secured.connection.clone();
        let sent = timeout(patience, async {
            let mut stream = connection.open_uni().await.ok()?;
            stream.write_all(bytes).await.ok()?;
            Some(stream)
        });
        let stream = sent.await.ok().flatten();
        let opened = stream.is_some();
        self.data.extend(stream);
        opened
    }

    /// The next frame on the control stream.
    pub async fn hear(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let receive = &mut self.control.1;
        let frame = async {
            let mut length = [0; 4];
            receive.read_exact(&mut length).await.ok()?;
            let length = u32::from_be_bytes(length) as usize;
            let mut frame = vec![0; length.min(limit::CONTROL_FRAME_BYTES_MAX)];
            receive.read_exact(&mut frame).await.ok()?;
            Some(frame)
        };
        timeout(patience, frame).await.ok().flatten()
    }

    /// All that comes on the control stream until its end.
    pub async fn answer(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let read = self.control.1.read_to_end(limit::JOIN_BYTES_MAX);
        timeout(patience, read).await.ok()?.ok()
    }

    /// Why the node has closed the connection, if it does within a while.
    pub async fn ended(&self, patience: Duration) -> Option<String> {
        let closed = timeout(patience, self.secured.connection.closed()).await.ok()?;
        Some(closed.to_string())
    }
}
