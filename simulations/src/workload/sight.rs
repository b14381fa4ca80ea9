//! Words in what a node shows: which are there, and which are in dispute.

use super::Token;
use carnet_node::records::read::CONFLICT_URL;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a node shows of a resource, as far as tokens go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// The undisputed tokens by element.
    pub plain: BTreeMap<String, BTreeSet<Token>>,
    /// The tokens in an open conflict, by the conflict's element.
    pub disputed: BTreeMap<String, BTreeSet<Token>>,
    /// The tokens by element of what is shown as its value, disputed or not.
    pub(super) current: BTreeMap<String, BTreeSet<Token>>,
    /// The tokens that every value of a conflict has.
    pub(super) agreed: BTreeSet<Token>,
}

impl Sight {
    /// Looks at a resource as it is shown.
    pub fn of(resource: &Value) -> Self {
        let mut sight = Self::default();
        for (element, value) in resource.as_object().into_iter().flatten() {
            match value.as_array().filter(|_| element == "extension") {
                Some(extensions) => extensions.iter().for_each(|one| sight.extension(one)),
                None => sight.plain(element, value),
            }
        }
        sight.current.clone_from(&sight.plain);
        let disputed: BTreeSet<Token> = sight.disputed.values().flatten().copied().collect();
        sight.plain.values_mut().for_each(|tokens| tokens.retain(|t| !disputed.contains(t)));
        sight
    }

    fn plain(&mut self, element: &str, value: &Value) {
        let found = tokens(&value.to_string());
        if !found.is_empty() {
            self.plain.entry(element.to_owned()).or_default().extend(found);
        }
    }

    fn extension(&mut self, extension: &Value) {
        if extension["url"] != CONFLICT_URL {
            return self.plain("extension", extension);
        }
        let element = extension["extension"][0]["valueString"].as_str().unwrap_or_default();
        let found = tokens(&extension.to_string());
        self.disputed.entry(element.to_owned()).or_default().extend(found);
        let parts = extension["extension"].as_array().into_iter().flatten();
        let values = parts.filter(|part| part["url"] == "value");
        let all = values.map(|value| tokens(&value.to_string()));
        self.agreed.extend(all.reduce(|a, b| &a & &b).unwrap_or_default());
    }

    /// Every token, disputed or not.
    pub fn all(&self) -> BTreeSet<Token> {
        self.plain.values().chain(self.disputed.values()).flatten().copied().collect()
    }

    /// Whether a token is shown, disputed or not.
    pub fn shows(&self, token: Token) -> bool {
        self.plain.values().chain(self.disputed.values()).any(|tokens| tokens.contains(&token))
    }
}

/// What every word begins with: nothing else is written like it.
pub const WORD: &str = "vocable";

/// The word of a token.
pub fn word(token: Token) -> String {
    format!("{WORD}{token}q")
}

/// The tokens in a text.
pub fn tokens(text: &str) -> BTreeSet<Token> {
    let found = text.match_indices(WORD).filter_map(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        let (number, _) = rest.split_once('q')?;
        number.parse().ok()
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_are_found_where_they_are_shown() {
        let shown = json!({"resourceType": "Patient", "maritalStatus": {"text": "vocable1q and vocable2q"},
        "extension": [
            {"url": "other", "valueString": "vocable3q"},
            {"url": CONFLICT_URL, "extension": [{"url": "element", "valueString": "address"},
                {"url": "value", "extension": [{"url": "json", "valueString": "vocable2q vocable40q"}]}]}
        ]});
        let sight = Sight::of(&shown);
        assert_eq!(sight.plain["maritalStatus"], BTreeSet::from([1]));
        assert_eq!(sight.plain["extension"], BTreeSet::from([3]));
        assert_eq!(sight.disputed["address"], BTreeSet::from([2, 40]));
        assert!(sight.shows(40) && !sight.shows(4));
        assert_eq!(sight.current["maritalStatus"], BTreeSet::from([1, 2]));
        assert_eq!(sight.agreed, BTreeSet::from([2, 40]));
        assert_eq!(tokens("vocableq vocable vocable5 vocable6q"), BTreeSet::from([6]));
    }
}
