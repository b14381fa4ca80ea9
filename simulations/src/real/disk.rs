//! A disk that fails as it is told, and what is on it after a power cut; see `faults.c`.

use super::Outcome;
use crate::chance::Chance;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is written and lost together.
const SECTOR: usize = 512;

/// A number that the layer and this program share; the order is that of `faults.c`.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub enum Slot {
    /// Bytes by which files may still grow.
    Room,
    /// Writes and syncs so far.
    Calls,
    /// The number of the call that fails; 0 if none does.
    FailAt,
    /// Whether every later one fails too.
    Sticky,
    /// Whether a sync of a write-ahead log only says that it was done.
    Lie,
    /// Calls that were made to fail.
    Failed,
    /// The number of the call at which the process is killed; 0 if at none.
    DieAt,
}

/// As much room as one likes.
pub const ROOMY: u64 = u64::MAX;

/// See the head of the file.
pub struct Disk {
    layer: PathBuf,
    /// The directory whose files are watched.
    home: PathBuf,
    control: File,
    control_path: PathBuf,
    shadow: PathBuf,
}

/// What survives a power cut of what was never synced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// Nothing.
    All,
    /// Any sectors of it, and the names of files or not.
    Torn,
}

impl Disk {
    /// A disk under `home`, with its own things in `folder`. Nothing fails yet.
    pub fn new(layer: &Path, home: &Path, folder: &Path) -> Outcome<Self> {
        fs::create_dir_all(folder)?;
        let control_path = folder.join("control");
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&control_path)?;
        control.set_len(4096)?;
        let disk = Self {
            layer: layer.to_owned(),
            home: home.to_owned(),
            control,
            control_path,
            shadow: folder.join("shadow"),
        };
        disk.set(Slot::Room, ROOMY)?;
        Ok(disk)
    }

    /// Puts the layer under a process.
    pub fn under(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.layer);
        command.env("CARNET_FAULTS_DIR", &self.home);
        command.env("CARNET_FAULTS_CONTROL", &self.control_path);
        command.env("CARNET_FAULTS_SHADOW", &self.shadow);
    }

    /// Sets a number.
    pub fn set(&self, slot: Slot, value: u64) -> io::Result<()> {
        self.control.write_all_at(&value.to_ne_bytes(), slot as u64 * 8)
    }

    /// Reads a number.
    pub fn get(&self, slot: Slot) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, slot as u64 * 8)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Nothing fails from here on, and calls are counted from the beginning.
    pub fn heal(&self) -> io::Result<()> {
        use Slot::{Calls, DieAt, FailAt, Failed, Lie, Sticky};
        for slot in [Calls, FailAt, Sticky, Lie, Failed, DieAt] {
            self.set(slot, 0)?;
        }
        self.set(Slot::Room, ROOMY)
    }

    /// Takes everything that lies there now for synced. No process may be running.
    pub fn settle(&self) -> Outcome<()> {
        if self.shadow.exists() {
            fs::remove_dir_all(&self.shadow)?;
        }
        let (data, names) = (self.shadow.join("data"), self.shadow.join("names"));
        fs::create_dir_all(&data)?;
        fs::create_dir_all(&names)?;
        for (name, path) in files(&self.home)? {
            if name.ends_with("-shm") {
                // A map of shared memory, made anew by whoever opens the database.
                fs::remove_file(path)?;
                continue;
            }
            let kept = data.join(fs::metadata(&path)?.ino().to_string());
            fs::copy(&path, &kept)?;
            fs::hard_link(&kept, names.join(name))?;
        }
        Ok(())
    }

    /// Cuts the power of a node whose process was just killed: what was not synced is gone. Tells how
    /// many bytes that is.
    pub fn cut(&self, cut: Cut, chance: &mut Chance) -> Outcome<u64> {
        // The names that were written may have reached the disk by themselves.
        let late_names = cut == Cut::Torn && chance.one_in(2);
        let data = files(&self.shadow.join("data"))?;
        let mut real = BTreeMap::new();
        let mut current = BTreeMap::new();
        for (name, path) in files(&self.home)? {
            let inode = fs::metadata(&path)?.ino();
            let written = fs::read(&path)?;
            current.insert(name, inode);
            real.insert(inode, written);
        }
        let mut content = BTreeMap::new();
        let mut of_shadow = BTreeMap::new();
        for (number, path) in data {
            let inode: u64 = number.parse()?;
            of_shadow.insert(fs::metadata(&path)?.ino(), inode);
            content.insert(inode, fs::read(&path)?);
        }
        let mut left = BTreeMap::new();
        for (name, path) in files(&self.shadow.join("names"))? {
            let inode = of_shadow.get(&fs::metadata(&path)?.ino()).copied();
            left.insert(name, (inode, fs::read(&path)?));
        }
        if late_names {
            left = current
                .iter()
                .map(|(name, inode)| {
                    let synced = content.get(inode).cloned().unwrap_or_default();
                    (name.clone(), (Some(*inode), synced))
                })
                .collect();
        }
        for (_, path) in files(&self.home)? {
            fs::remove_file(path)?;
        }
        let mut lost = 0;
        for (name, (inode, synced)) in left {
            if name.ends_with("-shm") {
                continue;
            }
            let written = inode.and_then(|inode| real.get(&inode));
            lost += written.map_or(0, |written| differing(&synced, written));
            let bytes = match (cut, written) {
                (Cut::Torn, Some(written)) => torn(&synced, written, chance),
                _ => synced,
            };
            fs::write(self.home.join(name), bytes)?;
        }
        Ok(lost)
    }
}

/// In how many bytes two versions of a file differ.
fn differing(synced: &[u8], written: &[u8]) -> u64 {
    let inside = synced.iter().zip(written).filter(|(a, b)| a != b).count();
    (inside + synced.len().abs_diff(written.len())) as u64
}

/// Of two versions of a file, each sector of either.
fn torn(synced: &[u8], written: &[u8], chance: &mut Chance) -> Vec<u8> {
    let (short, long) =
        (synced.len().min(written.len()) as u64, synced.len().max(written.len()) as u64);
    let length = match chance.below(3) {
        0 => synced.len(),
        1 => written.len(),
        _ => chance.between(short, long) as usize,
    };
    // From one cut to the next, much, little or half of it had reached the disk.
    let share = chance.between(0, 8);
    let mut bytes = vec![0; length];
    for at in (0..length).step_by(SECTOR) {
        let end = length.min(at + SECTOR);
        let from = if chance.below(8) < share { written } else { synced };
        let had = from.get(at..end.min(from.len())).unwrap_or_default();
        bytes[at..at + had.len()].copy_from_slice(had);
    }
    bytes
}

/// The regular files in a folder, by name.
fn files(folder: &Path) -> Outcome<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_file_has_each_sector_of_one_version_or_the_other() {
        let (synced, written) = (vec![1; 2_000], vec![2; 5_000]);
        let mut seen = [false; 2];
        for seed in 0..200 {
            let bytes = torn(&synced, &written, &mut Chance::new(seed));
            assert!((synced.len()..=written.len()).contains(&bytes.len()));
            for sector in bytes.chunks(SECTOR) {
                let whole = sector.iter().all(|byte| *byte == 1) || sector.iter().all(|b| *b == 2);
                // Where the synced version ends there is nothing.
                let end = sector.contains(&0);
                assert!(whole || end, "{sector:?}");
                seen[usize::from(sector[0] == 2)] |= whole;
            }
        }
        assert_eq!(seen, [true, true]);
        assert_eq!(differing(&synced, &written), 5_000);
    }
}
