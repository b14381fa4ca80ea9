//! The keyring: a node's own keys, in one file of its directory.
//!
//! The transport key lies in the clear, so that a node that restarts by itself receives and
//! forwards. Everything that reads or writes charts is sealed under a *master key*, and each way to
//! unlock the node is a *slot* that holds the master key under a passphrase, a key file or the
//! recovery code. The file is replaced whole with every change: a kill leaves the old one or the new
//! one. Unlocking changes nothing on disk.

#[cfg(test)]
mod tests;

pub mod backup;
pub mod binding;
mod content;
mod staff;

use super::cipher::{self, Secret};
use super::error::VaultError;
use super::passphrase::{Cost, Locked};
use super::share::{self, HpkeSecret, Purpose};
use super::unlock::{self, UnlockMethod, UnlockSecret};
use crate::base::environment::Environment;
use crate::base::private::Private;
use crate::identity::{PracticeKey, SigningSecret};
use binding::Binding;
use carnet_sync_protocol::SigningKey;
use carnet_sync_protocol::certificate::{Certificate, NodeKeys};
use carnet_sync_protocol::id::{HpkeKey, Incarnation, NodeId, PracticeId, TransportKey};
use content::{Content, SealedSecret, Slot};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The keyring's name in a node's directory.
pub const KEYRING_FILE: &str = "keyring";

const PASSPHRASE: &str = "passphrase";
const KEY_FILE: &str = "key file";
const RECOVERY_CODE: &str = "recovery code";
const PASSWORD: &str = "password";

/// A node's keyring, locked; see the module's page.
pub struct Keyring {
    path: PathBuf,
    content: Content,
    cost: Cost,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The secrets of an unlocked node; to lock it is to drop this.
#[derive(Clone, Debug)]
pub struct Unlocked {
    master: Secret,
    entry: SigningSecret,
    hpke: HpkeSecret,
    index_key: Private<[u8; 32]>,
}

impl Unlocked {
    /// Signs what the node writes.
    pub const fn entry(&self) -> &SigningKey {
        self.entry.key()
    }

    /// Takes out the keys that were wrapped to the node.
    pub const fn hpke(&self) -> &HpkeSecret {
        &self.hpke
    }

    /// Encrypts the node's index.
    pub const fn index_key(&self) -> &Private<[u8; 32]> {
        &self.index_key
    }

    /// Encrypts what belongs to this device alone: sessions, PINs, failed logins.
    pub fn device_key(&self) -> Private<[u8; 32]> {
        Private::new(blake3::derive_key(
            "carnet 2026 device database key v1",
            self.index_key.expose(),
        ))
    }
}

/// What a thief of the machine would need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// A passphrase, or the recovery code.
    Passphrase,
    /// A key file that is kept elsewhere.
    KeyFileElsewhere,
    /// Nothing: the key file lies beside the data.
    KeyBesideData,
}

impl Keyring {
    /// Makes a node's keys. It has no certificate yet: see [`Keyring::complete`].
    pub fn create(
        directory: &Path,
        environment: &Environment,
        method: &UnlockMethod,
        binding: Binding,
    ) -> Result<(Self, Unlocked), VaultError> {
        Self::create_at_cost(directory, environment, method, binding, Cost::PRODUCT)
    }

    fn create_at_cost(
        directory: &Path,
        environment: &Environment,
        method: &UnlockMethod,
        binding: Binding,
        cost: Cost,
    ) -> Result<(Self, Unlocked), VaultError> {
        let path = directory.join(KEYRING_FILE);
        if path.exists() {
            return Err(VaultError::KeyringExists(path));
        }
        let transport = SigningSecret::generate(environment);
        let unlocked = Unlocked {
            master: Private::new(environment.random()),
            entry: SigningSecret::generate(environment),
            hpke: HpkeSecret::generate(environment),
            index_key: Private::new(environment.random()),
        };
        let keys = NodeKeys {
            entry: NodeId(unlocked.entry.public()),
            transport: TransportKey(transport.public()),
            hpke: unlocked.hpke.public(),
        };
        let slot = match method {
            UnlockMethod::Passphrase(passphrase) => {
                passphrase_slot(environment, cost, &keys, &unlocked, passphrase)?
            }
            UnlockMethod::KeyFile(path) => key_file_slot(environment, &keys, &unlocked, path)?,
        };
        let mut secrets = Zeroizing::new([0; 96]);
        secrets[..32].copy_from_slice(unlocked.entry.seed().expose());
        secrets[32..64].copy_from_slice(unlocked.hpke.seed().expose());
        secrets[64..].copy_from_slice(unlocked.index_key.expose());
        let nonce = environment.random();
        let sealed =
            cipher::encrypt(&unlocked.master, &nonce, &context("secrets", &keys), &*secrets);
        let content = Content {
            keys,
            transport_seed: *transport.seed().expose(),
            certificate: None,
            incarnation: Incarnation(environment.random()),
            binding,
            slots: vec![slot],
            secrets: SealedSecret { nonce, sealed },
            practice_key: None,
        };
        content.write(&path)?;
        Ok((Self { path, content, cost }, unlocked))
    }

