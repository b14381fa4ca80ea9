//! Whether two people who typed apart have made a phrase together that neither wrote.
//!
//! Letters that both typed merge, and both are there; but where "5 mg" became "10 mg" here and
//! "5 g" there, the merged text reads "10 g", which nobody said. So a merged text is gone through
//! for words, and for words side by side, that stand in neither of the two texts.

use std::collections::BTreeSet;

/// Words side by side; of the first one in a phrase, the one before it is empty.
type Neighbours<'a> = (&'a str, &'a str);

/// Whether a merged text has words, or words side by side, that neither of two texts has; or is
/// another text than that on which both agree, since what both typed stands there twice.
pub(crate) fn is_new(merged: &str, a: &str, b: &str) -> bool {
    if a == b {
        return merged != a;
    }
    let (of_a, of_b) = (neighbours(a), neighbours(b));
    neighbours(merged).iter().any(|found| !of_a.contains(found) && !of_b.contains(found))
}

fn neighbours(text: &str) -> BTreeSet<Neighbours<'_>> {
    let mut found = BTreeSet::new();
    // Markup and lines part phrases.
    for stretch in text.split('\n').flat_map(|line| line.split('<')) {
        let stretch = stretch.split_once('>').map_or(stretch, |(_, after)| after);
        let mut before = "";
        for written in stretch.split_whitespace() {
            let word = written.trim_matches(is_sign);
            if !word.is_empty() {
                found.insert(("", word));
                found.insert((before, word));
                before = word;
            }
            if written.ends_with(['.', '!', '?', ';', ':', '。', '؟', '।']) {
                before = "";
            }
        }
    }
    found
}

/// What may stand around a word without being part of it.
fn is_sign(character: char) -> bool {
    !character.is_alphanumeric() && !matches!(character, '+' | '-' | '±' | '%' | '°')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_that_nobody_wrote_are_found() {
        for (merged, a, b) in [
            ("10 g", "10 mg", "5 g"),
            ("1015 mg", "10 mg", "15 mg"),
            ("dose 2.7", "dose 2.5", "dose 1.7"),
            ("is not allergic", "is not", "is allergic"),
            ("<p>since Monday last week</p>", "<p>since Monday</p>", "<p>since last week</p>"),
            ("fever -2", "fever", "pain -2"),
            ("Rest. Allergic. Allergic.", "Rest. Allergic.", "Rest. Allergic."),
        ] {
            assert!(is_new(merged, a, b), "{merged}");
        }
    }

    #[test]
    fn what_each_wrote_in_a_place_of_its_own_is_no_new_phrase() {
        for (merged, a, b) in [
            (
                "Dry cough for a week, no fever.",
                "Dry cough for a week.",
                "Cough for a week, no fever.",
            ),
            ("Stable. Seen by A. Eats well.", "Stable. Seen by A.", "Stable. Eats well."),
            ("<p>x</p><p>of a</p><p>of b</p>", "<p>x</p><p>of a</p>", "<p>x</p><p>of b</p>"),
            ("a\nof a\nof b", "a\nof a", "a\nof b"),
            ("a b", "a b", "b"),
            ("", "a", "b"),
        ] {
            assert!(!is_new(merged, a, b), "{merged}");
        }
    }
}
