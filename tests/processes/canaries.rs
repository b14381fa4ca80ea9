//! Nothing that names a patient stands in any file of a node in a form that can be read.

use super::harness::{Site, import, patients, read_files, until};
use carnet_tests::sample_data;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How many patients are invented.
const PATIENTS: u32 = 120;
/// How many of their names, addresses and numbers are looked for at least.
const CANARIES_MIN: usize = 500;
/// Shorter texts occur by chance in a few megabytes of sealed bytes.
const CANARY_BYTES_MIN: usize = 7;
/// Every text is found by its first bytes; see [`Canaries`].
const STEM: usize = 6;

/// Bytes to which something in a file or packet is unpacked at most.
const UNPACKED_MAX: u64 = 1 << 20;

/// Texts that must not be found, by their first bytes, in every encoding that is looked for: UTF-8,
/// UTF-16, hexadecimal digits, base64.
pub struct Canaries {
    stems: HashSet<[u8; STEM]>,
    /// A bit for each pair of first bytes: most places of a file are passed over by it.
    pairs: Vec<bool>,
    forms: Vec<Vec<u8>>,
    pub count: usize,
}

impl Canaries {
    pub fn new(texts: &BTreeSet<String>) -> Self {
        let mut forms: Vec<Vec<u8>> = texts.iter().flat_map(|text| forms(text)).collect();
        forms.retain(|form| form.len() >= STEM);
        let stem = |form: &Vec<u8>| <[u8; STEM]>::try_from(&form[..STEM]).expect("long enough");
        let stems = forms.iter().map(stem).collect();
        let mut pairs = vec![false; 1 << 16];
        for form in &forms {
            pairs[usize::from(u16::from_le_bytes([form[0], form[1]]))] = true;
        }
        Self { stems, pairs, forms, count: texts.len() }
    }

    /// The texts that stand in these bytes, or in what they unpack to.
    pub fn found_within(&self, content: &[u8]) -> Vec<String> {
        let mut found = self.found_in(content);
        for unpacked in unpacked(content) {
            found.extend(self.found_in(&unpacked));
        }
        found
    }

    /// The texts that stand in these bytes.
    pub fn found_in(&self, content: &[u8]) -> Vec<String> {
        let mut found = BTreeSet::new();
        for (at, window) in content.windows(STEM).enumerate() {
            if self.pairs[usize::from(u16::from_le_bytes([window[0], window[1]]))]
                && self.stems.contains(window)
            {
                let here = self.forms.iter().filter(|form| content[at..].starts_with(form));
                found.extend(here.map(|form| String::from_utf8_lossy(form).into_owned()));
            }
        }
        found.into_iter().collect()
    }

    /// Looks through every file of the directories; tells how many there were.
    #[track_caller]
    pub fn must_be_absent(&self, dirs: &[PathBuf], when: &str) -> BTreeSet<String> {
        let mut files = Vec::new();
        for dir in dirs {
            read_files(dir, &mut files);
        }
        for (path, content) in &files {
            let found = self.found_within(content);
            assert_eq!(found, Vec::<String>::new(), "{when}: {}", path.display());
        }
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        files.iter().map(|(path, _)| name(path)).collect()
    }
}

/// A text as it may be written.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut forms = vec![
        bytes.to_vec(),
        text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        HEXLOWER.encode(bytes).into_bytes(),
        HEXUPPER.encode(bytes).into_bytes(),
    ];
    for before in 0..3 {
        let padded = [&[0; 2][..before.min(2)], bytes].concat();
        for base64 in [BASE64_NOPAD, BASE64URL_NOPAD] {
            // The characters that depend on what stands before and behind are left out.
            let encoded = base64.encode(&padded).into_bytes();
            forms.push(encoded[(before * 8).div_ceil(6)..padded.len() * 8 / 6].to_vec());
        }
    }
    forms
}

/// What zstd, gzip and zlib make of the bytes, wherever something of theirs seems to begin, and what
/// deflate makes of them from the start.
fn unpacked(content: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    // What comes out before something is found to be wrong is looked at too.
    let mut read = |mut from: Box<dyn Read + '_>| {
        let mut unpacked = vec![0; 4_096];
        let mut length = 0;
        while let Ok(count @ 1..) = from.read(&mut unpacked[length..]) {
            length += count;
            unpacked.resize((length + 4_096).min(UNPACKED_MAX as usize), 0);
        }
        unpacked.truncate(length);
        all.extend((length >= STEM).then_some(unpacked));
    };
    read(Box::new(DeflateDecoder::new(content)));
    for (at, begin) in content.windows(4).enumerate() {
        let rest = &content[at..];
        match begin {
            [0x28, 0xb5, 0x2f, 0xfd] => {
                read(Box::new(zstd::stream::Decoder::new(rest).expect("a decoder")));
            }
            [0x1f, 0x8b, 8, _] => read(Box::new(GzDecoder::new(rest))),
            [0x78, 0x01 | 0x5e | 0x9c | 0xda, _, _] => read(Box::new(ZlibDecoder::new(rest))),
            _ => {}
        }
    }
    all
}

