//! What people read of a note: its titles and narratives as plain lines.
//!
//! FHIR keeps a narrative as a piece of XHTML in one JSON string. Here the markup goes, and what
//! it parts becomes lines. Nothing is judged: what isn't markup is shown as it stands.

use serde_json::Value;

/// Elements of XHTML that begin a line.
const BLOCKS: [&str; 14] =
    ["p", "div", "br", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "h5", "h6"];

/// A line of a note.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// How deep it stands: sections lie in sections.
    pub depth: usize,
    /// Whether it is a title.
    pub title: bool,
    /// What it says.
    pub text: String,
}

/// Whether a person reads this as a note: it has sections, or is made of them.
pub fn is_note(value: &Value) -> bool {
    value["resourceType"] == "Composition" || value.get("section").is_some_and(Value::is_array)
}

/// The titles and narratives of a note, of its sections, or of a narrative alone.
pub fn lines(value: &Value) -> Vec<Line> {
    let mut lines = Vec::new();
    collect(value, 0, &mut lines);
    lines
}

fn collect(value: &Value, depth: usize, lines: &mut Vec<Line>) {
    let mut add = |depth, title, text: &str| {
        // A terminal takes control characters for orders.
        let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        lines.push(Line { depth, title, text: text.chars().map(shown).collect() });
    };
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, depth, lines)),
        Value::Object(members) => {
            if let Some(title) = members.get("title").and_then(Value::as_str) {
                add(depth, true, title);
            }
            let narrative = members.get("text").unwrap_or(value);
            if let Some(div) = narrative.get("div").and_then(Value::as_str) {
                plain(div).iter().for_each(|line| add(depth + 1, false, line));
            }
            if let Some(sections) = members.get("section") {
                collect(sections, depth + 1, lines);
            }
        }
        _ => {}
    }
}

/// The lines of a piece of XHTML.
fn plain(xhtml: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = xhtml;
    while let Some(start) = rest.find('<') {
        let (before, from) = rest.split_at(start);
        text.push_str(before);
        let is_tag =
            from[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!');
        let Some(end) = from.find('>').filter(|_| is_tag) else {
            text.push('<');
            rest = &from[1..];
            continue;
        };
        let tag = from[1..end].trim_start_matches('/');
        let name = tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if BLOCKS.contains(&name) {
            text.push('\n');
        } else if matches!(name, "td" | "th") {
            text.push(' ');
        }
        rest = &from[end + 1..];
    }
    text.push_str(rest);
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.map(|line| characters(&line)).filter(|line| !line.is_empty()).collect()
}

/// The characters behind the entities that XML itself has, and behind numbers.
fn characters(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        plain.push_str(&rest[..start]);
        rest = &rest[start..];
        let known = rest.find(';').and_then(|end| Some((character(&rest[1..end])?, end)));
        let (character, end) = known.unwrap_or(('&', 0));
        plain.push(character);
        rest = &rest[end + 1..];
    }
    plain.push_str(rest);
    plain
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_narrative_becomes_lines() {
        let div = "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Fever &gt; 39&#176; &amp; <b>chills</b>\
            </p><ul><li>Malaria test</li><li>R&D &bogus;</li></ul>Rest<br/>Tea</div>";
        assert_eq!(
            plain(div),
            ["Fever > 39° & chills", "Malaria test", "R&D &bogus;", "Rest", "Tea"]
        );
        assert_eq!(plain("3 < 4 and <b>5</b> > 4, cut <b"), ["3 < 4 and 5 > 4, cut <b"]);
        assert!(plain("").is_empty());
        let hostile = json!({"div": "a\u{1b}[2J&#27;b"});
        assert_eq!(lines(&hostile)[0].text, "a\u{fffd}[2J\u{fffd}b");
    }

    #[test]
    fn a_note_is_titles_and_text_in_their_order() {
        let text =
            |text: &str| json!({"status": "additional", "div": format!("<div>{text}</div>")});
        let note = json!({"resourceType": "Composition", "title": "Visit", "text": text("All."),
            "section": [{"title": "Exam", "section": [{"title": "Chest", "text": text("Clear.")}]},
                {"text": text("Untitled.")}, null, 7]});
        let shown: Vec<(usize, bool, String)> =
            lines(&note).into_iter().map(|line| (line.depth, line.title, line.text)).collect();
        let line = |depth, title, text: &str| (depth, title, text.to_owned());
        assert_eq!(
            shown,
            [
                line(0, true, "Visit"),
                line(1, false, "All."),
                line(1, true, "Exam"),
                line(2, true, "Chest"),
                line(3, false, "Clear."),
                line(2, false, "Untitled."),
            ]
        );
        assert_eq!(lines(&text("Alone.")).len(), 1);
        assert!(is_note(&note) && !is_note(&json!({"resourceType": "Patient", "text": {}})));
    }
}
