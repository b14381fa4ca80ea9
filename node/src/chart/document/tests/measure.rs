//! Figures, by hand: `cargo test --release -p carnet-node measure -- --ignored --nocapture`.

#![cfg(test)]

use super::*;
use crate::base::environment::Environment;

fn observation(number: usize) -> Edit {
    put(json!({"resourceType":"Observation","id":format!("5a7b29cc-70b5-4a5c-8c2d-{number:012}"),
            "status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"vital-signs"}]}],
            "code":{"coding":[{"system":"http://loinc.org","code":"8302-2","display":"Body Height"}],"text":"Body Height"},
            "subject":{"reference":"Patient/5a7b29cc-70b5-4a5c-8c2d-000000000000"},
            "effectiveDateTime":"2014-02-05T21:06:15-05:00","issued":"2014-02-05T21:06:15.112-05:00",
            "valueQuantity":{"value":number,"unit":"cm","system":"http://unitsofmeasure.org","code":"cm"}}))
}

fn request(number: usize) -> Edit {
    let mut body = order();
    body["id"] = json!(format!("5a7b29cc-70b5-4a5c-8c2d-{number:012}"));
    put(body)
}

fn time(what: &str, run: &mut dyn FnMut()) {
    let clock = Environment::system();
    let start = clock.monotonic_ms();
    run();
    println!("{what}: {} ms", clock.monotonic_ms() - start);
}

#[test]
#[ignore = "prints figures"]
fn a_chart_of_two_thousand_records() {
    figures("record", observation);
}

#[test]
#[ignore = "prints figures"]
fn a_chart_of_two_thousand_statements() {
    figures("statement", request);
}

fn figures(name: &str, edit: fn(usize) -> Edit) {
    let edits: Vec<Edit> = (0..2000).map(edit).collect();
    let mut document = Document::new(actor(1));
    let mut bytes = Vec::new();
    time(&format!("{name}: write 2,000 in one change"), &mut || {
        bytes = document.write(1, &edits).unwrap().unwrap().bytes;
    });
    println!("{name}: change of {} bytes", bytes.len());
    time(&format!("{name}: apply them"), &mut || {
        Document::new(actor(2)).apply(&bytes, prefix(1)).unwrap();
    });
    let mut saved = Vec::new();
    time(&format!("{name}: save"), &mut || saved = document.save());
    println!("{name}: saved in {} bytes", saved.len());
    time(&format!("{name}: load 10 times"), &mut || {
        for _ in 0..10 {
            Document::load(&saved, actor(1)).unwrap();
        }
    });
    time(&format!("{name}: view all"), &mut || {
        for key in document.keys() {
            document.view(&key).unwrap();
        }
    });
    time(&format!("{name}: write 200 more, one by one"), &mut || {
        for number in 0..200 {
            document.write(1, &[edit(5000 + number)]).unwrap().unwrap();
        }
    });
    let mut single = Document::new(actor(3));
    let mut changes = Vec::new();
    time(&format!("{name}: write 2,000 changes of one"), &mut || {
        for edit in &edits {
            changes.push(single.write(1, std::slice::from_ref(edit)).unwrap().unwrap().bytes);
        }
    });
    let mut other = Document::new(actor(4));
    time(&format!("{name}: apply 2,000 changes of one"), &mut || {
        for change in &changes {
            other.apply(change, prefix(3)).unwrap();
        }
    });
    time(&format!("{name}: apply them beside 2,000 others"), &mut || {
        for change in &changes {
            document.apply(change, prefix(3)).unwrap();
        }
    });
    time(&format!("{name}: digest of it all"), &mut || {
        document.digest();
    });
}

#[test]
#[ignore = "prints figures"]
fn a_draft_that_two_sites_write_apart() {
    let div = |text: &str| json!({"div":format!("<div>{text}</div>")});
    let start: String = (0..400).map(|n| format!("Sentence number {n} of the note.\n")).collect();
    let body = json!({"resourceType":"Composition","id":"c","status":"preliminary",
        "text":div(&start)});
    let mut sites = Sites::with(&[put(body)]);
    for (edits, name) in [(50, "50"), (100, "100")] {
        time(&format!("draft: {name} saves at each of two sites"), &mut || {
            for number in 0..edits {
                for document in [&mut sites.a, &mut sites.b] {
                    let at = if document.actor == actor(1) { "number 100" } else { "number 300" };
                    let view = document.view(&key("Composition/c")).unwrap().body;
                    let text = view["text"]["div"].as_str().unwrap();
                    let text = text.replace(at, &format!("{at} and then {number}"));
                    let edit = set("Composition/c", "text", json!({ "div": text }));
                    let change = document.write(1, &[edit]).unwrap().unwrap().bytes;
                    if document.actor == actor(1) {
                        sites.of_a.push(change);
                    } else {
                        sites.of_b.push(change);
                    }
                }
            }
        });
        println!("draft: a save is {} bytes", sites.of_a.last().unwrap().len());
        let of_b: Vec<Vec<u8>> = sites.of_b.clone();
        time(&format!("draft: {name} changes of the other site"), &mut || {
            for change in &of_b {
                sites.a.apply(change, prefix(2)).unwrap();
            }
        });
        time("draft: one view with its conflicts", &mut || {
            sites.a.view(&key("Composition/c")).unwrap();
        });
        sites.of_b.clear();
        let of_a = std::mem::take(&mut sites.of_a);
        for change in &of_a {
            sites.b.apply(change, prefix(1)).unwrap();
        }
        println!("draft: {} conflicts", sites.conflicts("Composition/c").len());
    }
    let much: Vec<String> = (0..15_000).map(|n| format!("w{}", n % 900)).collect();
    let edit = set("Composition/c", "text", div(&much.join(" ")));
    let mut bytes = Vec::new();
    time("draft: write 60,000 characters anew", &mut || {
        bytes = sites.a.write(1, std::slice::from_ref(&edit)).unwrap().unwrap().bytes;
    });
    println!("draft: {} bytes", bytes.len());
    time("draft: apply them", &mut || drop(sites.b.apply(&bytes, prefix(1)).unwrap()));
}
