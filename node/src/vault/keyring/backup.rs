//! A backup: one file with a node's keyring, settings and ledger, sealed and signed.
//!
//! What unlocks the node when the backup is made unlocks the backup, the recovery code included: the
//! file begins with the keyring's slots, as they lie in a node's directory, and with the key of
//! everything else, wrapped to the node's HPKE key, which is under those slots. So a locked node can
//! make one too, and whoever finds one has less than a thief of the disk: not even the transport key.
//!
//! The rest is cut into chunks, each sealed by itself and bound to its place and to the beginning of
//! the file; the last one says that it is the last. Anybody can wrap a key to a public key, so the
//! node's transport key signs all of it. Nothing of a backup may be used before
//! [`BackupReader::finish`] has checked that signature.

use super::content::{Content, SealedSecret, Slot};
use super::{Keyring, Safe, Unlocked, key_file_slot, passphrase_slot};
use crate::base::environment::Environment;
use crate::base::private::Private;
use crate::identity::SigningSecret;
use crate::identity::statement::KeyWrap;
use crate::vault::Binding;
use crate::vault::cipher::{self, NONCE_SIZE, Secret, TAG_SIZE};
use crate::vault::error::VaultError;
use crate::vault::passphrase::Cost;
use crate::vault::share::{self, Purpose};
use crate::vault::unlock::{UnlockMethod, UnlockSecret};
use carnet_sync_protocol::certificate::NodeKeys;
use carnet_sync_protocol::entry::{SignatureBytes, sign, verify};
use carnet_sync_protocol::id::{Incarnation, NodeId, PracticeId};
use carnet_sync_protocol::wire;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const FORMAT: &[u8; 16] = b"carnet backup 1\n";
const FORMAT_ANY: &[u8] = b"carnet backup ";

/// Bytes sealed together.
const CHUNK: usize = 256 << 10;

/// The clear beginning and the sealed beginning are a keyring each, and little more.
const PART_BYTES_MAX: usize = 1 << 20;

const SIGNATURE_BYTES: usize = 64;
const SIGNATURE_DOMAIN: &str = "carnet backup v1";

type Result<T> = std::result::Result<T, VaultError>;

/// The clear beginning of the file.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Envelope {
    practice: PracticeId,
    keys: NodeKeys,
    slots: Vec<Slot>,
    secrets: SealedSecret,
    /// The key of the rest, for the node itself.
    key: KeyWrap,
}

/// What a backup holds, beside the ledger.
#[derive(Clone, Serialize, Deserialize)]
pub struct Contents {
    /// The file of the keyring.
    keyring: Vec<u8>,
    /// The file with the settings, if there is one.
    pub settings: Option<Vec<u8>>,
    /// When it was made, by the node's clock.
    pub made_ms: u64,
    /// How long the ledger is, which follows.
    pub ledger_bytes: u64,
}

/// What opens a backup that this process has made.
#[derive(Clone)]
pub struct BackupKey(Secret);

