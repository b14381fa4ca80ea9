//! The texts of a note in draft, and the frames in which they stand.
//!
//! Two people may write in one text at once, so each text of a draft is kept by itself. What
//! remains of the element is its *frame*: the same members, with the name of a text wherever its
//! characters go. The frame is a register, so that two sites which change the sections apart are
//! in conflict; a text is found by its name alone, and goes along wherever the frame puts it.
//!
//! Invariant: what was taken apart is put together the same, whatever it is.

use super::grain;
use super::json::canonical;
use data_encoding::HEXLOWER;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Marks the name of a text in a frame.
const NAMED: char = '~';
/// Marks a string that stands in the frame itself.
const PLAIN: char = '=';

/// The members of an element, such as `section` and `_section`.
pub(crate) type Members = Map<String, Value>;

/// What of a path is left to walk; `*` is a step that lies in itself again.
type Way = Vec<&'static str>;

/// The name of the text that an operation makes. Operations are unique, so two people who write
/// the same note apart never make two texts under one name, of which one would be hidden.
pub(crate) fn text_name(actor: &[u8; 16], counter: u64) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("carnet 2026 text name v1");
    hasher.update(actor);
    hasher.update(&counter.to_le_bytes());
    HEXLOWER.encode(&hasher.finalize().as_bytes()[..8])
}

/// The register of a text: `section/0123456789abcdef`.
pub(crate) fn text_register(element: &str, name: &str) -> String {
    format!("{element}/{name}")
}

/// The element that a register is part of: a text's own, or itself.
pub(crate) fn element_around(register: &str) -> &str {
    register.split_once('/').map_or(register, |(element, _)| element)
}

/// Whether notes of this type have texts in the element.
pub(crate) fn holds_texts(kind: &str, element: &str) -> bool {
    !ways(kind, element).is_empty()
}

fn ways(kind: &str, element: &str) -> Vec<Way> {
    grain::note(kind).map(|note| note.texts_of(element)).unwrap_or_default()
}

/// Where in an element a text stands.
#[derive(Debug, Clone, Default)]
struct Place {
    /// Says which section it is: by its id, or else by its code and title.
    address: String,
    /// All that is said around it: the titles over it, but not what else stands beside it.
    context: String,
}

/// Shows every string that stands where a text can.
fn walk(value: &mut Value, ways: &[Way], place: &Place, show: &mut dyn FnMut(&Place, &mut String)) {
    match value {
        Value::String(text) if ways.iter().any(Vec::is_empty) => show(place, text),
        Value::Array(items) => {
            let mut alike: BTreeMap<String, u32> = BTreeMap::new();
            for item in items {
                let identity = identity(item);
                let number = alike.entry(identity.clone()).or_default();
                let address = format!("{}[{identity}#{number}]", place.address);
                *number += 1;
                walk(item, ways, &Place { address, context: place.context.clone() }, show);
            }
        }
        Value::Object(members) => walk_members(members, ways, place, show),
        _ => {}
    }
}

fn walk_members(
    members: &mut Members,
    ways: &[Way],
    place: &Place,
    show: &mut dyn FnMut(&Place, &mut String),
) {
    let mut further: BTreeMap<&str, Vec<Way>> = BTreeMap::new();
    for way in ways {
        let [step, rest @ ..] = way.as_slice() else { continue };
        let next = further.entry(step.trim_end_matches('*')).or_default();
        next.push(rest.to_vec());
        if step.ends_with('*') {
            next.push(way.clone());
        }
    }
    let around = members.iter().filter(|(name, _)| !further.contains_key(name.as_str()));
    let around: Members = around.map(|(name, value)| (name.clone(), value.clone())).collect();
    let context = format!("{}{}", place.context, canonical(&Value::Object(around)));
    for (name, ways) in further {
        if let Some(value) = members.get_mut(name) {
            let address = format!("{}/{name}", place.address);
            walk(value, &ways, &Place { address, context: context.clone() }, show);
        }
    }
}

fn identity(item: &Value) -> String {
    match item.get("id") {
        Some(id) => canonical(id),
        None => {
            [item.get("code"), item.get("title")].iter().flatten().map(|v| canonical(v)).collect()
        }
    }
}

