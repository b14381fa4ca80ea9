//! The bugs that are planted for the simulations stay out of the product.

use super::{Source, root, sources};
use std::fs;

/// Where they are listed, and what may name them.
const LIST: &str = "sync-protocol/src/planted.rs";

/// The names of the bugs, as their list has them.
fn names(list: &str) -> Vec<&str> {
    let all = list.split_once("[&str;").and_then(|(_, rest)| rest.split_once("];"));
    let lines = all.map_or("", |(all, _)| all).lines();
    lines.filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\",")).collect()
}

/// The lines that name the bugs' module, and whether the compiler sees them in the product.
fn uses(source: &Source) -> Vec<(usize, bool)> {
    let lines: Vec<&str> = source.text.lines().collect();
    let named = (0..lines.len()).filter(|at| lines[*at].contains("planted::"));
    named
        .map(|at| {
            let above = &lines[at.saturating_sub(3)..at];
            (at + 1, !above.iter().any(|line| line.trim() == "#[cfg(planted)]"))
        })
        .collect()
}

#[test]
fn no_bug_that_is_planted_is_in_the_product() {
    let mut breaches = Vec::new();
    let sources = sources();
    for source in sources.iter().filter(|source| !source.within(&["simulations", "tests", LIST])) {
        for (line, ships) in uses(source) {
            if ships {
                breaches
                    .push(source.breach(line, "a planted bug without #[cfg(planted)] above it"));
            }
        }
    }
    for manifest in ["Cargo.toml", "sync-protocol/Cargo.toml", "node/Cargo.toml", "cli/Cargo.toml"]
    {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        for line in text.lines().filter(|line| line.contains("planted")) {
            if !line.starts_with('#') && !line.starts_with("unexpected_cfgs") {
                breaches.push(format!("{manifest}: {line}: no feature may plant a bug"));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_bug_that_is_listed_is_planted() {
    let list = fs::read_to_string(root().join(LIST)).unwrap();
    let names = names(&list);
    assert!(names.len() >= 20, "{names:?}");
    let sources = sources();
    for name in names {
        let call = format!("planted::is(\"{name}\")");
        let hooks = sources.iter().filter(|source| !source.within(&["simulations", "tests", LIST]));
        assert!(
            hooks.clone().any(|source| flat(&source.text).contains(&call)),
            "{name} is nowhere"
        );
    }
}

/// A text in which no line break and no indentation stands between a call and what it is given.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(").replace(" )", ")")
}

#[test]
fn a_hook_that_ships_is_found() {
    let hidden = Source::new("node/src/a.rs", "#[cfg(planted)]\nif planted::is(\"x\") {}\n");
    assert_eq!(uses(&hidden), [(2, false)]);
    let ships = Source::new("node/src/a.rs", "fn f() {}\n\n\n\nif planted::is(\"x\") {}\n");
    assert_eq!(uses(&ships), [(5, true)]);
}