/// Binds a chunk to its number, and to whether it is the last.
fn nonce(number: u64, last: bool) -> [u8; NONCE_SIZE] {
    let mut nonce = [0; NONCE_SIZE];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce[8] = u8::from(last);
    nonce
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> VaultError {
    let path = path.to_owned();
    move |source| VaultError::File { path: path.clone(), source }
}

impl Keyring {
    /// Begins a backup in an empty file.
    pub fn begin_backup(
        &self,
        environment: &Environment,
        settings: Option<Vec<u8>>,
        ledger_bytes: u64,
        (file, path): (File, &Path),
    ) -> Result<BackupWriter> {
        let practice = self.practice().ok_or(VaultError::ForeignCertificate)?;
        let key: Secret = Private::new(environment.random());
        let Content { keys, slots, secrets, .. } = self.content.clone();
        let purpose = Purpose::Backup(keys.entry);
        let wrap = share::wrap(environment, practice, purpose, keys.hpke, &key)?;
        let envelope = wire::encode(&Envelope { practice, keys, slots, secrets, key: wrap });
        let mut head = FORMAT.to_vec();
        head.extend_from_slice(&(envelope.len() as u32).to_be_bytes());
        head.extend_from_slice(&envelope);
        let mut writer = BackupWriter {
            file,
            path: path.to_owned(),
            key,
            head: *blake3::hash(&head).as_bytes(),
            number: 0,
            open: Zeroizing::new(Vec::with_capacity(CHUNK)),
            hash: blake3::Hasher::new(),
            transport: self.transport(),
        };
        writer.file.write_all(&head).map_err(file_error(path))?;
        writer.hash.update(&head);
        let contents = Contents {
            keyring: self.content.to_bytes(),
            settings,
            made_ms: environment.unix_ms(),
            ledger_bytes,
        };
        let contents = Zeroizing::new(wire::encode(&contents));
        if contents.len() > PART_BYTES_MAX || envelope.len() > PART_BYTES_MAX {
            return Err(VaultError::TooLarge { max: PART_BYTES_MAX });
        }
        writer.write(&(contents.len() as u32).to_be_bytes())?;
        writer.write(&contents)?;
        Ok(writer)
    }
}

/// A backup being written; the ledger's bytes follow its beginning.
pub struct BackupWriter {
    file: File,
    path: PathBuf,
    key: Secret,
    /// The hash of the clear beginning.
    head: [u8; 32],
    number: u64,
    open: Zeroizing<Vec<u8>>,
    /// Of everything before the signature, as it is when opened.
    hash: blake3::Hasher,
    transport: SigningSecret,
}

impl BackupWriter {
    /// Takes more of the ledger.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.seal(bytes)
    }

    fn seal(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.open.len() == CHUNK {
                self.close_chunk(false)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.open.len()));
            self.open.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn close_chunk(&mut self, last: bool) -> Result<()> {
        let nonce = nonce(self.number, last);
        let sealed = cipher::encrypt(&self.key, &nonce, &self.head, &self.open);
        self.open.clear();
        self.number += 1;
        self.file.write_all(&sealed).map_err(file_error(&self.path))
    }

    /// Signs it, and sees to it that it is on the disk.
    pub fn finish(mut self) -> Result<BackupKey> {
        let hash = self.hash.finalize();
        let signature = sign(self.transport.key(), SIGNATURE_DOMAIN, hash.as_bytes());
        self.seal(&signature.to_bytes())?;
        self.close_chunk(true)?;
        self.file.sync_all().map_err(file_error(&self.path))?;
        Ok(BackupKey(self.key))
    }
}

/// A backup being read; see the module's page.
pub struct BackupReader {
    file: File,
    path: PathBuf,
    /// Bytes of the file that were not read yet.
    left: u64,
    envelope: Envelope,
    key: Secret,
    head: [u8; 32],
    number: u64,
    open: Zeroizing<Vec<u8>>,
    /// How much of the open chunk was handed out.
    used: usize,
    hash: blake3::Hasher,
    contents: Contents,
    /// Bytes of the ledger that were not handed out yet.
    ledger_left: u64,
}

/// The keyring of a backup whose signature holds; not on any disk yet.
pub struct RestoredKeyring {
    content: Content,
}

/// Whether a file begins as a backup does, of whatever version.
pub fn is_backup(path: &Path) -> Result<bool> {
    let mut begin = [0; FORMAT_ANY.len()];
    let mut file = File::open(path).map_err(file_error(path))?;
    match file.read_exact(&mut begin) {
        Ok(()) => Ok(begin == FORMAT_ANY),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(file_error(path)(error)),
    }
}

/// Where the key file lay that opened the node when the backup was made.
pub fn key_file_of(path: &Path) -> Result<Option<PathBuf>> {
    let (_, envelope, _) = read_head(path)?;
    Ok(envelope.slots.into_iter().find_map(|slot| match slot {
        Slot::KeyFile { path, .. } => Some(PathBuf::from(path)),
        _ => None,
    }))
}

impl BackupReader {
    /// Opens a backup with what unlocked its node when it was made.
    pub fn open(path: &Path, secret: &UnlockSecret) -> Result<(Self, Unlocked)> {
        let (file, envelope, head) = read_head(path)?;
        let Envelope { practice, keys, slots, secrets, key } = &envelope;
        let damaged = |_| VaultError::BackupDamaged(path.to_owned());
        let opened = Safe { path, keys, slots, secrets }.unlock(secret);
        let unlocked = opened.map_err(|error| match error {
            VaultError::KeyringDamaged(path) => VaultError::BackupDamaged(path),
            other => other,
        })?;
        let purpose = Purpose::Backup(keys.entry);
        let key = share::unwrap(unlocked.hpke(), *practice, purpose, key).map_err(damaged)?;
        Ok((Self::begin(path, file, envelope, &head, key)?, unlocked))
    }

    /// Opens a backup that this process has made.
    pub fn open_made(path: &Path, key: &BackupKey) -> Result<Self> {
        let (file, envelope, head) = read_head(path)?;
        Self::begin(path, file, envelope, &head, key.0.clone())
    }

