//! That nothing is read or written at the door without a permit: every public function of
//! `Records` takes one and asks whether it holds before it does anything else. Those that need
//! none are listed here, each with its reason; another one is a breach until somebody has written
//! down why.

use super::{Source, is_word};

/// Functions that hand out and change nothing of a chart.
const WITHOUT: &[(&str, &str)] = &[
    ("init", "founds a practice: there is nothing to see yet"),
    ("restore", "makes a node of ciphertext and the recovery code, which is asked for"),
    ("open", "opens the directory, locked"),
    ("close", "closes it"),
    ("dir", "where the node lies"),
    ("environment", "time and chance"),
    ("keyring", "public keys, and how the node is protected"),
    ("roster", "the control channel, which is clear text"),
    ("practice", "the practice's public key"),
    ("is_locked", "says whether it is locked"),
    ("unlock", "proves a secret of its own"),
    ("change_passphrase", "proves a secret of its own"),
    ("lock", "takes access away"),
    ("author", "who this node is"),
    ("begin_incarnation", "a new number for this node's logs"),
    ("commit", "makes durable what calls with permits did"),
    ("has_backlog", "says whether the index is behind"),
    ("catch_up", "brings the index up to date, inside"),
    ("project_slice", "brings the index up to date, inside"),
    ("frontier", "how far logs are held: ids and numbers"),
    ("load", "sealed entries for a peer that is certified"),
    ("known", "ids and numbers"),
    ("waypoints", "ids and numbers"),
    ("admits", "whether a node may sync"),
    ("codecs", "what this node can compress and read"),
    ("joint", "the same for a peer that holds their keys: asks whether it may"),
    ("open_joint", "entries of a peer, checked by their author's signature"),
    ("opener", "the same on another thread: what it makes again is sealed"),
    ("receive", "sealed entries of a peer, checked by their signatures"),
    ("receive_of_peer", "the same"),
    ("answer_join", "checks the invitation's own secret"),
    ("nodes", "the control channel, which is clear text"),
    ("transport_key", "a public key"),
    ("own_certificate", "a public certificate"),
    ("status", "counts, and what is wrong; works while locked"),
    ("peers", "addresses"),
    ("put_peer", "addresses"),
    ("remove_peer", "addresses"),
    ("note_peer_frontier", "ids and numbers, from a session"),
    ("keep_receipt", "ids and numbers, from a session"),
    ("last_receipt", "ids and numbers"),
    ("authorize", "makes the permits"),
    ("tighten", "takes rights away"),
    ("let_unlock", "keeps a way in that the roster allows, after a password was found right"),
    ("begin_own_compaction", "shows nothing; the node does it for itself"),
    ("compact_slice", "goes on with what a permit or the node began"),
    ("give_room_back", "the length of a file"),
    ("ledger_bytes", "the length of a file"),
    ("saved_document_bytes", "how much there is"),
    ("note_settings", "adds to the trail"),
    ("note_refused", "adds to the trail"),
    ("limit_growth", "bounds the files, shows nothing"),
    ("locked_out", "tells which of the staff failed to log in here too often"),
    ("staff", "who works here, by which permits are made; whose charts were opened stays inside"),
    ("note_act", "adds to the trail"),
    ("login_begin", "finds out who it is, before there can be a permit"),
    ("login_end", "finds out who it is, before there can be a permit"),
    ("pin_begin", "finds out who it is, before there can be a permit"),
    ("pin_end", "finds out who it is, before there can be a permit"),
    ("token_actor", "finds out who it is, before there can be a permit"),
    ("open_session", "whoever calls has just logged the person in"),
    ("session_actor", "finds out who it is, before there can be a permit"),
    ("close_session", "takes access away"),
    ("set_pin", "whoever calls has proved the password"),
    ("change_own_password", "whoever calls has proved the old one"),
    ("reset_staff", "proves the recovery code"),
];

/// Functions that ask on behalf of public ones that only pass their permit on.
const RELAYS: [&str; 2] = ["say", "import_next"];

/// A function of `Records`.
struct Function<'a> {
    name: &'a str,
    public: bool,
    signature: &'a str,
    body: &'a str,
    /// Where it stands in the source.
    at: usize,
}

