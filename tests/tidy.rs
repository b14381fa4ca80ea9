//! What the compiler cannot check about the sources: layers, owners, sizes, banned calls.
//!
//! Every rule is a table; a breach is told with its file, its line and what to do instead. The
//! length of functions is clippy's (`too_many_lines`, at most 70), denied in the workspace.

#[path = "tidy/permits.rs"]
mod permits;
#[path = "tidy/planted.rs"]
mod planted;

use std::fs;
use std::path::{Path, PathBuf};

/// A file is one idea; a longer one has become two.
const FILE_LINES_MAX: usize = 600;

/// Tables, which are one idea at any length.
const TABLES: [&str; 1] = ["cli/src/words/catalogue.rs"];

/// Which modules of `node` may import which, by the first segments of a path under `crate::`.
/// A module that is missing here may not exist.
const LAYERS: [(&str, &[&str]); 15] = [
    ("base", &[]),
    ("identity", &["base"]),
    ("vault", &["base", "identity"]),
    ("access", &["base", "identity"]),
    ("audit", &["base", "identity"]),
    ("chart", &["base"]),
    // The store keeps ciphertext and must not be able to open it.
    ("store", &["base", "vault::Sealed", "vault::sealed::Sealed"]),
    ("records", &["base", "identity", "vault", "access", "audit", "chart", "store"]),
    ("sync", &["base", "identity", "access", "store", "records"]),
    ("reports", &["base", "access", "chart", "records"]),
    ("sample", &["chart"]),
    ("fhir", &["base", "access", "chart", "records", "reports"]),
    ("web", &["base", "access", "chart", "records", "reports"]),
    (
        "service",
        &[
            "base", "identity", "vault", "access", "audit", "chart", "store", "records", "sync",
            "reports", "sample", "fhir", "web",
        ],
    ),
    ("lib", &[]),
];

/// Who alone may name a crate: replacing it then touches one place.
const OWNERS: [(&str, &[&str]); 14] = [
    // The link benchmark measures its sync protocol beside ours, over a connection of its own.
    ("automerge", &["node/src/chart", "simulations/src/link"]),
    // The benchmarks compare with a bare SQLite commit.
    ("rusqlite", &["node/src/store", "simulations/src", "tests/processes"]),
    ("quinn", &["node/src/sync", "simulations/src/link"]),
    ("quinn_proto", &["node/src/sync/congestion"]),
    ("rustls", &["node/src/sync/endpoint", "node/src/sync/tls"]),
    ("chacha20poly1305", &["node/src/vault"]),
    ("hpke", &["node/src/vault"]),
    ("argon2", &["node/src/vault"]),
    ("hkdf", &["node/src/vault"]),
    ("rayon", &["node/src/records"]),
    (
        "zstd",
        &[
            "node/src/vault",
            "simulations/src/bombs",
            "simulations/src/dictionary",
            "simulations/src/link",
            "tests/processes",
        ],
    ),
    ("ed25519_dalek", &["sync-protocol/src", "node/src/identity"]),
    ("clap", &["cli/src", "simulations/src"]),
    ("tracing_subscriber", &["node/src/service", "cli/src", "tests"]),
];

/// What a part must do without: (part, path, why).
const ABSENCES: [(&str, &str, &str); 10] = [
    ("sync-protocol/src", "tokio", "the protocol is driven, it does not wait"),
    ("sync-protocol/src", "std::time", "the protocol is told the time"),
    ("sync-protocol/src", "std::net", "the protocol has no sockets"),
    ("sync-protocol/src", "std::fs", "the protocol has no disk"),
    ("sync-protocol/src", "std::thread", "the protocol has no threads"),
    ("node/src/chart", "std::fs", "charts are pure"),
    ("node/src/chart", "tokio", "charts are pure"),
    ("node/src/store", "tokio", "the store is synchronous, one thread owns it"),
    ("node/src/sample", "std::fs", "the generator is pure"),
    ("node/src/sample", "std::time", "the generator is told the day"),
];

/// A call that is banned: its text, where it is allowed all the same, and what to do instead.
struct Ban {
    call: &'static str,
    allowed: &'static [&'static str],
    instead: &'static str,
}