    fn begin(
        path: &Path,
        file: File,
        envelope: Envelope,
        head: &[u8],
        key: Secret,
    ) -> Result<Self> {
        let length = file.metadata().map_err(file_error(path))?.len();
        let mut hash = blake3::Hasher::new();
        hash.update(head);
        let mut reader = Self {
            file,
            path: path.to_owned(),
            left: length.saturating_sub(head.len() as u64),
            envelope,
            key,
            head: *blake3::hash(head).as_bytes(),
            number: 0,
            open: Zeroizing::default(),
            used: 0,
            hash,
            contents: Contents { keyring: Vec::new(), settings: None, made_ms: 0, ledger_bytes: 0 },
            ledger_left: 0,
        };
        let mut size = [0; 4];
        reader.take(&mut size)?;
        let size = u32::from_be_bytes(size) as usize;
        if size > PART_BYTES_MAX {
            return Err(reader.damaged());
        }
        let mut contents = Zeroizing::new(vec![0; size]);
        reader.take(&mut contents)?;
        reader.contents = wire::decode(&contents).map_err(|_| reader.damaged())?;
        reader.ledger_left = reader.contents.ledger_bytes;
        Ok(reader)
    }

    /// What it holds, beside the ledger.
    pub const fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The node that made it, as it says; proved by [`Self::finish`].
    pub const fn node(&self) -> NodeId {
        self.envelope.keys.entry
    }

    /// The next bytes of the ledger; none at its end.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.ledger_left).unwrap_or(usize::MAX).min(into.len());
        self.take(&mut into[..most])?;
        self.ledger_left -= most as u64;
        Ok(most)
    }

    /// Checks that the ledger was read whole, that nothing follows, and the signature.
    pub fn finish(mut self) -> Result<RestoredKeyring> {
        let hash = self.hash.finalize();
        let mut signature = [0; SIGNATURE_BYTES];
        self.take(&mut signature)?;
        let whole = self.ledger_left == 0 && self.left == 0 && self.used == self.open.len();
        let keys = &self.envelope.keys;
        let signature = SignatureBytes::from_bytes(&signature);
        let signed =
            verify(keys.transport.as_bytes(), SIGNATURE_DOMAIN, hash.as_bytes(), &signature);
        let content =
            Content::from_bytes(&self.contents.keyring, &self.path).map_err(|_| self.damaged())?;
        let transport = SigningSecret::from_seed(Private::new(content.transport_seed));
        let fits = content.keys == *keys
            && content.slots == self.envelope.slots
            && content.secrets == self.envelope.secrets
            && transport.public() == keys.transport.0
            && content.certificate.as_ref().is_some_and(|certificate| {
                certificate.body.keys == *keys
                    && certificate.body.practice == self.envelope.practice
                    && certificate.clone().verify(self.envelope.practice).is_ok()
            });
        if whole && signed.is_ok() && fits {
            Ok(RestoredKeyring { content })
        } else {
            Err(self.damaged())
        }
    }

    fn damaged(&self) -> VaultError {
        VaultError::BackupDamaged(self.path.clone())
    }

    /// Fills `into`, over the ends of chunks.
    fn take(&mut self, mut into: &mut [u8]) -> Result<()> {
        while !into.is_empty() {
            if self.used == self.open.len() {
                self.open_chunk()?;
            }
            let size = into.len().min(self.open.len() - self.used);
            let (now, later) = into.split_at_mut(size);
            now.copy_from_slice(&self.open[self.used..self.used + size]);
            self.hash.update(now);
            self.used += size;
            into = later;
        }
        Ok(())
    }

    fn open_chunk(&mut self) -> Result<()> {
        let size = self.left.min((CHUNK + TAG_SIZE) as u64);
        if size <= TAG_SIZE as u64 {
            return Err(self.damaged());
        }
        let mut sealed = vec![0; size as usize];
        self.file.read_exact(&mut sealed).map_err(file_error(&self.path))?;
        self.left -= size;
        let nonce = nonce(self.number, self.left == 0);
        let opened = cipher::decrypt(&self.key, &nonce, &self.head, &sealed);
        self.open = Zeroizing::new(opened.map_err(|_| self.damaged())?);
        (self.number, self.used) = (self.number + 1, 0);
        Ok(())
    }
}