    /// Reads the keyring of a node's directory; the node stays locked.
    pub fn open(directory: &Path) -> Result<Self, VaultError> {
        let path = directory.join(KEYRING_FILE);
        let content = Content::read(&path)?;
        // The hash shows damage; that the parts belong together is checked all the same.
        let transport = SigningSecret::from_seed(Private::new(content.transport_seed));
        let foreign =
            content.certificate.as_ref().is_some_and(|held| held.body.keys != content.keys);
        if transport.public() != content.keys.transport.0 || foreign {
            return Err(VaultError::KeyringDamaged(path));
        }
        Ok(Self { path, content, cost: Cost::PRODUCT })
    }

    /// The node's public keys.
    pub const fn keys(&self) -> &NodeKeys {
        &self.content.keys
    }

    /// The node.
    pub const fn node(&self) -> NodeId {
        self.content.keys.entry
    }

    /// The transport key, which is there also while the node is locked.
    pub fn transport(&self) -> SigningSecret {
        SigningSecret::from_seed(Private::new(self.content.transport_seed))
    }

    /// The node's certificate, once it has been admitted.
    pub const fn certificate(&self) -> Option<&Certificate> {
        self.content.certificate.as_ref()
    }

    /// The practice, once the node has been admitted.
    pub fn practice(&self) -> Option<PracticeId> {
        self.certificate().map(|certificate| certificate.body.practice)
    }

    /// Keeps the certificate: the node's first one, or a newer one of the same practice.
    pub fn complete(&mut self, certificate: Certificate) -> Result<(), VaultError> {
        let practice = certificate.body.practice;
        if self.practice().is_some_and(|held| held != practice) {
            return Err(VaultError::OtherPractice);
        }
        let verified = certificate.verify(practice).map_err(|_| VaultError::ForeignCertificate)?;
        if verified.body.keys != self.content.keys {
            return Err(VaultError::ForeignCertificate);
        }
        self.change(|content| content.certificate = Some(verified.into_certificate()))
    }

    /// Takes the secrets out.
    pub fn unlock(&self, secret: &UnlockSecret) -> Result<Unlocked, VaultError> {
        self.safe().unlock(secret)
    }

