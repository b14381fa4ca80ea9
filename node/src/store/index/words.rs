//! Names and numbers in the form in which they are compared.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Words kept of one text: a name has few, and a hostile one must not fill the index.
const WORDS_MAX: usize = 16;

/// Characters kept of a word.
const WORD_CHARS_MAX: usize = 40;

/// The words of a text without case, accents and punctuation, in any script.
pub fn words(text: &str) -> Vec<String> {
    let folded: String = text
        .nfkd()
        .filter(|c| !is_dropped(*c))
        .flat_map(char::to_lowercase)
        .map(alike)
        .collect::<String>()
        .replace('ß', "ss")
        .replace('æ', "ae")
        .replace('œ', "oe");
    folded
        .split(|c: char| !c.is_alphanumeric() && !is_combining_mark(c))
        .filter(|word| !word.is_empty())
        .take(WORDS_MAX)
        .map(|word| word.chars().take(WORD_CHARS_MAX).collect())
        .collect()
}

/// The letter for which another is commonly written: an accent that is no mark of its own, a
/// form at a word's end, or letters of Arabic and Ethiopic that sound the same.
fn alike(c: char) -> char {
    let shifted =
        |from: char, to: char| char::from_u32(to as u32 + (c as u32 - from as u32)).unwrap_or(c);
    match c {
        'ς' => 'σ',
        'ø' => 'o',
        'ł' => 'l',
        'đ' | 'ð' => 'd',
        'ħ' => 'h',
        'ı' => 'i',
        'ى' | 'ی' => 'ي',
        'ة' => 'ه',
        'ک' => 'ك',
        'ሐ'..='ሗ' => shifted('ሐ', 'ሀ'),
        'ኀ'..='ኆ' => shifted('ኀ', 'ሀ'),
        'ሠ'..='ሧ' => shifted('ሠ', 'ሰ'),
        'ዐ'..='ዖ' => shifted('ዐ', 'አ'),
        'ፀ'..='ፆ' => shifted('ፀ', 'ጸ'),
        _ => digit(c).unwrap_or(c),
    }
}

/// A digit of any of these scripts as one of ASCII.
fn digit(c: char) -> Option<char> {
    let of = |zero: char| char::from_digit(c as u32 - zero as u32, 10);
    match c {
        '0'..='9' => Some(c),
        '٠'..='٩' => of('٠'),
        '۰'..='۹' => of('۰'),
        '०'..='९' => of('०'),
        _ => None,
    }
}

/// Accents above and below letters, and Arabic vowel signs, are left out by many who write; the
/// marks of Devanagari and its kin are vowels and stay.
fn is_dropped(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036f}' | '\u{0591}'..='\u{05c7}' | '\u{064b}'..='\u{065f}'
        | '\u{0670}' | '\u{0640}' | '\'' | '’' | '\u{02bc}' | '\u{200c}' | '\u{200d}')
}

/// The pieces of three letters of a word, its beginning marked: what two spellings share.
pub(super) fn trigrams(word: &str) -> Vec<String> {
    let letters: Vec<char> = std::iter::once(' ').chain(word.chars()).collect();
    let mut pieces: Vec<String> = letters.windows(3).map(|piece| piece.iter().collect()).collect();
    if pieces.is_empty() {
        pieces.push(letters.iter().collect());
    }
    pieces.sort_unstable();
    pieces.dedup();
    pieces
}

/// Typing errors forgiven in a word of this many letters.
pub(super) fn errors_forgiven(letters: usize) -> usize {
    match letters {
        0..=3 => 0,
        4..=6 => 1,
        _ => 2,
    }
}

/// The digits of a telephone number, those of other scripts included.
pub fn digits(text: &str) -> String {
    text.nfkd().filter_map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_and_punctuation_do_not_count_in_any_script() {
        assert_eq!(words("Émilie N'Diaye-Sarr"), ["emilie", "ndiaye", "sarr"]);
        assert_eq!(words("ΓΙΏΡΓΟΣ"), words("Γιώργος"));
        assert_eq!(words("أَحْمَد"), words("أحمد"));
        assert_ne!(words("सीता"), words("सात"), "vowel signs are vowels");
        assert_eq!(words("አበበ ቢቂላ").len(), 2);
        assert_eq!(words("Łukasz Søren Groß Æneas"), ["lukasz", "soren", "gross", "aeneas"]);
        assert_eq!(words("ዐበበ ኃይሌ ፀሐይ"), words("አበበ ሃይሌ ጸሀይ"));
        assert_eq!(words("فاطمة ليلى"), words("فاطمه ليلي"));
    }

    #[test]
    fn digits_of_other_scripts_are_digits() {
        assert_eq!(digits("+221 77-123 (०१)"), "2217712301");
        assert_eq!(digits("٠١٢"), "012");
        assert_eq!(words("SN-٠١२"), ["sn", "012"]);
    }
}