/// A text that was taken out of an element, by its name.
pub(crate) type Text = (String, String);

/// What stood in an element before: a text, or a string of the frame itself.
struct Old {
    address: String,
    text: String,
    name: Option<String>,
}

/// Takes the texts out of an element: its frame, and the texts. A text that was there before, in
/// the same section or with the same words, keeps its name; a new one is named by `name`. Nothing
/// if there is no text in it.
pub(crate) fn take_apart(
    (kind, element): (&str, &str),
    members: &Members,
    before: &Members,
    before_texts: &dyn Fn(&str) -> String,
    name: &mut dyn FnMut() -> String,
) -> Option<(Members, Vec<Text>)> {
    let mut old: Vec<Old> = Vec::new();
    each(kind, element, before.clone(), &mut |place, slot| {
        let name = slot.strip_prefix(NAMED).map(str::to_owned);
        let text = name.as_deref().map_or_else(|| slot[1..].to_owned(), before_texts);
        old.push(Old { address: place.address.clone(), text, name });
    });
    let mut new: Vec<(String, String)> = Vec::new();
    each(kind, element, members.clone(), &mut |place, text| {
        new.push((place.address.clone(), text.clone()));
    });
    let mut find = |fits: &dyn Fn(&Old) -> bool| old.iter().position(fits).map(|at| old.remove(at));
    let mut heirs: Vec<Option<Old>> =
        new.iter().map(|(address, _)| find(&|old| old.address == *address)).collect();
    for (heir, (_, text)) in heirs.iter_mut().zip(&new).filter(|(heir, _)| heir.is_none()) {
        *heir = find(&|old| old.text == *text && !text.is_empty() && old.name.is_some());
    }
    let mut texts = Vec::new();
    let mut heirs = heirs.into_iter();
    let frame = each(kind, element, members.clone(), &mut |_, slot| match heirs.next().flatten() {
        Some(Old { text, name: None, .. }) if text == *slot => slot.insert(0, PLAIN),
        heir => {
            let name = heir.and_then(|old| old.name).unwrap_or_else(&mut *name);
            let text = std::mem::replace(slot, format!("{NAMED}{name}"));
            texts.push((name, text));
        }
    });
    (!new.is_empty()).then_some((frame, texts))
}

/// An element as a frame in which nothing is taken out: how what is no frame compares with one.
pub(crate) fn plain(kind: &str, element: &str, members: Members) -> Members {
    each(kind, element, members, &mut |_, slot| slot.insert(0, PLAIN))
}

/// Puts the texts back into their frame.
pub(crate) fn put_together(
    kind: &str,
    element: &str,
    frame: Members,
    text: &dyn Fn(&str) -> String,
) -> Members {
    each(kind, element, frame, &mut |_, slot| {
        *slot = slot.strip_prefix(NAMED).map_or_else(|| slot[1..].to_owned(), text);
    })
}