/// The clear beginning, with its bytes; the file stands after it.
fn read_head(path: &Path) -> Result<(File, Envelope, Vec<u8>)> {
    let damaged = || VaultError::BackupDamaged(path.to_owned());
    let mut file = File::open(path).map_err(file_error(path))?;
    let mut head = vec![0; FORMAT.len() + 4];
    file.read_exact(&mut head).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => VaultError::NotABackup(path.to_owned()),
        _ => file_error(path)(error),
    })?;
    let (format, size) = head.split_at(FORMAT.len());
    if format != FORMAT {
        return Err(match format.starts_with(FORMAT_ANY) {
            true => VaultError::BackupNewer(path.to_owned()),
            false => VaultError::NotABackup(path.to_owned()),
        });
    }
    let size = u32::from_be_bytes(size.try_into().map_err(|_| damaged())?) as usize;
    if size > PART_BYTES_MAX {
        return Err(damaged());
    }
    let mut envelope = vec![0; size];
    file.read_exact(&mut envelope).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(),
        _ => file_error(path)(error),
    })?;
    head.extend_from_slice(&envelope);
    Ok((file, wire::decode(&envelope).map_err(|_| damaged())?, head))
}

impl RestoredKeyring {
    /// The practice of the node.
    pub fn practice(&self) -> Option<PracticeId> {
        self.content.certificate.as_ref().map(|certificate| certificate.body.practice)
    }

    /// Lets the node open this way from here on; what opened it before goes on doing so, except that
    /// a passphrase or key file takes the place of the one that there was.
    pub fn close_with(
        &mut self,
        environment: &Environment,
        unlocked: &Unlocked,
        method: &UnlockMethod,
    ) -> Result<()> {
        let keys = self.content.keys;
        let slots = &mut self.content.slots;
        match method {
            UnlockMethod::Passphrase(passphrase) => {
                let slot =
                    passphrase_slot(environment, Cost::PRODUCT, &keys, unlocked, passphrase)?;
                slots.retain(|slot| !matches!(slot, Slot::Passphrase(_)));
                slots.push(slot);
            }
            UnlockMethod::KeyFile(path) => {
                let slot = key_file_slot(environment, &keys, unlocked, path)?;
                slots.retain(|slot| !matches!(slot, Slot::KeyFile { .. }));
                slots.push(slot);
            }
        }
        Ok(())
    }