/// What is wrong with the functions of `Records` in these sources.
pub fn breaches(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    let mut excused = Vec::new();
    let records = |source: &&Source| source.within(&["node/src/records"]);
    for source in sources.iter().filter(records) {
        for function in functions(&source.code) {
            let line = super::line_at(&source.code, function.at);
            let name = function.name;
            if WITHOUT.iter().any(|(excused, _)| *excused == name) {
                excused.push(name);
            } else if function.public || RELAYS.contains(&name) {
                if !function.signature.contains("permit: &Permit") {
                    let what = format!("{name} takes no `permit: &Permit`: nobody may be asked");
                    found.push(source.breach(line, &what));
                } else if !asks_first(function.body) {
                    let what = format!("{name} must begin with self.require(permit, ...)");
                    found.push(source.breach(line, &what));
                }
            }
        }
    }
    let stale = WITHOUT.iter().filter(|(name, _)| !excused.contains(name));
    found.extend(stale.map(|(name, _)| format!("tests/tidy/permits.rs: {name} is no more")));
    found
}

/// Whether the first thing that is done with the records is to ask; the clock may be read before.
fn asks_first(body: &str) -> bool {
    let uses = body.match_indices("self.").map(|(at, word)| &body[at + word.len()..]);
    let first = uses.into_iter().find(|rest| !rest.starts_with("environment"));
    first.is_some_and(|rest| {
        ["require"].iter().chain(&RELAYS).any(|name| {
            rest.strip_prefix(name).is_some_and(|rest| {
                rest.strip_prefix('(').is_some_and(|rest| rest.trim_start().starts_with("permit"))
            })
        })
    })
}

/// The functions in every `impl Records` of a source.
fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    for (start, head) in code.match_indices("impl Records {") {
        let block = start + head.len() - 1;
        let end = closing(code, block);
        let mut at = block;
        while let Some(next) = code[at..end].find("fn ") {
            let start = at + next;
            at = start + 3;
            if code[..start].ends_with(is_word) {
                continue;
            }
            let name = &code[at..];
            let name = &name[..name.find(|c| !is_word(c)).unwrap_or(name.len())];
            let Some(opening) = code[at..end].find('{').map(|open| at + open) else { break };
            let close = closing(code, opening);
            let line = code[..start].rfind('\n').map_or(0, |line| line + 1);
            let before = code[line..start].trim_start();
            found.push(Function {
                name,
                public: before.starts_with("pub") && !before.starts_with("pub(super)"),
                signature: &code[start..opening],
                body: &code[opening..close],
                at: start,
            });
            at = close;
        }
    }
    found
}

/// Where the brace that opens here is closed.
fn closing(code: &str, opening: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[opening..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return opening + at;
        }
    }
    code.len()
}

/// What the checker says of functions that stand in `impl Records`; of those that are no more it
/// would always speak here.
fn told(functions: &str) -> Vec<String> {
    let text = format!("//! Head.\nimpl Records {{\n{functions}\n}}\n");
    let source = Source::new("node/src/records/made_up.rs", &text);
    breaches(&[source]).into_iter().filter(|breach| !breach.contains("is no more")).collect()
}

#[test]
fn a_public_function_without_a_permit_is_a_breach() {
    let peek = "pub fn peek(&self, id: &str) -> Result<Value, RecordsError> { self.row(id) }";
    let told_of = told(peek);
    assert!(told_of.len() == 1 && told_of[0].contains(":3: peek takes no"), "{told_of:?}");
    assert_eq!(told(&peek.replace("pub fn", "pub(crate) fn")).len(), 1);
    assert_eq!(told(&peek.replace("pub fn", "pub async fn")).len(), 1);
    for own in ["fn", "pub(super) fn"] {
        assert_eq!(told(&peek.replace("pub fn", own)), [""; 0], "{own} is within the door");
    }
}

#[test]
fn a_permit_must_be_asked_for_first() {
    let put = |body: &str| {
        told(&format!(
            "pub fn put(\n    &mut self,\n    permit: &Permit,\n) -> Result<T, E> {{\n{body}\n}}"
        ))
    };
    assert_eq!(put("self.require(permit, Action::Write)?; self.catch_up()"), [""; 0]);
    assert_eq!(put("let now = self.environment().unix_ms(); self.say(permit, now)"), [""; 0]);
    for body in [
        "self.catch_up()?; self.require(permit, Action::Write)?;",
        "drop(permit); self.row(key)",
        "// self.require(permit, Action::Write)?\nself.row(key)",
        "self.require(&operator_permit(Action::Write), Action::Write)?; self.row(key)",
        "Ok(1)",
    ] {
        assert_eq!(put(body).len(), 1, "{body}");
    }
}

#[test]
fn whoever_asks_for_others_must_ask_too() {
    let relay = "fn say(&mut self, permit: &Permit) -> T { self.write(permit) }";
    assert_eq!(told(relay).len(), 1);
    assert_eq!(told(&relay.replace("self.write(permit)", "self.require(permit, a)?; 1")), [""; 0]);
}

#[test]
fn a_reason_for_a_function_that_is_no_more_is_a_breach() {
    let all = breaches(&[]);
    assert_eq!(all.len(), WITHOUT.len());
}