/// Names the texts of a frame anew; what gets no name stands in the frame itself from now on.
pub(crate) fn rename(
    kind: &str,
    element: &str,
    frame: Members,
    name: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Members {
    each(kind, element, frame, &mut |_, slot| {
        if let Some(old) = slot.strip_prefix(NAMED) {
            *slot = match name(old) {
                Ok(new) => format!("{NAMED}{new}"),
                Err(text) => format!("{PLAIN}{text}"),
            };
        }
    })
}

/// The texts that a frame names, in order.
pub(crate) fn names(kind: &str, element: &str, frame: &Members) -> Vec<String> {
    let mut names = Vec::new();
    each(kind, element, frame.clone(), &mut |_, slot| {
        names.extend(slot.strip_prefix(NAMED).map(str::to_owned));
    });
    names
}

/// All that the frame says around a text; nothing if it doesn't name it.
pub(crate) fn context(kind: &str, element: &str, frame: &Members, name: &str) -> Option<String> {
    let mut context = None;
    each(kind, element, frame.clone(), &mut |place, slot| {
        if slot.strip_prefix(NAMED) == Some(name) {
            context = Some(place.context.clone());
        }
    });
    context
}

/// Whether a node could have written this frame: every string in the place of a text is marked,
/// at least one is a text's name, and no name stands twice.
pub(crate) fn is_frame(kind: &str, element: &str, members: &Members) -> bool {
    let mut names = BTreeSet::new();
    let mut sound = true;
    each(kind, element, members.clone(), &mut |_, slot| {
        sound &= match slot.strip_prefix(NAMED) {
            Some(name) => is_text_name(name) && names.insert(name.to_owned()),
            None => slot.starts_with(PLAIN),
        };
    });
    sound && !names.is_empty()
}

/// Whether this is how texts are named.
pub(crate) fn is_text_name(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn each(
    kind: &str,
    element: &str,
    mut members: Members,
    show: &mut dyn FnMut(&Place, &mut String),
) -> Members {
    walk_members(&mut members, &ways(kind, element), &Place::default(), show);
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn members(sections: Value) -> Members {
        json!({ "section": sections }).as_object().unwrap().clone()
    }

    fn section(title: &str, text: &str) -> Value {
        json!({"title":title,"text":{"div":text}})
    }

    /// The names of the texts after the old sections became the new ones; new ones are `+1`, `+2`.
    fn heirs(old: Value, new: Value) -> Vec<String> {
        let of = ("Composition", "section");
        let mut count = 0;
        let mut apart = |new: Value, frame: &Members, texts: &[Text]| {
            let text = |name: &str| texts.iter().find(|(n, _)| n == name).unwrap().1.clone();
            take_apart(of, &members(new), frame, &text, &mut || {
                count += 1;
                format!("+{count}")
            })
        };
        let (frame, texts) = apart(old, &Members::new(), &[]).unwrap();
        let (frame, _) = apart(new, &frame, &texts).unwrap();
        names("Composition", "section", &frame)
    }

    #[test]
    fn a_text_is_known_by_its_section_or_else_by_its_words() {
        let old = json!([section("History", "a"), section("Plan", "b")]);
        let heirs = |new: Value| heirs(old.clone(), new);
        assert_eq!(heirs(json!([section("Plan", "x"), section("History", "y")])), ["+2", "+1"]);
        assert_eq!(heirs(json!([section("New", "x"), section("Plan", "b")])), ["+3", "+2"]);
        assert_eq!(heirs(json!([section("Advice", "b"), section("History", "a")])), ["+2", "+1"]);
        assert_eq!(heirs(json!([section("Advice", "c")])), ["+3"]);
        assert_eq!(heirs(json!([section("Plan", "x"), section("Plan", "y")])), ["+2", "+3"]);
    }

    #[test]
    fn an_id_says_which_section_it_is_whatever_its_title() {
        let with_id =
            |id: &str, title: &str, text: &str| json!({"id":id,"title":title,"text":{"div":text}});
        let old = json!([with_id("1", "Plan", "a"), with_id("2", "Plan", "b")]);
        let new = json!([with_id("2", "Advice", "x"), with_id("1", "Plan", "y")]);
        assert_eq!(heirs(old, new), ["+2", "+1"]);
    }

    #[test]
    fn the_context_of_a_text_is_all_titles_over_it_and_no_other_section() {
        let inner = |title: &str, inner: &str| {
            let slot = format!("{NAMED}0123456789abcdef");
            members(json!([{"title":title,"text":{"status":"empty","div":"=x"},
                "section":[{"title":inner,"text":{"div":slot}},{"title":"beside"}]}]))
        };
        let context =
            |frame: &Members| context("Composition", "section", frame, "0123456789abcdef");
        let exam = context(&inner("Exam", "Chest"));
        assert!(exam.is_some());
        assert_ne!(exam, context(&inner("Exam before", "Chest")));
        assert_ne!(exam, context(&inner("Exam", "Abdomen")));
        let mut more = inner("Exam", "Chest");
        more["section"][0]["section"][1] = section("another", "=y");
        more["section"].as_array_mut().unwrap().insert(0, section("first", "=z"));
        assert_eq!(exam, context(&more));
        assert_eq!(context(&Members::new()), None);
    }
}