    fn safe(&self) -> Safe<'_> {
        let Content { keys, slots, secrets, .. } = &self.content;
        Safe { path: &self.path, keys, slots: slots.as_slice(), secrets }
    }

    /// Whether some passphrase unlocks the node.
    pub fn has_passphrase(&self) -> bool {
        self.content.slots.iter().any(|slot| matches!(slot, Slot::Passphrase(_)))
    }

    /// Where the node's key file was when it was chosen.
    pub fn key_file(&self) -> Option<&Path> {
        self.content.slots.iter().find_map(|slot| match slot {
            Slot::KeyFile { path, .. } => Some(Path::new(path)),
            _ => None,
        })
    }

    /// What a thief of the machine would need. The weakest slot counts.
    pub fn protection(&self) -> Protection {
        let Some(key_file) = self.key_file() else { return Protection::Passphrase };
        let directory = self.path.parent().unwrap_or(Path::new("."));
        // Links are followed where they can be, so that a key behind a link is seen where it is.
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if real(key_file).starts_with(real(directory)) {
            Protection::KeyBesideData
        } else {
            Protection::KeyFileElsewhere
        }
    }

    /// Gives the node this passphrase, in place of the one that it had, if any.
    pub fn set_passphrase(
        &mut self,
        environment: &Environment,
        unlocked: &Unlocked,
        passphrase: &Private<String>,
    ) -> Result<(), VaultError> {
        let keys = self.content.keys;
        let slot = passphrase_slot(environment, self.cost, &keys, unlocked, passphrase)?;
        self.change(|content| {
            content.slots.retain(|slot| !matches!(slot, Slot::Passphrase(_)));
            content.slots.push(slot);
        })
    }

    /// Gives the node a key file, in place of the one that it had, if any; it is written if it is
    /// not there yet.
    pub fn set_key_file(
        &mut self,
        environment: &Environment,
        unlocked: &Unlocked,
        path: &Path,
    ) -> Result<(), VaultError> {
        let slot = key_file_slot(environment, &self.content.keys, unlocked, path)?;
        self.change(|content| {
            content.slots.retain(|slot| !matches!(slot, Slot::KeyFile { .. }));
            content.slots.push(slot);
        })
    }

    /// Makes the key file useless; refused when there is no passphrase to take its place.
    pub fn remove_key_file(&mut self) -> Result<(), VaultError> {
        if !self.has_passphrase() {
            return Err(VaultError::NoSlot(PASSPHRASE));
        }
        self.change(|content| content.slots.retain(|slot| !matches!(slot, Slot::KeyFile { .. })))
    }

    /// Lets the practice's recovery code unlock this node; tells whether anything was changed.
    pub fn ensure_recovery(
        &mut self,
        environment: &Environment,
        unlocked: &Unlocked,
        recovery: HpkeKey,
    ) -> Result<bool, VaultError> {
        let practice = self.practice().ok_or(VaultError::ForeignCertificate)?;
        let is_set =
            self.content.slots.iter().any(
                |slot| matches!(slot, Slot::Recovery { wrap, .. } if wrap.recipient == recovery),
            );
        if is_set {
            return Ok(false);
        }
        let purpose = Purpose::Keyring(self.node());
        let wrap = share::wrap(environment, practice, purpose, recovery, &unlocked.master)?;
        self.change(|content| {
            content.slots.retain(|slot| !matches!(slot, Slot::Recovery { .. }));
            content.slots.push(Slot::Recovery { practice, wrap });
        })?;
        Ok(true)
    }

    /// Whether the practice key is kept on this node, under a passphrase of its own.
    pub const fn has_practice_key(&self) -> bool {
        self.content.practice_key.is_some()
    }

    /// Keeps the practice key on this node, under a passphrase of its own.
    pub fn store_practice_key(
        &mut self,
        environment: &Environment,
        key: &PracticeKey,
        passphrase: &Private<String>,
    ) -> Result<(), VaultError> {
        let practice = key.id();
        if self.practice().is_some_and(|held| held != practice) {
            return Err(VaultError::OtherPractice);
        }
        let context = practice_context(practice);
        let locked = Locked::lock(environment, self.cost, passphrase, &context, key.seed())?;
        self.change(|content| content.practice_key = Some((practice, locked)))
    }

    /// The practice key, if it is kept here.
    pub fn practice_key(&self, passphrase: &Private<String>) -> Result<PracticeKey, VaultError> {
        let (practice, locked) =
            self.content.practice_key.as_ref().ok_or(VaultError::NoPracticeKey)?;
        let seed = locked.unlock(passphrase, &practice_context(*practice))?;
        let key = PracticeKey::from_seed(seed);
        if key.id() == *practice { Ok(key) } else { Err(VaultError::OtherPractice) }
    }

    /// Takes the practice key off this node.
    pub fn remove_practice_key(&mut self) -> Result<(), VaultError> {
        self.change(|content| content.practice_key = None)
    }

    /// Which life of the directory this is.
    pub const fn incarnation(&self) -> Incarnation {
        self.content.incarnation
    }

    /// Whether the directory is not where its keyring was made: it was copied or put back.
    pub fn was_moved(&self, now: &Binding) -> bool {
        self.content.binding != *now
    }

    /// Begins a new life of the directory, in this place.
    pub fn renew_incarnation(
        &mut self,
        environment: &Environment,
        binding: Binding,
    ) -> Result<Incarnation, VaultError> {
        let incarnation = Incarnation(environment.random());
        self.change(|content| {
            content.incarnation = incarnation;
            content.binding = binding;
        })?;
        Ok(incarnation)
    }

    /// Changes the file, and then what is in memory: if the disk fails, nothing has happened.
    fn change(&mut self, act: impl FnOnce(&mut Content)) -> Result<(), VaultError> {
        let mut content = self.content.clone();
        act(&mut content);
        content.write(&self.path)?;
        self.content = content;
        Ok(())
    }
}

/// What has to be opened: the ways to the master key, and what lies under it.
struct Safe<'a> {
    /// The file that it lies in.
    path: &'a Path,
    keys: &'a NodeKeys,
    slots: &'a [Slot],
    secrets: &'a SealedSecret,
}

