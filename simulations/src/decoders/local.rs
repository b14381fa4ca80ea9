//! What lies on a node's own machine, or is typed there: backups, settings, key files, names. A
//! damaged disk alters it too.

use super::samples::Samples;
use super::{Decoder, Form, decoder, text};
use crate::practice::Outcome;
use carnet_node::access::scope::Scopes;
use carnet_node::chart::{Document, ResourceKey};
use carnet_node::records::backup::{is_backup, key_file_of};
use carnet_node::service::config::{Config, FILE_NAME, Flags};
use carnet_node::vault::keyring::backup::Contents;
use carnet_node::vault::{self, BackupKey, BackupReader, UnlockSecret, VaultError};
use carnet_sync_protocol::id::NodeId;
use carnet_sync_protocol::wire;
use std::path::Path;
use std::str::FromStr;
use tempfile::TempDir;

/// Every setting once.
const SETTINGS: &str = r#"[sync]
listen = "127.0.0.1:7411"
peers = ["ziguinchor.example:7411", "[::1]:7411"]
announce = ["clinic.example:7411"]

[unlock]
key_file = "key"
passphrase_file = "/run/carnet/passphrase"

[access]
deny = ["nurse notes:write", "laboratory problems"]

[log]
level = "debug"
days = 30
"#;

/// The longest body that is looked at.
const BODY_BYTES_MAX: usize = 4 << 20;

pub(super) fn decoders(samples: &Samples) -> Outcome<Vec<Decoder>> {
    let mut all = files(samples)?;
    all.extend(names());
    all.extend(derived(samples)?);
    Ok(all)
}

fn files(samples: &Samples) -> Outcome<Vec<Decoder>> {
    let (key, contents) = contents(samples)?;
    let (backups, keys, settings) =
        (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    Ok(vec![
        decoder("backup", Form::Bytes, samples.backups.clone(), move |bytes| {
            let Some(path) = written(&backups, "backup", bytes) else { return false };
            let (_, _) = (is_backup(&path), key_file_of(&path));
            read_backup(&path, &key).is_ok()
        }),
        decoder("contents of a backup", Form::Bytes, contents, |bytes| {
            wire::decode::<Contents>(bytes).is_ok()
        }),
        decoder("key file", Form::Text, samples.key_lines.clone(), move |bytes| {
            let Some(path) = written(&keys, vault::unlock::CREDENTIAL_NAME, bytes) else {
                return false;
            };
            let _ = UnlockSecret::from_credentials(keys.path());
            UnlockSecret::from_key_file(&path).is_ok()
        }),
        decoder("settings", Form::Text, vec![SETTINGS.into()], move |bytes| {
            written(&settings, FILE_NAME, bytes).is_some()
                && Config::load(settings.path(), Flags::default(), &|_| None).is_ok()
        }),
    ])
}

fn names() -> Vec<Decoder> {
    let scopes = ["system/Observation.rs patient/*.cruds", "user/Patient.write system/*.read"];
    let keys = ["Patient/aissatou-1", "MedicationRequest/0.b-C"];
    let ids = ["00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"];
    let samples = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    vec![
        decoder("scopes", Form::Text, samples(&scopes), |bytes| {
            text(bytes).is_some_and(|text| Scopes::parse([text], Some("p".into())).is_ok())
        }),
        decoder("name of a resource", Form::Text, samples(&keys), |bytes| {
            text(bytes).is_some_and(|text| ResourceKey::parse(text).is_ok())
        }),
        decoder("id", Form::Text, samples(&ids), |bytes| {
            text(bytes).is_some_and(|text| NodeId::from_str(text).is_ok())
        }),
    ]
}

/// What the index keeps.
fn derived(samples: &Samples) -> Outcome<Vec<Decoder>> {
    let bodies = samples.resources.iter().map(|body| vault::pack(body)).collect();
    let actor = samples.actor;
    Ok(vec![
        decoder("body in the index", Form::Bytes, bodies, |bytes| {
            vault::unpack(bytes, BODY_BYTES_MAX).is_ok()
        }),
        decoder("document in the index", Form::Bytes, vec![samples.document()?], move |bytes| {
            Document::load(bytes, actor).is_ok()
        }),
    ])
}

/// The file, if it could be written.
fn written(dir: &TempDir, name: &str, bytes: &[u8]) -> Option<std::path::PathBuf> {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).ok().map(|()| path)
}

/// What opens the sample, and what is sealed at its beginning.
fn contents(samples: &Samples) -> Outcome<(BackupKey, Vec<Vec<u8>>)> {
    let dir = tempfile::tempdir()?;
    let key = samples.backup_keys.first().cloned().ok_or("there is no backup")?;
    let path = written(&dir, "backup", &samples.backups[0]).ok_or("it can't be written")?;
    let contents = wire::encode(BackupReader::open_made(&path, &key)?.contents());
    Ok((key, vec![contents]))
}

fn read_backup(path: &Path, key: &BackupKey) -> Result<(), VaultError> {
    let mut reader = BackupReader::open_made(path, key)?;
    let mut block = [0; 4_096];
    while reader.read(&mut block)? > 0 {}
    reader.finish().map(drop)
}