    /// Writes it into the directory of what is a node from here on, in another life than the one
    /// that made the backup.
    pub fn install(
        mut self,
        directory: &Path,
        environment: &Environment,
        binding: Binding,
    ) -> Result<()> {
        let path = directory.join(super::KEYRING_FILE);
        if path.exists() {
            return Err(VaultError::KeyringExists(path));
        }
        self.content.incarnation = Incarnation(environment.random());
        self.content.binding = binding;
        self.content.write(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PracticeKey;
    use carnet_sync_protocol::certificate::{Capabilities, Certificate, CertificateBody, Role};
    use std::fs;
    use tempfile::TempDir;

    const PASSPHRASE: &str = "quatre chevaux bleus";

    fn typed() -> UnlockSecret {
        UnlockSecret::Passphrase(Private::new(PASSPHRASE.to_owned()))
    }

    fn place() -> Binding {
        let machine = "machine".to_owned();
        Binding::new(&crate::base::environment::Place { machine, inode: 1, born_ns: None })
    }

    /// An admitted node.
    fn node(environment: &Environment) -> (TempDir, Keyring) {
        let directory = tempfile::tempdir().unwrap();
        let method = UnlockMethod::Passphrase(Private::new(PASSPHRASE.to_owned()));
        let (mut keyring, _) =
            Keyring::create_at_cost(directory.path(), environment, &method, place(), Cost::CHEAP)
                .unwrap();
        let practice = PracticeKey::generate(environment);
        let body = CertificateBody {
            practice: practice.id(),
            keys: *keyring.keys(),
            role: Role::Clinic,
            capabilities: Capabilities::default(),
            site: "Sédhiou".to_owned(),
            serial: [1; 8],
            issued_ms: 1,
            expires_ms: 2,
        };
        let certificate = Certificate::issue(body, practice.key()).unwrap().into_certificate();
        keyring.complete(certificate).unwrap();
        (directory, keyring)
    }

    fn backed_up(environment: &Environment, ledger: &[u8]) -> (TempDir, Keyring, PathBuf) {
        let (directory, keyring) = node(environment);
        let path = directory.path().join("a.backup");
        let file = File::create_new(&path).unwrap();
        let settings = Some(b"[log]".to_vec());
        let size = ledger.len() as u64;
        let mut writer = keyring.begin_backup(environment, settings, size, (file, &path)).unwrap();
        for piece in ledger.chunks(100_000) {
            writer.write(piece).unwrap();
        }
        let key = writer.finish().unwrap();
        assert!(read_all(BackupReader::open_made(&path, &key).unwrap()).is_ok());
        (directory, keyring, path)
    }

    fn read_all(mut reader: BackupReader) -> Result<(Vec<u8>, RestoredKeyring)> {
        let (mut ledger, mut block) = (Vec::new(), vec![0; 70_000]);
        loop {
            let count = reader.read(&mut block)?;
            if count == 0 {
                return reader.finish().map(|keyring| (ledger, keyring));
            }
            ledger.extend_from_slice(&block[..count]);
        }
    }

    fn restored(path: &Path) -> Result<(Vec<u8>, RestoredKeyring)> {
        read_all(BackupReader::open(path, &typed())?.0)
    }

    #[test]
    fn what_was_written_comes_back_in_another_life() {
        let (environment, _) = Environment::seeded(21, 5);
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 77] {
            let ledger: Vec<u8> = (0..size).map(|place| (place * 7 % 251) as u8).collect();
            let (_directory, keyring, path) = backed_up(&environment, &ledger);
            let (read, keys) = restored(&path).unwrap();
            assert!(read == ledger, "{size} bytes");
            let elsewhere = tempfile::tempdir().unwrap();
            keys.install(elsewhere.path(), &environment, place()).unwrap();
            let again = Keyring::open(elsewhere.path()).unwrap();
            assert_eq!(again.node(), keyring.node());
            assert_ne!(again.incarnation(), keyring.incarnation());
            assert!(again.unlock(&typed()).is_ok());
        }
    }

    #[test]
    fn any_damage_is_found_and_nothing_is_in_clear_text() {
        let (environment, _) = Environment::seeded(22, 5);
        let (_directory, keyring, path) = backed_up(&environment, &[9; 3000]);
        let whole = fs::read(&path).unwrap();
        let holds = |part: &[u8]| whole.windows(part.len()).any(|window| window == part);
        assert!(!holds(&keyring.content.transport_seed) && !holds(&[9; 8]));
        assert!(!holds("Sédhiou".as_bytes()), "the certificate is inside");
        for place in (0..whole.len()).step_by(3) {
            let mut altered = whole.clone();
            altered[place] ^= 0x10;
            fs::write(&path, &altered).unwrap();
            assert!(restored(&path).is_err(), "byte {place} was altered");
        }
        for length in (0..whole.len()).step_by(5) {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(restored(&path).is_err(), "cut at {length}");
        }
        fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert!(restored(&path).is_err(), "longer than it was");
    }

    #[test]
    fn a_backup_that_another_made_for_this_node_is_refused() {
        let (environment, _) = Environment::seeded(23, 5);
        let (_directory, keyring, path) = backed_up(&environment, &[1; 100]);
        // Everything in the clear beginning is known to whoever found a backup; only the node signs.
        let (_other, mut forger) = node(&environment);
        forger.content.keys = keyring.content.keys;
        forger.content.slots.clone_from(&keyring.content.slots);
        forger.content.secrets = keyring.content.secrets.clone();
        forger.content.certificate.clone_from(&keyring.content.certificate);
        let forged = path.with_extension("forged");
        let file = File::create_new(&forged).unwrap();
        let mut writer = forger.begin_backup(&environment, None, 100, (file, &forged)).unwrap();
        writer.write(&[2; 100]).unwrap();
        writer.finish().unwrap();
        assert!(matches!(restored(&forged), Err(VaultError::BackupDamaged(_))));
    }

    #[test]
    fn a_wrong_secret_a_newer_backup_and_another_file_are_told_apart() {
        let (environment, _) = Environment::seeded(24, 5);
        let (directory, _, path) = backed_up(&environment, &[1; 100]);
        let wrong = UnlockSecret::Passphrase(Private::new("other".to_owned()));
        let refused = BackupReader::open(&path, &wrong).map(drop);
        assert!(matches!(refused, Err(VaultError::WrongSecret("passphrase"))));
        let mut newer = fs::read(&path).unwrap();
        newer[FORMAT.len() - 2] = b'2';
        fs::write(&path, newer).unwrap();
        assert!(is_backup(&path).unwrap());
        assert!(matches!(restored(&path).map(drop), Err(VaultError::BackupNewer(_))));
        let other = directory.path().join("thesis.doc");
        fs::write(&other, "carnet de voyage, première partie").unwrap();
        assert!(!is_backup(&other).unwrap());
        assert!(matches!(restored(&other).map(drop), Err(VaultError::NotABackup(_))));
    }
}