const BANS: [Ban; 13] = [
    ban(
        "Instant::now",
        &["node/src/base/environment.rs", "simulations/src/local/node.rs"],
        "ask base::environment for the time",
    ),
    ban("SystemTime::now", &["node/src/base/environment.rs"], "ask base::environment for the time"),
    ban("getrandom::", &["node/src/base/environment.rs"], "ask base::environment for chance"),
    ban("OsRng", &["node/src/base/environment.rs"], "ask base::environment for chance"),
    ban("thread_rng", &[], "ask base::environment for chance"),
    ban(".unwrap()", &["tests"], "return an error, or .expect() with the reason it cannot fail"),
    ban("println!", &["cli", "simulations", "tests"], "return it; only programs print"),
    ban("eprintln!", &["cli", "simulations", "tests"], "use tracing; only programs print"),
    ban("print!", &["cli", "simulations", "tests"], "return it; only programs print"),
    ban("eprint!", &["cli", "simulations", "tests"], "use tracing; only programs print"),
    ban("dbg!", &[], "remove it"),
    ban("todo!", &[], "write it"),
    ban("unimplemented!", &[], "write it, or make the case impossible"),
];

const fn ban(call: &'static str, allowed: &'static [&'static str], instead: &'static str) -> Ban {
    Ban { call, allowed, instead }
}

/// A source file, and what of it is code that ships.
struct Source {
    /// From the workspace's root, with slashes.
    path: String,
    text: String,
    /// The text with comments, literals and `#[cfg(test)]` items blanked out, line for line.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let code = without_tests(&without_comments_and_literals(text));
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    fn within(&self, places: &[&str]) -> bool {
        places.iter().any(|place| {
            self.path.strip_prefix(place).is_some_and(|rest| {
                place.ends_with(".rs") || rest.starts_with('/') || rest.starts_with('.')
            })
        })
    }

    /// The lines at which `word` stands as a word of its own.
    fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code.match_indices(word).filter_map(move |(at, _)| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            let opens = word.starts_with('.') || before.is_none_or(|c| !is_word(c));
            let closes = word.ends_with(|c| !is_word(c)) || after.is_none_or(|c| !is_word(c));
            (opens && closes).then(|| line_at(&self.code, at))
        })
    }

    fn breach(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// Every rule's breaches.
    fn breaches(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !self.text.starts_with("//!") {
            found.push(
                self.breach(1, "begin with a //! comment: purpose, invariant, what is absent"),
            );
        }
        let lines = shipped_lines(&self.code, &self.text);
        if lines > FILE_LINES_MAX && !self.within(&["tests"]) && !self.within(&TABLES) {
            let what = format!("{lines} lines outside tests, at most {FILE_LINES_MAX}: divide it");
            found.push(self.breach(FILE_LINES_MAX, &what));
        }
        for ban in &BANS {
            if !self.within(ban.allowed) {
                for line in self.lines_with(ban.call) {
                    found.push(self.breach(line, &format!("{}: {}", ban.call, ban.instead)));
                }
            }
        }
        self.owners(&mut found);
        self.layers(&mut found);
        found
    }

    fn owners(&self, found: &mut Vec<String>) {
        for (name, owners) in OWNERS {
            if !self.within(owners) {
                for line in self.crate_lines(name) {
                    let what = format!("only {} may use {name}", owners.join(", "));
                    found.push(self.breach(line, &what));
                }
            }
        }
        for (part, path, why) in ABSENCES {
            if self.within(&[part]) {
                for line in self.crate_lines(path) {
                    found.push(self.breach(line, &format!("no {path} here: {why}")));
                }
            }
        }
    }

    /// The lines that name a crate (or a path into one) as the beginning of a path.
    fn crate_lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code.match_indices(name).filter_map(move |(at, _)| {
            let before = self.code[..at].trim_end_matches(' ');
            let after = &self.code[at + name.len()..];
            let touches = self.code[..at].ends_with(is_word);
            let inner = before.ends_with("::") && !before.trim_end_matches("::").ends_with(' ');
            let used = before.ends_with("use") && after.starts_with([';', ' ']);
            let path = after.starts_with("::") || used;
            (path && !touches && !inner).then(|| line_at(&self.code, at))
        })
    }

    fn layers(&self, found: &mut Vec<String>) {
        let Some(inside) = self.path.strip_prefix("node/src/") else { return };
        let module = inside.split(['/', '.']).next().unwrap_or_default();
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            found.push(self.breach(1, &format!("module {module} has no layer in tests/tidy.rs")));
            return;
        };
        if module == "lib" {
            return;
        }
        for (line, path) in self.imports(inside) {
            let first = path.split("::").next().unwrap_or_default();
            let is_module = LAYERS.iter().any(|(name, _)| *name == first);
            let fits = allowed.iter().any(|may| {
                path.strip_prefix(may).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            });
            if first != module && is_module && !fits {
                let what = format!("{module} may not import {path}: {}", layer_help(allowed));
                found.push(self.breach(line, &what));
            }
        }
    }

    /// Every path from the crate's root, by `crate::` or by climbing with `super::`.
    fn imports(&self, inside: &str) -> Vec<(usize, String)> {
        let depth = inside.matches('/').count() + 1;
        let root = format!("{}::", vec!["super"; depth].join("::"));
        ["crate::", root.as_str()]
            .into_iter()
            .flat_map(|root| {
                self.code.match_indices(root).filter_map(move |(at, _)| {
                    let start = !self.code[..at].ends_with(|c| is_word(c) || c == ':');
                    start.then(|| (line_at(&self.code, at), &self.code[at + root.len()..]))
                })
            })
            .flat_map(|(line, rest)| tree(rest).into_iter().map(move |path| (line, path)))
            .collect()
    }
}

