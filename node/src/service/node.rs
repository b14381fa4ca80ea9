//! A node in this process: the records behind their thread, and the network once it is wanted.

use super::caller::Who;
use super::config::Config;
use super::error::{CommandError, ErrorKind};
use super::request::Opener;
use crate::access::{Action, Permit};
use crate::base::environment::Environment;
use crate::records::{Advance, Handle, Owner, Records, RecordsError};
use crate::sync::{Network, NetworkConfig, PeerAddress};
use crate::vault::UnlockSecret;
use carnet_sync_protocol::id::TransportKey;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell, broadcast};

/// See the head of the file.
pub struct Node {
    /// Its directory.
    pub dir: PathBuf,
    /// Time and chance.
    pub environment: Environment,
    /// Its settings.
    pub config: Config,
    /// Whether this is the daemon, not a single command.
    pub running: bool,
    /// Held while a backup is made: one at a time.
    pub backup: Arc<Mutex<()>>,
    records: Handle,
    owner: Owner,
    /// Started on first use: most commands need none.
    network: OnceCell<Network>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Node {
    /// Opens the node in `dir` and unlocks it by its key file or credential, if it has one that is
    /// at hand; otherwise it stays locked.
    pub async fn open(
        dir: &Path,
        environment: Environment,
        config: Config,
    ) -> Result<Self, CommandError> {
        let path = dir.to_owned();
        let opened = environment.clone();
        let mut records = blocking(move || Records::open(&path, opened)).await??;
        let settings = CommandError::bad_input;
        records.tighten(config.tightening().map_err(settings)?);
        // A file that can't be read was refused when the settings were loaded.
        if let Ok(text) = std::fs::read(dir.join(super::config::FILE_NAME)) {
            records.note_settings(&text)?;
        }
        let node = Self::of(records, config);
        if let Some(secret) = node.automatic_secret().await?
            && let Err(error) = node.call(move |records| records.unlock(&secret)).await
        {
            // A node that cannot open by itself still works for its peers; `status` says "locked".
            tracing::warn!(%error, "the key file or credential did not open this node");
        }
        Ok(node)
    }

    /// Puts records that were just made or opened behind their thread.
    pub fn of(records: Records, config: Config) -> Self {
        let dir = records.dir().to_owned();
        let environment = records.environment().clone();
        let (records, owner) = Handle::start(records);
        let network = OnceCell::new();
        let backup = Arc::default();
        Self { dir, environment, config, running: false, backup, records, owner, network }
    }

    /// Runs `f` on the thread that owns the records; returns once what it wrote is durable.
    pub async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Records) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, CommandError> {
        Ok(self.records.call(f).await?)
    }

    /// The same, for whoever may do this.
    pub async fn act<T: Send + 'static>(
        &self,
        who: &Who,
        action: Action,
        f: impl FnOnce(&mut Records, &Permit) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, CommandError> {
        let who = who.clone();
        self.call(move |records| {
            let permit = who.permit(records, action)?;
            f(records, &permit)
        })
        .await
    }

    /// What each later commit adds to the ledger.
    pub fn advances(&self) -> broadcast::Receiver<Advance> {
        self.records.advances()
    }

    /// Whether the charts are closed.
    pub async fn is_locked(&self) -> bool {
        self.call(|records| Ok(records.is_locked())).await.unwrap_or(true)
    }

    /// Whether a passphrase opens it.
    pub async fn has_passphrase(&self) -> bool {
        self.call(|records| Ok(records.keyring().has_passphrase())).await.unwrap_or(false)
    }

    /// Opens the charts.
    pub async fn unlock(&self, with: Opener) -> Result<(), CommandError> {
        let secret = self.secret(with).await?;
        self.call(move |records| records.unlock(&secret)).await
    }

    /// The secret that an opener means.
    pub async fn secret(&self, opener: Opener) -> Result<UnlockSecret, CommandError> {
        let secret = match opener {
            Opener::Automatic => self.automatic_secret().await?,
            other => secret_of(other)?,
        };
        secret.ok_or_else(|| {
            CommandError::new(ErrorKind::Locked, "neither key file nor credential is at hand")
                .advise("Name --passphrase-file or --key-file")
        })
    }

