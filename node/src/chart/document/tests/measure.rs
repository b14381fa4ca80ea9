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
