//! The items of the review list in words, and the talk that signs them off.

use crate::commands::patient::text;
use crate::commands::status::clock;
use crate::context::{Context, Failure, Style};
use crate::secrets::question;
use crate::session::Session;
use crate::words::Word;
use carnet_node::service::error::ErrorKind;
use carnet_node::service::request::Request;
use serde_json::Value;

/// Shows every item.
pub fn list(context: &Context, items: &Value) -> Result<(), Failure> {
    let items = items.as_array().map_or(&[][..], Vec::as_slice);
    for item in items {
        show(context, item)?;
    }
    if items.is_empty() {
        context.say(Word::ReviewNothing, &[])?;
    }
    Ok(())
}

/// Shows what is signed off and not decided, one item after another, and asks what was found; how
/// much is left on the list, the decisions of others included.
pub async fn sign_all(context: &Context, session: &Session) -> Result<usize, Failure> {
    let items = match session.ask(context, Request::ReviewList { signed: false }).await {
        // Conflicts are for everybody who may decide them; the rest is for those who answer for it.
        Err(Failure::Command(error)) if error.kind == ErrorKind::Denied => return Ok(0),
        items => items?,
    };
    let items = items.as_array().map_or(&[][..], Vec::as_slice);
    let others: Vec<&Value> = items.iter().filter(|item| item["kind"] != "conflict").collect();
    let mut signed = 0;
    for item in &others {
        show(context, item)?;
        if item["to_sign"] != true {
            continue;
        }
        let Some(said) = question(context.words.text(Word::ReviewSign))? else { break };
        match said.to_lowercase().as_str() {
            "stop" | "quit" | "fin" => break,
            "skip" | "passer" | "" => continue,
            _ => {}
        }
        let request = Request::ReviewSignOff { item: text(item, "id").to_owned(), note: said };
        match session.ask(context, request).await {
            // One's own act, or one that somebody else signed meanwhile: the others go on.
            Err(Failure::Command(error))
                if matches!(error.kind, ErrorKind::Denied | ErrorKind::BadInput) =>
            {
                context.tell(&error);
            }
            done => {
                done?;
                signed += 1;
                context.say(Word::ReviewSigned, &[("item", text(item, "id"))])?;
            }
        }
    }
    let open = others.len() - signed;
    if !others.is_empty() {
        let gaps = [("signed", &*signed.to_string()), ("open", &open.to_string())];
        context.say(Word::ReviewLeftOpen, &gaps)?;
    }
    Ok(open)
}

fn show(context: &Context, item: &Value) -> Result<(), Failure> {
    let figures = &item["figures"];
    let patient = match text(item, "patient") {
        "" => context.words.text(Word::ReviewSomebody).to_owned(),
        id => named(text(item, "name"), id),
    };
    let other = named(text(figures, "other-name"), text(figures, "other"));
    let who = item["who"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let who = who.collect::<Vec<_>>().join(", ");
    let mut gaps = vec![("patient", patient.as_str()), ("other", &other), ("who", &who)];
    for (name, value) in figures.as_object().into_iter().flatten() {
        if !gaps.iter().any(|(gap, _)| gap == name) {
            gaps.push((name, value.as_str().unwrap_or_default()));
        }
    }
    let sentence = match Word::of_review(text(item, "code")) {
        Some(word) => context.words.fill(word, &gaps),
        // A node of another version may list what this program has no words for.
        None => text(item, "code").to_owned(),
    };
    let now = context.environment.unix_ms();
    let time = match text(item, "time") {
        "" => String::new(),
        time => format!("{}  ", clock(time, now)),
    };
    context.line(format!("{}{sentence}", context.paint(Style::Dim, &time)))?;
    context.line(context.paint(Style::Dim, &format!("    {}", text(item, "id"))))?;
    let signed = &item["signed_off"];
    if signed.is_object() {
        let time = clock(text(signed, "time"), now);
        let gaps = [("by", text(signed, "by")), ("time", &time), ("note", text(signed, "note"))];
        let line = context.words.fill(Word::ReviewSignedBy, &gaps);
        context.line(context.paint(Style::Green, &format!("    {line}")))?;
    }
    Ok(())
}

/// A name with its id, by which scripts and other commands know it.
fn named(name: &str, id: &str) -> String {
    if name.is_empty() { id.to_owned() } else { format!("{name} ({id})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_before_its_id() {
        assert_eq!(named("Awa Diatta", "p1"), "Awa Diatta (p1)");
        assert_eq!(named("", "p1"), "p1");
    }
}
