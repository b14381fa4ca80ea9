//! Everything that this program says to people, in English and in French, in one catalogue.
//!
//! Keys of JSON output are never translated; scripts rely on them.

mod catalogue;
mod evidence;
pub mod help;
mod lookup;

pub use catalogue::Word;

/// A language of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    French,
}

impl Language {
    /// The language that `CARNET_LANG`, `LC_ALL`, `LC_MESSAGES` or `LANG` asks for; the first that
    /// says anything decides.
    pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let asked = ["CARNET_LANG", "LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| lookup(name).filter(|value| !value.is_empty()))
            .unwrap_or_default();
        if asked.to_ascii_lowercase().starts_with("fr") { Self::French } else { Self::English }
    }
}

/// The catalogue in one language.
#[derive(Clone, Copy, Debug)]
pub struct Words(pub Language);

impl Words {
    /// A text without gaps.
    pub const fn text(self, word: Word) -> &'static str {
        let [english, french] = word.texts();
        match self.0 {
            Language::English => english,
            Language::French => french,
        }
    }

    /// A text with its gaps filled: `{name}` with a value, `{name|one|many}` with the form that
    /// goes with the number in the gap `name`.
    pub fn fill(self, word: Word, gaps: &[(&str, &str)]) -> String {
        let mut filled = String::new();
        let mut rest = self.text(word);
        // One pass from left to right: what fills a gap is never searched for gaps.
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let (gap, after) = after.split_once('}').unwrap_or((after, ""));
            let mut parts = gap.split('|');
            let name = parts.next().unwrap_or_default();
            let value = gaps.iter().find(|(gap, _)| *gap == name).map_or("", |(_, value)| *value);
            filled.push_str(match (parts.next(), parts.next()) {
                (Some(one), Some(many)) => {
                    if self.0.is_one(value) {
                        one
                    } else {
                        many
                    }
                }
                _ => value,
            });
            rest = after;
        }
        filled + rest
    }
}

impl Language {
    /// Whether a number takes the singular: 1 in English, 0 and 1 in French.
    fn is_one(self, number: &str) -> bool {
        match self {
            Self::English => number == "1",
            Self::French => matches!(number, "0" | "1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn gaps(text: &str) -> BTreeSet<&str> {
        text.split('{')
            .skip(1)
            .filter_map(|part| part.split_once('}'))
            .map(|(gap, _)| gap.split('|').next().unwrap_or(gap))
            .collect()
    }

    /// The gaps that are numbers of things.
    const COUNTS: [&str; 17] = [
        "bundles",
        "conflicts",
        "count",
        "decided",
        "documents",
        "entries",
        "existing",
        "failed",
        "hours",
        "open",
        "patients",
        "receipts",
        "received",
        "resources",
        "sent",
        "signatures",
        "skipped",
    ];

    #[test]
    fn of_one_thing_nothing_is_said_in_the_plural() {
        for word in Word::ALL {
            for language in [Language::English, Language::French] {
                let ones: Vec<_> = COUNTS.into_iter().map(|gap| (gap, "1")).collect();
                let said = Words(language).fill(*word, &ones);
                let words: Vec<&str> = said.split([' ', ',', ';', '.', ':', '?']).collect();
                for pair in words.windows(2).filter(|pair| pair[0] == "1") {
                    let singular = matches!(pair[1], "was" | "is" | "has" | "fois");
                    assert!(singular || !pair[1].ends_with('s'), "{word:?}: {said}");
                }
            }
        }
    }

    #[test]
    fn a_number_takes_its_form() {
        let said =
            |language, count: &str| Words(language).fill(Word::PeerLacks, &[("count", count)]);
        assert_eq!(said(Language::English, "0"), "0 entries have not reached it");
        assert_eq!(said(Language::English, "1"), "1 entry has not reached it");
        assert_eq!(said(Language::English, "2"), "2 entries have not reached it");
        assert_eq!(said(Language::French, "0"), "0 entrée ne l'a pas atteint");
        assert_eq!(said(Language::French, "1"), "1 entrée ne l'a pas atteint");
        assert_eq!(said(Language::French, "21"), "21 entrées ne l'ont pas atteint");
    }

    #[test]
    fn both_languages_have_every_text_with_the_same_gaps() {
        for word in Word::ALL {
            let [english, french] = word.texts();
            assert!(!english.is_empty() && !french.is_empty(), "{word:?} is empty");
            assert_eq!(gaps(english), gaps(french), "{word:?}");
            assert_eq!(english.matches('{').count(), english.matches('}').count(), "{word:?}");
        }
    }

    #[test]
    fn the_first_variable_that_says_anything_decides() {
        let french = |name: &str| match name {
            "LANG" => Some("en_US.UTF-8".to_owned()),
            "LC_ALL" => Some("fr_SN.UTF-8".to_owned()),
            _ => None,
        };
        assert_eq!(Language::from_environment(french), Language::French);
        let said = |name: &str| match name {
            "CARNET_LANG" => Some("en".to_owned()),
            other => french(other),
        };
        assert_eq!(Language::from_environment(said), Language::English);
        assert_eq!(Language::from_environment(|_| None), Language::English);
    }

    #[test]
    fn what_fills_a_gap_is_not_searched_for_gaps() {
        let words = Words(Language::English);
        let text = words.fill(Word::ErrorPlace, &[("place", "{what}"), ("what", "x")]);
        assert_eq!(text, "{what}: x");
    }
}