impl Safe<'_> {
    fn unlock(&self, secret: &UnlockSecret) -> Result<Unlocked, VaultError> {
        let keys = self.keys;
        let master = self.master(secret)?;
        let damaged = || VaultError::KeyringDamaged(self.path.to_owned());
        let SealedSecret { nonce, sealed } = self.secrets;
        let secrets = cipher::decrypt(&master, nonce, &context("secrets", keys), sealed)
            .map(Zeroizing::new)
            .map_err(|_| damaged())?;
        let part = |place: usize| -> Result<Secret, VaultError> {
            let bytes = secrets.get(place * 32..(place + 1) * 32).ok_or_else(damaged)?;
            bytes.try_into().map(Private::new).map_err(|_| damaged())
        };
        let entry = SigningSecret::from_seed(part(0)?);
        let hpke = HpkeSecret::from_seed(part(1)?);
        if entry.public() != keys.entry.0 || hpke.public() != keys.hpke {
            return Err(damaged());
        }
        Ok(Unlocked { master, entry, hpke, index_key: part(2)? })
    }

    fn master(&self, secret: &UnlockSecret) -> Result<Secret, VaultError> {
        let keys = self.keys;
        let mut failure = VaultError::NoSlot(match secret {
            UnlockSecret::Passphrase(_) => PASSPHRASE,
            UnlockSecret::KeyFile(_) => KEY_FILE,
            UnlockSecret::RecoveryCode(_) => RECOVERY_CODE,
            UnlockSecret::Staff { .. } => PASSWORD,
        });
        for slot in self.slots {
            let opened = match (slot, secret) {
                (Slot::Passphrase(locked), UnlockSecret::Passphrase(passphrase)) => {
                    locked.unlock(passphrase, &context("passphrase", keys))
                }
                (Slot::KeyFile { sealed, .. }, UnlockSecret::KeyFile(key)) => {
                    open_key_file_slot(key, keys, sealed)
                }
                (Slot::Recovery { practice, wrap }, UnlockSecret::RecoveryCode(code)) => {
                    let purpose = Purpose::Keyring(keys.entry);
                    share::unwrap(&code.secret(), *practice, purpose, wrap)
                        .map_err(|_| VaultError::WrongSecret(RECOVERY_CODE))
                }
                (Slot::Staff { id: of, locked, .. }, UnlockSecret::Staff { id, password })
                    if of == id =>
                {
                    locked.unlock(password, &context(&staff::part(id), keys))
                }
                _ => continue,
            };
            match opened {
                Ok(master) => return Ok(master),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

fn passphrase_slot(
    environment: &Environment,
    cost: Cost,
    keys: &NodeKeys,
    unlocked: &Unlocked,
    passphrase: &Private<String>,
) -> Result<Slot, VaultError> {
    let context = context("passphrase", keys);
    Locked::lock(environment, cost, passphrase, &context, &unlocked.master).map(Slot::Passphrase)
}

fn key_file_slot(
    environment: &Environment,
    keys: &NodeKeys,
    unlocked: &Unlocked,
    path: &Path,
) -> Result<Slot, VaultError> {
    let failed = |source| VaultError::File { path: path.to_owned(), source };
    let path_text = std::path::absolute(path).map_err(failed)?.to_string_lossy().into_owned();
    let secret = unlock::key_file_at(environment, path)?;
    let nonce = environment.random();
    let key = cipher::derive(&secret, "carnet 2026 key file v1");
    let sealed =
        cipher::encrypt(&key, &nonce, &context("key file", keys), unlocked.master.expose());
    Ok(Slot::KeyFile { path: path_text, sealed: SealedSecret { nonce, sealed } })
}

fn open_key_file_slot(
    secret: &Secret,
    keys: &NodeKeys,
    SealedSecret { nonce, sealed }: &SealedSecret,
) -> Result<Secret, VaultError> {
    let key = cipher::derive(secret, "carnet 2026 key file v1");
    let master = cipher::decrypt(&key, nonce, &context("key file", keys), sealed)
        .map(Zeroizing::new)
        .map_err(|_| VaultError::WrongSecret(KEY_FILE))?;
    master.as_slice().try_into().map(Private::new).map_err(|_| VaultError::Malformed)
}

/// Binds a sealed part of the keyring to its use and to the node's public keys.
fn context(part: &str, keys: &NodeKeys) -> Vec<u8> {
    let mut context = format!("carnet 2026 keyring {part} v1\0").into_bytes();
    context.extend_from_slice(keys.entry.as_bytes());
    context.extend_from_slice(keys.transport.as_bytes());
    context.extend_from_slice(keys.hpke.as_bytes());
    context
}

/// Binds the sealed practice key to the practice.
pub(super) fn practice_context(practice: PracticeId) -> Vec<u8> {
    let mut context = b"carnet 2026 practice key v1\0".to_vec();
    context.extend_from_slice(practice.as_bytes());
    context
}
