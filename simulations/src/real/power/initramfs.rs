//! What the emulated machine starts from: a file system in memory with busybox, the two programs,
//! the libraries that they are linked with, and the modules that the kernel needs for its disk.

use super::super::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What must be loaded for a disk with ext4, each with what it depends on before it.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];

/// An archive as the kernel unpacks it: cpio, "newc".
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<PathBuf>,
    count: u32,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

impl Archive {
    /// A folder, and those that it lies in.
    pub fn folder(&mut self, path: &Path) {
        let Some(parent) = path.parent() else { return };
        self.folder(parent);
        if self.folders.insert(path.to_owned()) {
            self.put(path, FOLDER, &[]);
        }
    }

    /// A file that may be run.
    pub fn program(&mut self, path: &str, content: &[u8]) {
        self.within(path, PROGRAM, content);
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, to: &str) {
        self.within(path, LINK, to.as_bytes());
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.put(Path::new("/TRAILER!!!"), 0, &[]);
        self.bytes
    }

    fn within(&mut self, path: &str, mode: u32, content: &[u8]) {
        let path = Path::new(path);
        if let Some(parent) = path.parent() {
            self.folder(parent);
        }
        self.put(path, mode, content);
    }

    fn put(&mut self, path: &Path, mode: u32, content: &[u8]) {
        let name = path.to_string_lossy();
        let name = name.trim_start_matches('/');
        self.count += 1;
        let fields = [
            self.count,
            mode,
            0,
            0,
            1,
            0,
            content.len() as u32,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

/// Puts a program there, without its symbols where they can be left out, and what it is linked with.
pub fn add_program(archive: &mut Archive, name: &str, file: &Path, folder: &Path) -> Outcome<()> {
    let stripped = folder.join(name);
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(file).output();
    let small = strip.is_ok_and(|done| done.status.success());
    archive.program(&format!("/bin/{name}"), &fs::read(if small { &stripped } else { file })?);
    for library in libraries(file)? {
        let path = library.to_string_lossy().into_owned();
        if archive.folders.contains(&library) {
            continue;
        }
        // The set of folders also remembers what was put there already.
        archive.program(&path, &fs::read(&library)?);
        archive.folders.insert(library);
    }
    Ok(())
}

/// The files that the dynamic linker would load for a program.
fn libraries(program: &Path) -> Outcome<Vec<PathBuf>> {
    let told = Command::new("ldd").arg(program).output()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let paths =
        told.lines().filter_map(|line| line.split_whitespace().find(|w| w.starts_with('/')));
    Ok(paths.map(PathBuf::from).collect())
}

/// Puts the modules there; the lines of a script that load them in order.
pub fn add_modules(archive: &mut Archive, modules: &Path) -> Outcome<String> {
    let mut found = BTreeMap::new();
    find(modules, &mut found)?;
    let built_in = fs::read_to_string(modules.join("modules.builtin")).unwrap_or_default();
    let mut order = Vec::new();
    for name in MODULES {
        let file = format!("/{}.ko", name.replace('_', "-"));
        let there = built_in.replace('_', "-").lines().any(|line| line.ends_with(&file));
        if !there {
            with_needs(name, &found, &mut order)?;
        }
    }
    let mut script = String::new();
    for name in order {
        let path = format!("/modules/{name}.ko");
        archive.program(&path, &fs::read(&found[&name])?);
        script += &format!("insmod {path}\n");
    }
    Ok(script)
}

fn find(folder: &Path, found: &mut BTreeMap<String, PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find(&entry.path(), found)?;
        } else if let Some(name) = entry.file_name().to_string_lossy().strip_suffix(".ko") {
            found.insert(name.replace('-', "_"), entry.path());
        }
    }
    Ok(())
}

/// A module after those that it says it depends on. A package that was only unpacked has no
/// `modules.dep`, but each module says so itself.
fn with_needs(
    name: &str,
    found: &BTreeMap<String, PathBuf>,
    order: &mut Vec<String>,
) -> Outcome<()> {
    if order.iter().any(|known| known == name) {
        return Ok(());
    }
    let file = found.get(name).ok_or_else(|| {
        format!(
            "the kernel's module {name} is missing, or compressed (only .ko can be loaded here)"
        )
    })?;
    for needed in needs(&fs::read(file)?) {
        with_needs(&needed, found, order)?;
    }
    order.push(name.to_owned());
    Ok(())
}

fn needs(module: &[u8]) -> Vec<String> {
    const MARK: &[u8] = b"\0depends=";
    let Some(at) = module.windows(MARK.len()).position(|window| window == MARK) else {
        return Vec::new();
    };
    let list = module[at + MARK.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(list).replace('-', "_");
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_folders_before_what_lies_in_them_and_pads_to_four_bytes() {
        let mut archive = Archive::default();
        archive.program("/a/b/c", b"12345");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        let at = |name: &str| text.find(name).expect("it is there");
        assert!(at("a\0") < at("a/b\0") && at("a/b\0") < at("a/b/c\0"));
        assert_eq!(text.matches("070701").count(), 4);
        for (place, _) in text.match_indices("070701") {
            assert_eq!(place % 4, 0);
        }
    }

    #[test]
    fn a_module_says_what_it_needs() {
        assert_eq!(needs(b"..\0depends=jbd2,crc-16\0name=ext4"), ["jbd2", "crc_16"]);
        assert!(needs(b"..\0depends=\0name=x").is_empty() && needs(b"").is_empty());
    }
}
