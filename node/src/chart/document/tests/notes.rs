//! Notes in draft, written by two people at once, and what becomes of them when one signs.

#![cfg(test)]

use super::*;

const NOTE: &str = "Composition/c";

fn narrative(text: &str) -> Value {
    json!({"status":"additional","div":format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{text}</div>")})
}

fn section(title: &str, text: &str) -> Value {
    json!({"title":title,"code":{"text":title},"text":narrative(text)})
}

fn draft() -> Value {
    json!({"resourceType":"Composition","id":"c","status":"preliminary","title":"Visit",
        "subject":{"reference":"Patient/p"},"text":narrative("<p>Cough for a week.</p>"),
        "section":[section("History","No fever. Coughs at night."),section("Plan","Rest.")]})
}

fn with(mut body: Value, element: &str, value: Value) -> Value {
    body[element] = value;
    body
}

fn signed(body: Value) -> Value {
    with(body, "status", json!("final"))
}

fn sections(sections: &[(&str, &str)]) -> Value {
    sections.iter().map(|(title, text)| section(title, text)).collect()
}

fn set_sections(of: &[(&str, &str)]) -> Edit {
    set(NOTE, "section", sections(of))
}

fn body(document: &Document) -> Value {
    document.view(&key(NOTE)).unwrap().body
}

/// Without what names the resource, as a conflict over all of it shows it.
fn said(mut body: Value) -> Value {
    let members = body.as_object_mut().unwrap();
    members.remove("id");
    members.remove("resourceType");
    body
}

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_key(canonical);
    values
}

fn both(sites: &Sites, element: &str) -> Edit {
    let view = sites.a.view(&key(NOTE)).unwrap();
    let conflict = view.conflicts.iter().find(|c| c.element == element).unwrap();
    let (element, seen) = (element.to_owned(), conflict.seen.clone());
    Edit::Resolve { key: key(NOTE), element, chosen: Choice::Both, seen }
}

#[test]
fn what_two_people_type_into_one_text_is_all_there() {
    let mut sites = Sites::with(&[put(draft())]);
    sites.at_a(set(NOTE, "text", narrative("<p>Dry cough for a week.</p>")));
    sites.at_b(set(
        NOTE,
        "text",
        narrative("<p>Cough for a week, no fever.</p><p>Sleeps badly.</p>"),
    ));
    let b_saw = body(&sites.b);
    sites.meet();
    let merged = narrative("<p>Dry cough for a week, no fever.</p><p>Sleeps badly.</p>");
    assert_eq!(body(&sites.a), with(draft(), "text", merged));
    assert_eq!(sites.conflicts(NOTE), []);
    let history = sites.a.history(&key(NOTE));
    let texts: Vec<&Value> = history.iter().map(|version| &version.body["text"]["div"]).collect();
    assert_eq!(texts[0], &draft()["text"]["div"]);
    assert_eq!(texts[1], &narrative("<p>Dry cough for a week.</p>")["div"]);
    assert_eq!(history[2].body, b_saw);
    // Who goes on, goes on from the merged text.
    sites.at_b(set(NOTE, "text", narrative("<p>Dry cough for a week, no fever.</p>")));
    sites.at_a(set_sections(&[
        ("History", "No fever. Coughs at night."),
        ("Plan", "Rest and tea."),
    ]));
    sites.meet();
    let merged = with(draft(), "text", narrative("<p>Dry cough for a week, no fever.</p>"));
    let rest = sections(&[("History", "No fever. Coughs at night."), ("Plan", "Rest and tea.")]);
    assert_eq!(body(&sites.b), with(merged, "section", rest));
    assert_eq!(sites.conflicts(NOTE), []);
}

#[test]
fn an_unchanged_draft_is_not_written_again() {
    let mut document = Document::new(actor(1));
    document.write(1, &[put(draft())]).unwrap().unwrap();
    assert_eq!(document.write(2, &[put(draft())]), Ok(None));
    let written = document.write(3, &[set(NOTE, "text", narrative("<p>Cough.</p>"))]);
    let written = written.unwrap().unwrap();
    // Two words and two spaces, and not the narrative again.
    assert!(written.bytes.len() < 260, "{} bytes", written.bytes.len());
    assert_eq!(document.history(&key(NOTE)).len(), 2);
}

#[test]
fn a_new_section_and_another_order_merge_with_what_is_typed() {
    let mut sites = Sites::with(&[put(draft())]);
    sites.at_a(set_sections(&[
        ("Plan", "Rest."),
        ("Allergies", "None known."),
        ("History", "No fever. Coughs at night."),
    ]));
    sites.at_b(set_sections(&[
        ("History", "No fever. Coughs at night and at noon."),
        ("Plan", "Rest. Come back on Monday."),
    ]));
    sites.meet();
    let merged = sections(&[
        ("Plan", "Rest. Come back on Monday."),
        ("Allergies", "None known."),
        ("History", "No fever. Coughs at night and at noon."),
    ]);
    assert_eq!(body(&sites.a), with(draft(), "section", merged));
    assert_eq!(sites.conflicts(NOTE), []);
}

#[test]
fn sections_changed_twice_are_a_conflict_with_all_that_is_typed() {
    let mut sites = Sites::with(&[put(draft())]);
    let of_a =
        [("History", "No fever. Coughs at night."), ("Plan", "Rest."), ("Allergies", "Nuts.")];
    let of_b =
        [("History", "No fever. Coughs at night."), ("Plan", "Rest."), ("Vaccines", "Up to date.")];
    sites.at_a(set_sections(&of_a));
    sites.at_b(set_sections(&of_b));
    // Typed into a section that the other side doesn't have.
    let of_a = [of_a[0], of_a[1], ("Allergies", "Nuts, and sesame.")];
    let of_b = [of_b[0], ("Plan", "Rest at home."), ("Vaccines", "Up to date, tetanus too.")];
    sites.at_a(set_sections(&of_a));
    sites.at_b(set_sections(&of_b));
    sites.meet();
    let values = sorted(vec![sections(&of_a), sections(&of_b)]);
    assert_eq!(sites.conflicts(NOTE), [("section".to_owned(), "same-element", values)]);
    let choice = sites.choose(NOTE, "section", &sections(&of_b));
    sites.at_a(choice);
    sites.meet();
    assert_eq!(body(&sites.b), with(draft(), "section", sections(&of_b)));
    assert_eq!(sites.conflicts(NOTE), []);
}

#[test]
fn typing_in_a_section_that_goes_or_gets_another_title_is_a_conflict() {
    let typed = [("History", "No fever. Coughs at night."), ("Plan", "Rest. Stop smoking.")];
    let gone = [("History", "No fever. Coughs at night.")];
    let renamed = [("History", "No fever. Coughs at night."), ("Advice given before", "Rest.")];
    for other in [gone.as_slice(), &renamed] {
        let mut sites = Sites::with(&[put(draft())]);
        sites.at_a(set_sections(other));
        sites.at_b(set_sections(&typed));
        sites.meet();
        let values = sorted(vec![sections(other), sections(&typed)]);
        assert_eq!(sites.conflicts(NOTE), [("section".to_owned(), "same-element", values)]);
        let choice = sites.choose(NOTE, "section", &sections(&typed));
        sites.at_a(choice);
        sites.meet();
        assert_eq!(body(&sites.b), with(draft(), "section", sections(&typed)));
        assert_eq!(sites.conflicts(NOTE), []);
    }
}

#[test]
fn sections_in_sections_are_told_apart_by_their_way() {
    let nested = |inner: &str, other: &str| {
        let mut outer = section("Exam", "Done.");
        outer["section"] = json!([section("Chest", inner)]);
        let mut second = section("Exam", "Again.");
        second["section"] = json!([section("Chest", other)]);
        json!([outer, second])
    };
    let mut sites = Sites::with(&[put(with(draft(), "section", nested("Clear.", "Clear.")))]);
    sites.at_a(set(NOTE, "section", nested("Clear. No wheeze.", "Clear.")));
    sites.at_b(set(NOTE, "section", nested("Clear.", "Crackles. Clear.")));
    sites.meet();
    let merged = nested("Clear. No wheeze.", "Crackles. Clear.");
    assert_eq!(body(&sites.a), with(draft(), "section", merged));
    assert_eq!(sites.conflicts(NOTE), []);
}

#[test]
fn words_that_meet_in_a_phrase_that_nobody_wrote_are_merged_and_listed() {
    let plan = |text: &str| sections(&[("History", "No fever."), ("Plan", text)]);
    let mut sites = Sites::with(&[put(with(draft(), "section", plan("Quinine 5 mg at noon.")))]);
    sites.at_a(set(NOTE, "section", plan("Quinine 10 mg at noon.")));
    let typed = [("History", "No fever. Thirst."), ("Plan", "Quinine 5 g at noon.")];
    sites.at_b(set_sections(&typed));
    sites.meet();
    let merged = sections(&[("History", "No fever. Thirst."), ("Plan", "Quinine 10 g at noon.")]);
    assert_eq!(body(&sites.a), with(draft(), "section", merged.clone()));
    let values = sorted(vec![plan("Quinine 10 mg at noon."), sections(&typed)]);
    assert_eq!(sites.conflicts(NOTE), [("section".to_owned(), "same-resource", values)]);

    // Who corrects the text decides nothing yet; who keeps what stands there does.
    let corrected =
        sections(&[("History", "No fever. Thirst."), ("Plan", "Quinine 10 mg at noon.")]);
    sites.at_b(set(NOTE, "section", corrected.clone()));
    sites.meet();
    assert_eq!(sites.conflicts(NOTE)[0].2.len(), 3);
    let decision = both(&sites, "section");
    sites.at_a(decision);
    sites.meet();
    assert_eq!(
        (body(&sites.b), sites.conflicts(NOTE)),
        (with(draft(), "section", corrected), vec![])
    );
}

#[test]
fn what_both_exchange_for_the_same_word_is_listed() {
    let text = |dose: &str| narrative(&format!("<p>Quinine {dose} mg</p>"));
    let mut sites = Sites::with(&[put(with(draft(), "text", text("500")))]);
    sites.at_a(set(NOTE, "text", text("50")));
    sites.at_b(set(NOTE, "text", text("250")));
    sites.meet();
    let merged = body(&sites.a)["text"]["div"].to_string();
    assert!(merged.contains("50250") || merged.contains("25050"), "{merged}");
    let values = sorted(vec![text("50"), text("250")]);
    assert_eq!(sites.conflicts(NOTE), [("text".to_owned(), "same-resource", values)]);
    let choice = sites.choose(NOTE, "text", &text("50"));
    sites.at_b(choice);
    sites.meet();
    assert_eq!((&body(&sites.a)["text"], sites.conflicts(NOTE)), (&text("50"), vec![]));
}

#[test]
fn a_dose_that_both_correct_alike_does_not_stand_there_twice_unseen() {
    let text = |dose: &str| narrative(&format!("<p>Quinine {dose} mg</p>"));
    let mut sites = Sites::with(&[put(with(draft(), "text", text("5")))]);
    sites.at_a(set(NOTE, "text", text("10")));
    sites.at_b(set(NOTE, "text", text("10")));
    sites.meet();
    assert_eq!(body(&sites.a)["text"], text("1010"));
    let listed = ("text".to_owned(), "same-resource", vec![text("10"), text("10")]);
    assert_eq!(sites.conflicts(NOTE), [listed]);
    let choice = sites.choose(NOTE, "text", &text("10"));
    sites.at_a(choice);
    sites.meet();
    assert_eq!((&body(&sites.b)["text"], sites.conflicts(NOTE)), (&text("10"), vec![]));
}

#[test]
fn what_a_crowd_types_apart_is_listed_without_comparing_each_two() {
    for (crowd, listed) in [(6, 0), (40, 1)] {
        let mut sites = Sites::with(&[put(draft())]);
        let base = sites.a.automerge.get_changes(&[])[0].raw_bytes().to_vec();
        let typed = |number: u8| {
            let mut site = Document::new(actor(number));
            site.apply(&base, prefix(1)).unwrap();
            let text = narrative(&format!("<p>Cough for a week.</p><p>Site {number}.</p>"));
            site.write(5, &[set(NOTE, "text", text)]).unwrap().unwrap().bytes
        };
        let changes: Vec<(u8, Vec<u8>)> = (10..10 + crowd).map(|n| (n, typed(n))).collect();
        for (number, change) in &changes {
            sites.a.apply(change, prefix(*number)).unwrap();
        }
        for (number, change) in changes.iter().rev() {
            sites.b.apply(change, prefix(*number)).unwrap();
        }
        sites.meet();
        let conflicts = sites.conflicts(NOTE);
        assert_eq!(conflicts.len(), listed, "{crowd} sites");
        if let [(_, kind, values)] = conflicts.as_slice() {
            assert_eq!((*kind, values.len()), ("same-resource", usize::from(crowd)));
            let decision = both(&sites, "text");
            sites.at_a(decision);
            sites.meet();
        }
        assert_eq!(sites.conflicts(NOTE), []);
        let text = body(&sites.a)["text"]["div"].to_string();
        assert!((10..10 + crowd).all(|number| text.contains(&format!("Site {number}."))));
    }
}

#[test]
fn typing_beside_anything_else_is_a_conflict_of_the_note() {
    let mut sites = Sites::with(&[put(draft())]);
    sites.at_a(set(NOTE, "title", json!("Discharge")));
    sites.at_b(set(NOTE, "text", narrative("<p>Cough for a week. Stays.</p>")));
    sites.meet();
    let text = |text: &str| json!({"text":narrative(text)});
    let of_a = with(text("<p>Cough for a week.</p>"), "title", json!("Discharge"));
    let of_b = with(text("<p>Cough for a week. Stays.</p>"), "title", json!("Visit"));
    let values = sorted(vec![of_a.clone(), of_b]);
    assert_eq!(sites.conflicts(NOTE), [("_resource".to_owned(), "same-resource", values)]);
    let decision = both(&sites, "_resource");
    sites.at_b(decision);
    sites.meet();
    let merged = with(draft(), "text", narrative("<p>Cough for a week. Stays.</p>"));
    assert_eq!(body(&sites.a), with(merged, "title", json!("Discharge")));
    assert_eq!(sites.conflicts(NOTE), []);
}

/// One signs, the other goes on typing.
fn signed_beside_typing() -> (Sites, Value, Value) {
    let mut sites = Sites::with(&[put(draft())]);
    sites.at_a(put(signed(with(draft(), "title", json!("Discharge")))));
    sites.at_b(set(NOTE, "text", narrative("<p>Cough for a week. Blood in it.</p>")));
    let (of_a, of_b) = (body(&sites.a), body(&sites.b));
    sites.meet();
    let values = sorted(vec![said(of_a.clone()), said(of_b.clone())]);
    assert_eq!(sites.conflicts(NOTE), [("_resource".to_owned(), "same-element", values)]);
    assert_eq!(body(&sites.a), of_a, "the words that were signed, and no others");
    (sites, of_a, of_b)
}

#[test]
fn a_signed_note_keeps_the_words_that_its_signer_saw() {
    let (mut sites, of_a, of_b) = signed_beside_typing();
    assert!(matches!(
        sites.a.write(1, &[both(&sites, "_resource")]),
        Err(ChartError::OnlyOne { .. })
    ));
    // Going on with the draft decides nothing, and stays visible in the conflict.
    let choice = sites.choose(NOTE, "_resource", &said(of_a.clone()));
    sites.at_a(choice);
    sites.meet();
    assert_eq!((body(&sites.b), sites.conflicts(NOTE)), (of_a.clone(), Vec::new()));
    let amended = with(of_a.clone(), "status", json!("amended"));
    let amended = with(amended, "text", of_b["text"].clone());
    sites.at_b(put(amended.clone()));
    sites.meet();
    assert_eq!((body(&sites.a), sites.conflicts(NOTE)), (amended.clone(), Vec::new()));
    let history = sites.a.history(&key(NOTE));
    let bodies: Vec<Value> = history.into_iter().map(|version| version.body).collect();
    assert_eq!(bodies, [draft(), of_a.clone(), of_b, of_a, amended]);
}

#[test]
fn who_chooses_the_late_edit_has_the_draft_again() {
    let (mut sites, _, of_b) = signed_beside_typing();
    let choice = sites.choose(NOTE, "_resource", &said(of_b.clone()));
    sites.at_a(choice);
    sites.meet();
    assert_eq!((body(&sites.b), sites.conflicts(NOTE)), (of_b.clone(), Vec::new()));
    // And it can be written together as before.
    sites.at_a(set(NOTE, "text", narrative("<p>Dry cough for a week. Blood in it.</p>")));
    sites.at_b(set(NOTE, "text", narrative("<p>Cough for a week. Blood in it, twice.</p>")));
    sites.meet();
    let merged = narrative("<p>Dry cough for a week. Blood in it, twice.</p>");
    assert_eq!((body(&sites.b), sites.conflicts(NOTE)), (with(of_b, "text", merged), Vec::new()));
}

#[test]
fn whoever_types_on_while_the_signature_is_disputed_is_heard() {
    let (mut sites, of_a, _) = signed_beside_typing();
    // A third site knows of no signature.
    let mut third = Document::new(actor(3));
    let base = sites.a.automerge.get_changes(&[])[0].raw_bytes().to_vec();
    third.apply(&base, prefix(1)).unwrap();
    let more = [("History", "No fever. Coughs at night. Has lost weight."), ("Plan", "Rest.")];
    let late = third.write(3, &[set_sections(&more)]).unwrap().unwrap().bytes;
    for site in [&mut sites.a, &mut sites.b] {
        site.apply(&late, prefix(3)).unwrap();
        assert_eq!(body(site), of_a);
    }
    let conflicts = sites.conflicts(NOTE);
    assert_eq!((conflicts.len(), conflicts[0].2.len()), (1, 3));
    assert!(conflicts[0].2.iter().any(|value| value["section"] == sections(&more)));
}

#[test]
fn two_signatures_are_a_conflict_unless_they_are_the_same() {
    for (title, disputed) in [("Discharge", true), ("Visit", false)] {
        let mut sites = Sites::with(&[put(draft())]);
        sites.at_a(put(signed(draft())));
        sites.at_b(put(signed(with(draft(), "title", json!(title)))));
        let values = sorted(vec![said(body(&sites.a)), said(body(&sites.b))]);
        sites.meet();
        let expected = vec![("_resource".to_owned(), "same-element", values)];
        assert_eq!(sites.conflicts(NOTE), if disputed { expected } else { Vec::new() });
    }
}

#[test]
fn amended_twice_is_a_conflict_of_two_whole_versions() {
    let mut sites = Sites::with(&[put(signed(draft()))]);
    sites.at_a(set(NOTE, "text", narrative("<p>Cough for two weeks.</p>")));
    sites.at_b(set(NOTE, "title", json!("Discharge")));
    let values = sorted(vec![said(body(&sites.a)), said(body(&sites.b))]);
    sites.meet();
    assert_eq!(sites.conflicts(NOTE), [("_resource".to_owned(), "same-element", values)]);
}

#[test]
fn a_disputed_draft_can_be_signed_and_the_dispute_stays() {
    let mut sites = Sites::with(&[put(draft())]);
    let (of_a, of_b) = ([("Plan", "Rest.")], [("Plan", "Rest."), ("Vaccines", "None.")]);
    sites.at_a(set_sections(&of_a));
    sites.at_b(set_sections(&of_b));
    sites.meet();
    let signed = signed(body(&sites.a));
    sites.at_a(put(signed.clone()));
    sites.meet();
    let conflicts = sites.conflicts(NOTE);
    assert_eq!((conflicts[0].0.as_str(), conflicts[0].2.len()), ("section", 3));
    assert!(conflicts[0].2.contains(&signed["section"]), "what was signed is shown too");
    // A choice changes what is signed, and it is signed still.
    for chosen in [&of_a[..], &of_b] {
        let mut sites =
            Sites { a: sites.a.copy(4), b: sites.a.copy(5), of_a: vec![], of_b: vec![] };
        let choice = sites.choose(NOTE, "section", &sections(chosen));
        sites.a.write(9, &[choice]).unwrap().unwrap();
        let expected = with(signed.clone(), "section", sections(chosen));
        assert_eq!(body(&sites.a), expected);
        assert!(sites.a.view(&key(NOTE)).unwrap().conflicts.is_empty());
        assert!(
            !sites
                .a
                .state(&key(NOTE), &sites.a.journal.stories[&key(NOTE)], None)
                .registers
                .contains_key("section")
        );
    }
}

impl Document {
    /// The same document at another site.
    fn copy(&self, number: u8) -> Document {
        let start = postcard::to_extend(&self.journal, SAVED.to_vec()).unwrap();
        let bytes = [start, self.automerge.save_nocompress()].concat();
        Document::load(&bytes, actor(number)).unwrap()
    }
}

#[test]
fn the_same_draft_made_twice_is_a_conflict_of_what_differs() {
    let mut sites = Sites::with(&[put(json!({"resourceType":"Patient","id":"p"}))]);
    sites.at_a(put(draft()));
    sites.at_b(put(draft()));
    sites.meet();
    assert_eq!(sites.conflicts(NOTE), [], "both said the same");
    assert_eq!(body(&sites.a), draft());
    // Only one of the two texts stands in the frame that is shown; typing into the other one shows.
    for late in [0, 1] {
        let mut sites = Sites::with(&[put(json!({"resourceType":"Patient","id":"p"}))]);
        sites.at_a(put(draft()));
        sites.at_b(put(draft()));
        let typed = narrative("<p>Cough for a week. Febrile.</p>");
        match late {
            0 => sites.at_a(set(NOTE, "text", typed.clone())),
            _ => sites.at_b(set(NOTE, "text", typed.clone())),
        }
        sites.meet();
        let values = sorted(vec![draft()["text"].clone(), typed]);
        assert_eq!(sites.conflicts(NOTE), [("text".to_owned(), "same-element", values)]);
    }

    let mut sites = Sites::with(&[put(json!({"resourceType":"Patient","id":"p"}))]);
    sites.at_a(put(draft()));
    sites.at_b(put(draft()));
    sites.at_a(set(NOTE, "text", narrative("<p>Cough for a week. Dry.</p>")));
    sites.at_b(set(NOTE, "text", narrative("<p>Cough for a week. Febrile.</p>")));
    sites.meet();
    let values = vec![
        narrative("<p>Cough for a week. Dry.</p>"),
        narrative("<p>Cough for a week. Febrile.</p>"),
    ];
    assert_eq!(sites.conflicts(NOTE), [("text".to_owned(), "same-element", values)]);
}

#[test]
fn deleted_here_and_typed_there_stays_visible() {
    let mut sites = Sites::with(&[put(draft())]);
    sites.at_a(Edit::Delete(key(NOTE)));
    sites.at_b(set(NOTE, "text", narrative("<p>Cough for a week. Dry.</p>")));
    sites.meet();
    let view = sites.b.view(&key(NOTE)).unwrap();
    assert!(!view.deleted);
    assert_eq!(view.conflicts[0].element, "_deleted");
    assert!(view.conflicts[0].values.iter().any(|value| value.deleted));
    assert!(view.body.to_string().contains("Dry."));
}

#[test]
fn nothing_of_a_nasty_draft_is_lost() {
    let texts = r#"{"resourceType":"Composition","id":"c","status":"preliminary","_status":{"id":"s"},
        "text":{"status":"generated","div":"<div>\u0000é\"🩺</div>","_div":{"id":"d"}},"_text":{"id":"t"},
        "section":[{"text":{"div":""}},{"text":{"div":["a","~0123456789abcdef"]}},null,7,"text",
          {"text":{"div":"=~"},"section":[{"text":{"div":"~0123456789abcdef"}},{"title":"x"},{"text":{"div":3.50}}]},
          {"text":{"div":null}},{"text":"div"},{"section":{"text":{"div":"no array"}}}],
        "extension":[{"url":"u","valueDecimal":1.500}],"unknown":{"text":{"div":"x"}}}"#;
    let none = r#"{"resourceType":"Composition","id":"c","status":"preliminary","section":[{"title":"x"}]}"#;
    let odd = r#"{"resourceType":"Composition","id":"c","status":"preliminary","text":"t","section":{"a":[1.0]}}"#;
    let impression = r#"{"resourceType":"ClinicalImpression","id":"c","status":"in-progress",
        "description":"a","_description":{"id":"d"},"summary":["b",null],"note":[{"text":"c"}]}"#;
    for text in [texts, none, odd, impression] {
        let written = parse_json(text).unwrap();
        let mut document = Document::new(actor(1));
        let change = document.write(1, &[put(written.clone())]).unwrap().unwrap();
        let mut other = Document::new(actor(2));
        let resource = change.touched[0].clone();
        other.apply(&change.bytes, prefix(1)).unwrap();
        for document in [Document::load(&document.save(), actor(1)).unwrap(), other] {
            let back = document.view(&resource).unwrap().body;
            assert_eq!(canonical(&back), canonical(&written));
        }
        assert_eq!(document.write(2, &[put(written)]), Ok(None));
    }
}

