//! Where a keyring was made: enough to notice that its directory was copied or put back.
//!
//! A directory that runs in two places writes two logs under one name. What is compared is the
//! machine's id, the directory's inode and its birth. The device's number is left out: it changes
//! with the order in which disks are found. A machine that was cloned whole shows no difference
//! here; that is found when a peer knows more of the node's log than the node itself.

use crate::base::environment::Place;
use serde::{Deserialize, Serialize};

/// The place of a node's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    machine: [u8; 16],
    inode: u64,
    born_ns: Option<u64>,
}

impl Binding {
    /// The place of a directory with these marks.
    pub fn new(place: &Place) -> Self {
        // The machine's id is confidential (machine-id(5)), so only a hash of it is kept.
        let id = place.machine.trim().as_bytes();
        let hash = blake3::derive_key("carnet 2026 machine v1", id);
        let mut machine = [0; 16];
        machine.copy_from_slice(&hash[..16]);
        Self { machine, inode: place.inode, born_ns: place.born_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_makes_another_place_and_the_machines_id_is_not_kept() {
        let place = |machine: &str, inode, born_ns| {
            Binding::new(&Place { machine: machine.into(), inode, born_ns })
        };
        let before = place("0123\n", 1, Some(2));
        assert_eq!(place("0123", 1, Some(2)), before);
        for other in [place("4567", 1, Some(2)), place("0123", 3, Some(2)), place("0123", 1, None)]
        {
            assert_ne!(other, before);
        }
        assert!(!format!("{before:?}").contains("0123"));
    }
}