    async fn automatic_secret(&self) -> Result<Option<UnlockSecret>, CommandError> {
        let remembered =
            self.call(|records| Ok(records.keyring().key_file().map(Path::to_owned))).await?;
        automatic_secret(&self.config, remembered)
    }

    /// The network; started at the first call, dialling only unless `listen` says otherwise.
    pub async fn network(&self, listen: Option<SocketAddr>) -> Result<&Network, CommandError> {
        let network = self.network.get_or_try_init(|| self.start_network(listen)).await?;
        Ok(network)
    }

    /// The network, if it was started.
    pub fn started_network(&self) -> Option<&Network> {
        self.network.get()
    }

    async fn start_network(&self, listen: Option<SocketAddr>) -> Result<Network, CommandError> {
        let transport_seed =
            self.call(|records| Ok(records.keyring().transport().seed().clone())).await?;
        let config =
            NetworkConfig { environment: self.environment.clone(), transport_seed, listen };
        let network = Network::start(config, Arc::new(self.records.clone())).await?;
        for peer in self.known_peers().await? {
            network.add_peer(peer);
        }
        for text in &self.config.sync_peers.value {
            match super::commands::peers::resolve(self, text, None).await {
                Ok(peer) => network.add_peer(peer),
                // One peer that cannot be named must not keep the others away.
                Err(error) => {
                    tracing::warn!(peer = %text, %error, "a peer of the settings is unusable")
                }
            }
        }
        Ok(network)
    }

    /// The peers that this node remembers and has an address of.
    pub async fn known_peers(&self) -> Result<Vec<PeerAddress>, CommandError> {
        let peers = self.call(|records| records.peers()).await?;
        let callable = peers.into_iter().filter(|peer| !peer.addresses.is_empty());
        Ok(callable
            .map(|peer| PeerAddress { transport: peer.transport, addresses: peer.addresses })
            .collect())
    }

    /// Closes the link to a node that was just put out.
    pub fn drop_link(&self, transport: &TransportKey) {
        if let Some(network) = self.network.get() {
            network.drop_link(transport);
        }
    }

    /// Says goodbye to the peers, and closes the store.
    pub async fn close(self) {
        if let Some(network) = self.network.get() {
            network.shutdown().await;
        }
        let owner = self.owner;
        // Nothing is left to be done about a thread that ended by itself.
        let _ = tokio::task::spawn_blocking(move || drop(owner)).await;
    }
}

/// What an opener means, where it does not depend on the node.
pub(super) fn secret_of(opener: Opener) -> Result<Option<UnlockSecret>, CommandError> {
    Ok(match opener {
        Opener::Passphrase(passphrase) => Some(UnlockSecret::Passphrase(passphrase.0)),
        Opener::KeyFile(path) => Some(UnlockSecret::from_key_file(&path)?),
        Opener::RecoveryCode(code) => Some(UnlockSecret::RecoveryCode(code.expose().parse()?)),
        Opener::Staff { id, password } => Some(UnlockSecret::Staff { id, password: password.0 }),
        Opener::Automatic => None,
    })
}

/// The systemd credential, or the key file that the settings or the keyring name.
pub(super) fn automatic_secret(
    config: &Config,
    remembered: Option<PathBuf>,
) -> Result<Option<UnlockSecret>, CommandError> {
    if let Some(directory) = &config.credentials.value
        && let Some(secret) = UnlockSecret::from_credentials(directory)?
    {
        return Ok(Some(secret));
    }
    let path = config.key_file.value.clone().or(remembered).filter(|path| path.exists());
    Ok(path.map(|path| UnlockSecret::from_key_file(&path)).transpose()?)
}

/// Does blocking work where it holds up nobody else.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CommandError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        CommandError::new(ErrorKind::Failure, "a thread ended before its work was done")
    })
}