#[test]
fn a_narrative_beyond_all_measure_merges_whole() {
    let long = "word ".repeat(20_000);
    let mut sites = Sites::with(&[put(with(draft(), "text", narrative(&long)))]);
    sites.at_a(set(NOTE, "text", narrative(&format!("{long} a"))));
    sites.at_b(set(NOTE, "text", narrative(&format!("{long} b"))));
    sites.meet();
    let values = vec![narrative(&format!("{long} a")), narrative(&format!("{long} b"))];
    assert_eq!(sites.conflicts(NOTE), [("text".to_owned(), "same-element", values)]);
    // Short again, it can be written together again.
    let choice = sites.choose(NOTE, "text", &narrative(&format!("{long} a")));
    sites.at_a(choice);
    sites.at_a(set(NOTE, "text", narrative("Short.")));
    sites.meet();
    sites.at_a(set(NOTE, "text", narrative("Very short.")));
    sites.at_b(set(NOTE, "text", narrative("Short. Indeed.")));
    sites.meet();
    assert_eq!(body(&sites.a)["text"], narrative("Very short. Indeed."));
}

#[test]
fn an_assessment_in_progress_is_written_together_too() {
    let start = json!({"resourceType":"ClinicalImpression","id":"c","status":"in-progress",
        "subject":{"reference":"Patient/p"},"summary":"Pneumonia likely."});
    let name = "ClinicalImpression/c";
    let mut sites = Sites::with(&[put(start.clone())]);
    sites.at_a(set(name, "summary", json!("Pneumonia likely. Hydrated.")));
    sites.at_b(set(name, "summary", json!("Viral pneumonia likely.")));
    sites.meet();
    let view = sites.a.view(&key(name)).unwrap();
    let merged = with(start, "summary", json!("Viral pneumonia likely. Hydrated."));
    assert_eq!((view.body, view.conflicts), (merged, Vec::new()));
}