/// What names a patient: collected from the Patient resources of a bundle.
pub fn collect(bundle: &Value, texts: &mut BTreeSet<String>) {
    let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    for patient in entries.iter().map(|entry| &entry["resource"]) {
        if patient["resourceType"] != "Patient" {
            continue;
        }
        for (element, members) in [
            ("name", &["family", "given", "text"][..]),
            ("address", &["line", "text"][..]),
            ("identifier", &["value"][..]),
            ("telecom", &["value"][..]),
        ] {
            for part in patient[element].as_array().into_iter().flatten() {
                members.iter().for_each(|member| strings(&part[*member], texts));
            }
        }
    }
}

fn strings(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.len() >= CANARY_BYTES_MIN => {
            texts.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, texts)),
        _ => {}
    }
}

/// Third-party patients, where they are on this machine: those whose names begin with A.
fn third_party() -> Vec<PathBuf> {
    let Some(folder) = sample_data().map(|data| data.join("synthea")).filter(|dir| dir.is_dir())
    else {
        println!("no third-party charts here (CARNET_SAMPLES): invented patients only");
        return Vec::new();
    };
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let begins = |name: &str| name.starts_with('A') && name.ends_with(".json.gz");
    entries
        .filter(|entry| begins(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect()
}

fn gunzip(path: &Path) -> Value {
    let mut text = Vec::new();
    let file = fs::File::open(path).expect("opened");
    flate2::read::GzDecoder::new(file).read_to_end(&mut text).expect("unzipped");
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn no_file_of_a_node_tells_who_its_patients_are() {
    let (a, _) = Site::found("Ziguinchor");
    let mut files = patients(&a, 11, PATIENTS);
    let mut texts = BTreeSet::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("read");
        collect(&serde_json::from_str(&text).expect("JSON"), &mut texts);
    }
    let foreign = third_party();
    foreign.iter().for_each(|path| collect(&gunzip(path), &mut texts));
    files.extend(foreign.iter().map(|path| path.display().to_string()));
    let canaries = Canaries::new(&texts);
    assert!(canaries.count >= CANARIES_MIN, "only {} texts to look for", canaries.count);
    println!("{} texts of {} patients", canaries.count, files.len());

    // Logs at their most talkative.
    let talkative = [("CARNET_LOG", "debug")];
    let first = a.start_with(&["--sync-listen", "127.0.0.1:0"], &talkative);
    let b = Site::joined(&a.invite(&["--site", "Kolda"]));
    let second = b.start_with(&[], &talkative);
    import(&a, &files);
    until("B is in sync", 30_000, || b.json(&["sync"])["peers"][0]["in_sync"] == true);
    let known = texts.iter().find(|text| text.chars().all(char::is_alphabetic)).expect("a name");
    let found = b.json(&["patient", "search", known]);
    assert_ne!(found, json!([]), "{known} is not found, although it is there");
    b.refused(&["chart", "show", &format!("Patient/{known}")], 1, "");
    assert_eq!(a.digest(), b.digest());

    let dirs = [a.dir(), b.dir()];
    let names = canaries.must_be_absent(&dirs, "while the nodes run");
    for file in
        ["log.db", "log.db-wal", "log.db-shm", "index.db", "index.db-wal", "device.db", "keyring"]
    {
        assert!(names.contains(file), "{file} is not among {names:?}");
    }
    assert!(names.iter().any(|name| name.ends_with(".log")), "no log among {names:?}");
    assert_eq!((first.terminate(), second.terminate()), (Some(0), Some(0)));
    canaries.must_be_absent(&dirs, "after the nodes have ended");

    // The search finds what is there, however it is written, in a file of any name and depth.
    let deep = a.dir().join("logs").join("deep");
    fs::create_dir(&deep).expect("a folder");
    let utf16: Vec<u8> = known.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let base64 = BASE64_NOPAD.encode(format!("x{known}yz").as_bytes()).into_bytes();
    let zstd = zstd::bulk::compress(known.as_bytes(), 3).expect("compressed");
    for planted in
        [known.as_bytes(), &utf16, HEXLOWER.encode(known.as_bytes()).as_bytes(), &base64, &zstd]
    {
        let mut content = vec![0xa5; 100_001];
        content.extend_from_slice(planted);
        content.push(0);
        fs::write(deep.join("planted"), &content).expect("written");
        let mut files = Vec::new();
        read_files(&a.dir(), &mut files);
        let hits = files.iter().filter(|(_, content)| !canaries.found_within(content).is_empty());
        assert_eq!(hits.count(), 1);
    }
}

#[test]
fn a_process_that_ends_badly_leaves_no_core() {
    let (site, _) = Site::found("Ziguinchor");
    let daemon = site.start(&[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.id())).expect("its limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{core:?}");
    daemon.signal("ABRT");
    assert_eq!(daemon.ended(), None, "it ends by the signal");
    let mut left = Vec::new();
    read_files(&site.dir(), &mut left);
    let here = std::env::current_dir().expect("a directory");
    let mut names: Vec<PathBuf> = left.into_iter().map(|(path, _)| path).collect();
    names.extend(fs::read_dir(here).expect("listed").map(|entry| entry.expect("an entry").path()));
    let is_core = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core"))
    };
    assert!(!names.iter().any(is_core), "{names:?}");
}