fn layer_help(allowed: &[&str]) -> String {
    match allowed {
        [] => "it stands at the bottom".to_owned(),
        _ => format!("only {}", allowed.join(", ")),
    }
}

/// The paths of a use tree that begins here: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn tree(text: &str) -> Vec<String> {
    let text = text.trim_start();
    if let Some(inner) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut parts = vec![String::new()];
        for c in inner.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    parts.push(String::new());
                    continue;
                }
                _ => {}
            }
            parts.last_mut().expect("one part at least").push(c);
        }
        return parts.iter().filter(|part| !part.trim().is_empty()).flat_map(|p| tree(p)).collect();
    }
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(rest) if rest.trim_start().starts_with(|c| is_word(c) || c == '{') => {
            tree(rest).into_iter().map(|path| format!("{first}::{path}")).collect()
        }
        _ => vec![first.to_owned()],
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_at(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// How many lines ship: those that are not blanked as tests. A comment counts, as one reads it.
fn shipped_lines(code: &str, text: &str) -> usize {
    let blanked = without_comments_and_literals(text);
    let tests = blanked
        .lines()
        .zip(code.lines())
        .filter(|(before, after)| !before.trim().is_empty() && after.trim().is_empty())
        .count();
    text.lines().count() - tests
}

/// Blanks comments and the insides of literals, keeping every line break.
fn without_comments_and_literals(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match (bytes[at], bytes.get(at + 1)) {
            ('/', Some('/')) => until(&bytes, at, |rest| rest[0] == '\n'),
            ('/', Some('*')) => block_comment(&bytes, at),
            ('"', _) => string(&bytes, at),
            ('r', Some('"' | '#')) if !out.ends_with(is_word) => raw_string(&bytes, at),
            ('\'', Some('\\')) => until(&bytes, at + 3, |rest| rest[0] == '\'') + 1,
            ('\'', Some(_)) if bytes.get(at + 2) == Some(&'\'') => at + 3,
            _ => {
                out.push(bytes[at]);
                at += 1;
                continue;
            }
        };
        let end = end.min(bytes.len());
        out.extend(bytes[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn until(text: &[char], from: usize, found: impl Fn(&[char]) -> bool) -> usize {
    (from..text.len()).find(|at| found(&text[*at..])).unwrap_or(text.len())
}

fn block_comment(text: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < text.len() {
        match text[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn string(text: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string(text: &[char], from: usize) -> usize {
    let quote = until(text, from + 1, |rest| rest[0] != '#');
    if text.get(quote) != Some(&'"') {
        // A raw identifier: r#type.
        return from + 2;
    }
    let hashes = quote - from - 1;
    until(text, quote + 1, |rest| {
        rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|c| *c == '#')
    }) + 1
        + hashes
}

/// Blanks each item under `#[cfg(test)]`, and all of a file under `#![cfg(test)]`, keeping every
/// line break.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    if code.contains("#![cfg(test)]") {
        return blank(code);
    }
    let mut out = String::new();
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        let item = &rest[start + MARK.len()..];
        let mut depth = 0;
        let mut length = item.len();
        for (at, c) in item.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (c == '}' || c == ';') {
                length = at + 1;
                break;
            }
        }
        let end = start + MARK.len() + length;
        out.push_str(&rest[..start]);
        out.extend(rest[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[end..];
    }
    out + rest
}

/// The sources, with those blanked that are modules declared under `#[cfg(test)]`.
fn with_test_modules(mut sources: Vec<Source>) -> Vec<Source> {
    let tests: Vec<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        if source.within(&tests.iter().map(String::as_str).collect::<Vec<_>>()) {
            source.code = blank(&source.code);
        }
    }
    sources
}

/// Where the modules lie that a source declares under `#[cfg(test)]`, without their `.rs`.
fn test_modules(source: &Source) -> Vec<String> {
    let stem = source.path.strip_suffix(".rs").unwrap_or(&source.path);
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let home = if matches!(name, "lib" | "main") { folder } else { stem };
    without_comments_and_literals(&source.text)
        .split("#[cfg(test)]")
        .skip(1)
        .filter_map(|item| item.split_once(';')?.0.trim().strip_prefix("mod ").map(str::to_owned))
        .filter(|module| module.chars().all(is_word))
        .map(|module| format!("{home}/{module}"))
        .collect()
}

fn blank(code: &str) -> String {
    code.chars().map(|c| if c == '\n' { c } else { ' ' }).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a member").to_path_buf()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder's entry is readable").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// Every source of the workspace, with its tests blanked.
fn sources() -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found in {}", root.display());
    let sources = files.iter().map(|path| {
        let text = fs::read_to_string(path).expect("a source file is readable text");
        let inside = path.strip_prefix(&root).expect("collected under the root");
        Source::new(&inside.to_string_lossy().replace('\\', "/"), &text)
    });
    with_test_modules(sources.collect())
}

#[test]
fn the_sources_keep_the_rules() {
    let sources = sources();
    let mut breaches: Vec<String> = sources.iter().flat_map(Source::breaches).collect();
    breaches.extend(permits::breaches(&sources));
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}

#[test]
fn every_member_takes_the_workspaces_lints() {
    let workspace =
        fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    for lint in ["unsafe_code = \"forbid\"", "missing_docs = \"deny\"", "too_many_lines = \"deny\""]
    {
        assert!(workspace.contains(lint), "Cargo.toml has lost {lint}");
    }
    for member in ["sync-protocol", "node", "cli", "tests", "simulations"] {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml"))
            .unwrap_or_else(|error| panic!("{member}: {error}"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{member} has lints of its own");
    }
}

/// The checker itself: made-up sources that must, or must not, be found fault with.
mod checker {
    use super::*;

    #[track_caller]
    fn finds(path: &str, text: &str, expected: &[&str]) {
        let found = Source::new(path, &format!("//! Head.\n{text}")).breaches();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (breach, part) in found.iter().zip(expected) {
            assert!(breach.contains(part), "{breach:?} does not say {part:?}");
        }
    }

    #[test]
    fn an_upward_or_sideways_import_is_a_breach() {
        finds("node/src/base/file.rs", "use crate::store::Ledger;", &[":2: base may not"]);
        finds("node/src/chart.rs", "use crate::vault::Sealed;", &["chart may not import"]);
        finds("node/src/store/ledger.rs", "fn f(_: crate::chart::Document) {}", &["store may not"]);
        finds(
            "node/src/store/ledger.rs",
            "use super::super::records::Records;",
            &["store may not"],
        );
        finds("node/src/sync.rs", "use super::service::Node;", &["sync may not"]);
        finds(
            "node/src/store.rs",
            "use crate::{base::private::Private,\n    vault::{Sealed, open}};",
            &["import vault::open"],
        );
        finds("node/src/unheard.rs", "", &["has no layer"]);
    }

    #[test]
    fn a_downward_import_is_fine_and_so_is_one_in_a_test() {
        finds("node/src/records/read.rs", "use crate::{chart::View, store::Index};", &[]);
        finds("node/src/store/index.rs", "use super::ledger::Ledger;\nuse crate::store::Row;", &[]);
        finds(
            "node/src/base.rs",
            "// crate::store is above\nconst A: &str = \"crate::store\";",
            &[],
        );
        finds(
            "node/src/base.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::store::X;\n    fn f() { None::<u8>.unwrap(); }\n}",
            &[],
        );
    }

    #[test]
    fn a_banned_call_is_a_breach_except_where_it_is_allowed() {
        finds("node/src/sync.rs", "fn f() { std::time::Instant::now(); }", &["Instant::now"]);
        finds("node/src/base/environment.rs", "fn f() { Instant::now(); }", &[]);
        finds("node/src/vault.rs", "fn f() { getrandom::fill(b); }", &["ask base::environment"]);
        finds("cli/src/main.rs", "fn f() { println!(\"{}\", x.unwrap()); }", &[".unwrap()"]);
        finds(
            "node/src/store.rs",
            "fn f() { println!(); eprintln!(); }",
            &["println!", "eprintln!"],
        );
        finds("simulations/src/main.rs", "fn f() { todo!() }", &["todo!"]);
        finds("node/src/store.rs", "fn f() { x.unwrap_or(1); my_todo!(); /* dbg!() */ }", &[]);
        finds("node/src/store.rs", "#[cfg(test)]\nuse x::y;\nfn f() { dbg!(1); }", &[":4: dbg!"]);
    }

    #[test]
    fn a_heavy_crate_has_one_owner() {
        finds("node/src/records.rs", "use automerge::AutoCommit;", &["only node/src/chart"]);
        finds("node/src/chart/document.rs", "use automerge::{self, ROOT};", &[]);
        finds("node/src/charts.rs", "", &["has no layer"]);
        finds("node/src/service.rs", "fn f(_: ::rusqlite::Connection) {}", &["may use rusqlite"]);
        finds("node/src/sync/endpoint.rs", "use quinn::Endpoint;\nuse rustls;", &[]);
        finds("node/src/sync/schedule.rs", "use rustls;", &["may use rustls"]);
        finds("node/src/records.rs", "use crate::chart::automerge::X;\nlet zstd = 1;", &[]);
        finds("sync-protocol/src/session.rs", "use std::time::Duration;", &["told the time"]);
    }

    #[test]
    fn a_file_has_a_head_and_an_end() {
        let headless = Source::new("cli/src/main.rs", "fn main() {}\n").breaches();
        assert!(headless.len() == 1 && headless[0].contains("begin with"), "{headless:?}");
        let long = "fn f() {}\n".repeat(FILE_LINES_MAX);
        finds("node/src/store.rs", &long, &["601 lines"]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
        finds("node/src/store.rs", &tests, &[]);
        finds("node/src/store.rs", &format!("#![cfg(test)]\n{long}"), &[]);
    }

    #[test]
    fn a_module_declared_as_a_test_is_one_with_all_below_it() {
        let declares = "//! Head.\n#[cfg(test)]\nmod tests;\nmod code;\n";
        let bad = "//! Head.\nfn f() { dbg!(1); }\n";
        let breaches = |path: &str| {
            let sources = vec![Source::new("node/src/store.rs", declares), Source::new(path, bad)];
            with_test_modules(sources).iter().flat_map(Source::breaches).count()
        };
        assert_eq!(breaches("node/src/store/tests.rs"), 0);
        assert_eq!(breaches("node/src/store/tests/deep.rs"), 0);
        assert_eq!(breaches("node/src/store/code.rs"), 1);
        assert_eq!(breaches("node/src/chart/tests.rs"), 1);
    }

    #[test]
    fn literals_and_comments_are_no_code() {
        for text in [
            "let a = r#\"dbg!() \" \"#; let b = '\"'; let c = '\\''; // dbg!()",
            "/* a /* dbg!() */ dbg!() */ fn f<'a>(x: &'a str) {}",
            "let a = \"\\\" dbg!()\";",
        ] {
            finds("node/src/store.rs", text, &[]);
            finds("node/src/store.rs", &format!("{text}\ndbg!(1);"), &[":3: dbg!"]);
        }
    }
}
