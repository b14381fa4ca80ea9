//! Where a keyring was made: enough to notice that its directory was copied or put back.
//!
//! A directory that runs in two places writes two logs under one name. What is compared is the
//! machine's id, the directory's inode and its birth. The device's number is left out: it changes
//! with the order in which disks are found. A machine that was cloned whole shows no difference
//! here; that is found when a peer knows more of the node's log than the node itself.

use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The place of a node's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    machine: [u8; 16],
    inode: u64,
    born_ns: Option<u64>,
}

impl Binding {
    /// The place of a directory with these marks.
    pub fn new(machine_id: &str, inode: u64, born_ns: Option<u64>) -> Self {
        // The machine's id is confidential (machine-id(5)), so only a hash of it is kept.
        let hash = blake3::derive_key("carnet 2026 machine v1", machine_id.trim().as_bytes());
        let mut machine = [0; 16];
        machine.copy_from_slice(&hash[..16]);
        Self { machine, inode, born_ns }
    }

    /// The place of this directory. A machine without an id file counts as having an empty one.
    pub fn observe(directory: &Path, machine_id_file: &Path) -> io::Result<Self> {
        let metadata = directory.metadata()?;
        let machine_id = match std::fs::read_to_string(machine_id_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let born = metadata.created().ok();
        let born_ns = born
            .and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok())
            .and_then(|since| u64::try_from(since.as_nanos()).ok());
        Ok(Self::new(&machine_id, metadata.ino(), born_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_directory_is_another_place_and_the_same_one_is_the_same() {
        let parent = tempfile::tempdir().unwrap();
        let machine = parent.path().join("machine-id");
        std::fs::write(&machine, "0123\n").unwrap();
        let (one, two) = (parent.path().join("one"), parent.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&two).unwrap();
        let observe = |directory| Binding::observe(directory, &machine).unwrap();
        let before = observe(&one);
        std::fs::write(one.join("file"), "").unwrap();
        assert_eq!(observe(&one), before);
        assert_ne!(observe(&two), before);
        std::fs::write(&machine, "4567\n").unwrap();
        assert_ne!(observe(&one), before);
        assert!(Binding::observe(&one, &parent.path().join("absent")).is_ok());
        assert!(Binding::observe(&parent.path().join("absent"), &machine).is_err());
    }
}
