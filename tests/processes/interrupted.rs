//! Ctrl-C: at any time it ends a command at once, with its exit code, and loses nothing.

use super::harness::{Site, import, notes, pause, signal, wait};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

/// What C libraries do when a program ends made two in five of these a segmentation fault.
#[test]
fn a_command_that_is_interrupted_ends_at_once_and_in_order() {
    let (a, _) = Site::found("Ziguinchor");
    import(&a, &[notes(&a, 2_000)]);
    let mut interrupted = 0;
    for round in 0..20 {
        let mut command = a.command(&["verify"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("started");
        pause(40 + 20 * round);
        signal(&child, "INT");
        let ended = child.wait().expect("a child");
        match (ended.code(), ended.signal()) {
            (Some(130), _) => interrupted += 1,
            // It was done, or not listening yet.
            (Some(0), _) | (None, Some(2)) => {}
            _ => panic!("in round {round}: {ended}"),
        }
    }
    assert!(interrupted > 0, "each was over before it was interrupted");
    assert_eq!(a.json(&["verify"])["ok"], true);
}

/// Whether the program heard the signal or went on waiting for an answer was a matter of luck once.
#[test]
fn a_question_that_is_interrupted_is_over() {
    for _ in 0..6 {
        let (screen, keyboard) = terminal();
        let site = Site::new();
        let arguments = ["init", "--practice", "P", "--site", "S", "--unlock", "keyfile"];
        let mut command = site.command(&arguments);
        command.stdin(keyboard.try_clone().expect("a copy")).stdout(Stdio::null()).stderr(keyboard);
        let mut child = command.spawn().expect("started");
        // The keyboard is the child's alone: should it end, so does the screen.
        drop(command);
        let (mut shown, mut part) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&shown).contains("Type the code") {
            let length = rustix::io::read(&screen, &mut part).expect("shown");
            shown.extend_from_slice(&part[..length]);
        }
        signal(&child, "INT");
        assert_eq!(wait(&mut child, "a question"), Some(130));
        assert_eq!(site.json(&["status"])["ok"], true, "what was founded stands");
    }
}

/// A terminal: what its user sees, and what a program is given.
fn terminal() -> (OwnedFd, File) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&screen).and_then(|()| unlockpt(&screen)).expect("opened");
    let name = ptsname(&screen, Vec::new()).expect("a name");
    let name = name.to_str().expect("plain letters");
    let keyboard = File::options().read(true).write(true).open(name).expect("opened");
    (screen, keyboard)
}
