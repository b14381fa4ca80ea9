//! Pairs of invented registrations, of several countries, that are of one person or are not: what
//! the points in `score.rs` were set on. Change a point, and see here what it decides.
//!
//! Each pair has three lines: what it shows, the one, the other. A person is written `given/family |
//! birth date | sex | telephone | numbers`; several names are divided by `;`, a number is
//! `system=value`, with `!` before it when it is an official one, `~` when it is a chart number, and
//! `&` when a family shares it.

use super::profile::Profile;
use super::score::{Evidence, Score, score};
use serde_json::{Value, json};

/// One person, registered twice.
const SAME: &str = "
the same in all
    Awa/Diatta | 1987-03-02 | f | +221 77 123 45 67
    Awa/Diatta | 1987-03-02 | f | +221 77 123 45 67
no telephone
    Awa/Diatta | 1987-03-02 | f
    Awa/Diatta | 1987-03-02 | f
accents and case
    AISSATOU/DIEDHIOU | 1990-12-24 | f
    Aïssatou/Diédhiou | 1990-12-24 | f
given and family name exchanged
    Diatta/Awa | 1987-03-02 | f
    Awa/Diatta | 1987-03-02 | f
a letter left out
    Awa/Diata | 1987-03-02 | f
    Awa/Diatta | 1987-03-02 | f
other spelling of both names
    Mohamed/Osman | 1979-06-17 | m
    Muhammad/Usman | 1979-06-17 | m
short form, same telephone
    Fatou/Sow | 1995-05-05 | f | 77 555 12 34
    Fatoumata/Sow | 1995-05-05 | f | 00221775551234
a second given name
    Awa Marie/Diatta | 1987-03-02 | f
    Awa/Diatta | 1987-03-02 | f
initial, same telephone
    A./Diatta | 1987-03-02 | f | 771234567
    Awa/Diatta | 1987-03-02 | f | 771234567
name of the husband, same telephone
    Awa/Diatta | 1987-03-02 | f | 771234567
    Awa/Sané | 1987-03-02 | f | 771234567
maiden name kept beside
    Awa/Sané;Awa/Diatta | 1987-03-02 | f
    Awa/Diatta | 1987-03-02 | f
day and month exchanged
    Ousmane/Cissé | 1962-04-09 | m
    Ousmane/Cissé | 1962-09-04 | m
one figure of the date
    Ousmane/Cissé | 1962-04-09 | m
    Ousmane/Cissé | 1967-04-09 | m
no birth date, same telephone
    Ousmane/Cissé | | m | 70 000 11 22
    Ousmane/Cissé | 1962-04-09 | m | 700001122
estimated year, same telephone
    Ousmane/Cissé | 1960 | m | 700001122
    Ousmane/Cissé | 1962-04-09 | m | 700001122
the first of January, same telephone
    Khady/Mané | 1980-01-01 | f | 770001122
    Khady/Mané | 1980-01-01 | f | 770001122
wrong sex, all else agrees
    Moussa/Baldé | 2001-07-30 | f | 761112233
    Moussa/Baldé | 2001-07-30 | m | 761112233
two chart numbers of one practice
    Awa/Diatta | 1987-03-02 | f | | ~urn:chart=10234
    Awa/Diatta | 1987-03-02 | f | | ~urn:chart=20871
same identity card, mistyped name and date
    Awa/Djatta | 1978-03-02 | f | | !urn:sn=2871987012345
    Awa/Diatta | 1987-03-02 | f | | !urn:sn=2 871 1987 012345;!urn:sn=2871987012345
same identity card, married since
    Roselène/Désir | 1984-08-11 | f | | !urn:ht=0102030405
    Roselène/Toussaint | 1984-08-11 | f | | !urn:ht=0102030405
same number and nothing else known
    | | | | urn:card=77-4455
    Awa/Diatta | 1987-03-02 | f | | urn:card=774455
a number mistyped by two fingers
    Évens/Désir | 1988-02-19 | m | | !urn:ht=0102030450
    Évens/Désir | 1988-02-19 | m | | !urn:ht=0102030405
Greek, accents left out
    Γιωργος/Παπαδοπουλος | 1950-10-28 | m
    Γιώργος/Παπαδόπουλος | 1950-10-28 | m
Greek and Latin, with both in one chart
    Giorgos/Papadopoulos | 1950-10-28 | m
    Γιώργος/Παπαδόπουλος;Giorgos/Papadopoulos | 1950-10-28 | m
Greek here, Latin there, same AMKA
    Γιώργος/Παπαδόπουλος | 1950-10-28 | m | | !urn:amka=28105012345
    Giorgos/Papadopoulos | 1950-10-28 | m | | !urn:amka=28105012345
Arabic, with the article and without
    أحمد/الخطيب | 1999-09-09 | m
    احمد/خطيب | 1999-09-09 | m
Arabic, joined
    عبد الرحمن/بابكر | 1971-03-15 | m
    عبدالرحمن/بابكر | 1971-03-15 | m
Arabic, four names and three
    محمد أحمد علي/حسن | 1966-11-02 | m
    محمد علي/حسن | 1966-11-02 | m
Nepali, figures of the script
    सीता/थापा | 2001-05-06 | f | ९८४१०००१११
    सीता/थापा | 2001-06-05 | f | 9841000111
Amharic, letters that sound alike
    ኃይሉ/አበበ | 1993-04-14 | m
    ሃይሉ/ዐበበ | 1993-04-14 | m
Vietnamese, family name first
    Nguyễn/Thị Hồng Nhung | 1992-07-21 | f
    Thị Hồng Nhung/Nguyễn | 1992-07-21 | f
Chinese, divided and not
    小明/王 | 1985-05-12 | m
    王小明 | 1985-05-12 | m
French, with and without hyphen
    Marie-Ange/Pierre-Louis | 1970-06-01 | f
    Marie Ange/Pierre Louis | 1970-06-01 | f
joined family name
    William/Mac Donald | 1969-12-30 | m
    William/MacDonald | 1969-12-30 | m";

/// Two persons.
const OTHER: &str = "
twins with the mother's telephone
    Adama/Sané | 2015-06-01 | f | 771112233
    Awa/Sané | 2015-06-01 | f | 771112233
twins by tradition
    Hassan/Fall | 2015-06-01 | m | 771112233
    Hussein/Fall | 2015-06-01 | m | 771112233
twins in Arabic
    حسن/بابكر | 2015-06-01 | m | 0911112222
    حسين/بابكر | 2015-06-01 | m | 0911112222
twins with half a name in common
    Marie-Ange/Joseph | 2010-02-02 | f | 50934445555
    Marie-Laure/Joseph | 2010-02-02 | f | 50934445555
twins of both sexes, called nearly alike
    Daniel/Joseph | 2010-02-02 | m
    Danielle/Joseph | 2010-02-02 | f
twins under one family's number
    Adama/Sané | 2015-06-01 | f | 771112233 | urn:family=4711
    Awa/Sané | 2015-06-01 | f | 771112233 | urn:family=4711
twins with numbers in sequence
    Amina/Diallo | 2015-06-01 | f | 771112233 | !urn:gn=2015060117
    Amira/Diallo | 2015-06-01 | f | 771112233 | !urn:gn=2015060118
mother and daughter of one name
    Awa/Diatta | 1962-03-02 | f | 771234567
    Awa/Diatta | 1987-11-20 | f | 771234567
father and son of one name
    Jean/Joseph | 1955-04-04 | m | 50934445555
    Jean/Joseph | 1985-09-17 | m | 50934445555
a child called after one that died
    Moussa/Baldé | 2012-05-08 | m | 761112233
    Moussa/Baldé | 2014-10-21 | m | 761112233
husband and wife
    Awa/Diatta | 1987-03-02 | f | 771234567
    Lamine/Diatta | 1980-10-10 | m | 771234567
mother and child with her telephone
    Awa/Diatta | 1987-03-02 | f | 771234567
    Ibou/Diatta | 2016-03-02 | m | 771234567
a household's insurance number
    Awa/Diatta | 1987-03-02 | f | 771234567 | &urn:mutuelle=88001
    Lamine/Diatta | 1987-05-19 | m | 771234567 | &urn:mutuelle=88001
the same common name, other birthday
    Fatou/Diop | 1990-04-11 | f
    Fatou/Diop | 1985-08-23 | f
the same common name, the first of January
    Fatou/Diop | 1980-01-01 | f
    Fatou/Diop | 1980-01-01 | f
the same common name, only the year known
    Fatou/Diop | 1980 | f
    Fatou/Diop | 1980 | f
the same common name, no birth date
    Fatou/Diop | | f
    Fatou/Diop | 1985-08-23 | f
name and birthday by chance, other identity cards
    Fatou/Diop | 1990-04-11 | f | | !urn:sn=2341990011111
    Fatou/Diop | 1990-04-11 | f | | !urn:sn=2781990055555
one number but its last figure, of plain systems
    Aminata/Diop | 1990-04-11 | f | | urn:card=1234567
    Aminata/Diop | 1990-04-11 | f | | urn:card=1234568
the same birthday alone
    Awa/Diatta | 1987-03-02 | f
    Khady/Mané | 1987-03-02 | f
the same birthday and telephone, nothing of the name
    Awa/Diatta | 1987-03-02 | f | 771234567
    Khady/Mané | 1987-03-02 | f | 771234567
given name and birthday
    Awa/Diatta | 1987-03-02 | f
    Awa/Sané | 1987-03-02 | f
the same chart number at two sites that count from 1
    Awa/Diatta | 1987-03-02 | f | | ~urn:chart=17
    Lamine/Sow | 1955-01-14 | m | | ~urn:chart=17
Vietnamese names that share all but one word
    Thị Hồng/Nguyễn | 1992-07-21 | f
    Thị Ngọc/Nguyễn | 1992-07-21 | f
Arabic names that differ by a letter
    محمد/حسن | 1966-11-02 | m | 0911112222
    محمود/حسن | 1966-11-02 | m | 0911112222
Ethiopian siblings
    አልማዝ/ተስፋዬ | 1999-02-03 | f | 0911000000
    ማርታ/ተስፋዬ | 2002-08-13 | f | 0911000000
Greek here, Latin there, and only a birthday
    Γιώργος/Παπαδόπουλος | 1950-10-28 | m
    Giorgos/Papadopoulos | 1950-10-28 | m
Nepali cousins
    सीता/थापा | 2001-05-06 | f
    गीता/थापा | 2001-05-06 | f
unknown persons
    Inconnu/Inconnu | | m
    Inconnu/Inconnu | | m
numbers that are none
    Awa/Diatta | | f | 000000000 | urn:card=0000000
    Khady/Mané | | f | 000000000 | urn:card=0000000
nothing known
    |
    |";

fn pairs(table: &'static str) -> impl Iterator<Item = [&'static str; 3]> {
    let lines: Vec<&str> = table.lines().skip(1).map(str::trim).collect();
    assert_eq!(lines.len() % 3, 0, "each pair has three lines");
    (0..lines.len() / 3).map(move |n| [lines[3 * n], lines[3 * n + 1], lines[3 * n + 2]])
}

fn person(line: &str) -> Value {
    let mut parts = line.split('|').map(str::trim);
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let name = |name: &str| match name.split_once('/') {
        Some((given, family)) => json!({"given": [given], "family": family}),
        None => json!({"text": name}),
    };
    let identifier = |number: &str| {
        let (system, value) = number.split_once('=').unwrap();
        match (&system[..1], &system[1..]) {
            ("!", system) => json!({"system": system, "value": value, "use": "official"}),
            ("~", system) => json!({"system": system, "value": value, "use": "usual"}),
            ("&", system) => json!({"system": system, "value": value,
                "type": {"coding": [{"code": "MB"}]}}),
            _ => json!({"system": system, "value": value}),
        }
    };
    let names: Vec<Value> = part().into_iter().flat_map(|all| all.split(';')).map(name).collect();
    let birth = part();
    let sex = match part() {
        Some("f") => "female",
        Some("m") => "male",
        _ => "unknown",
    };
    let phones: Vec<Value> = part().map(|value| json!({"value": value})).into_iter().collect();
    let numbers = part().into_iter().flat_map(|all| all.split(';')).map(identifier);
    json!({"resourceType": "Patient", "name": names, "birthDate": birth, "gender": sex,
        "telecom": phones, "identifier": numbers.collect::<Vec<_>>()})
}

fn compared(one: &str, other: &str) -> Score {
    let (one, other) = (Profile::of(&person(one)), Profile::of(&person(other)));
    let found = score(&one, &other);
    assert_eq!(found, score(&other, &one), "from both sides");
    found
}

#[test]
fn one_person_registered_twice_is_found() {
    let mut missed = Vec::new();
    for [what, one, other] in pairs(SAME) {
        let found = compared(one, other);
        if !found.is_likely() {
            missed.push(format!("{what}: {found:?}"));
        }
        let (one, other) = (Profile::of(&person(one)), Profile::of(&person(other)));
        assert!(!one.keys().is_disjoint(&other.keys()), "{what}: they are never compared");
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn two_persons_are_not_taken_for_one() {
    let mut wrong = Vec::new();
    for [what, one, other] in pairs(OTHER) {
        let found = compared(one, other);
        if found.is_likely() {
            wrong.push(format!("{what}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn twins_who_are_declared_as_such_are_two() {
    let twin = |name: &str, order: i64| {
        let mut body = person(&format!("{name}/Joseph | 2010-02-02 | f | 50934445555"));
        body["multipleBirthInteger"] = order.into();
        Profile::of(&body)
    };
    let found = score(&twin("Amina", 1), &twin("Amira", 2));
    assert!(!found.is_likely(), "{found:?}");
    let again = score(&twin("Amina", 1), &twin("Amina", 1));
    assert!(again.is_likely(), "the first twin, registered twice: {again:?}");
}

#[test]
fn the_weightiest_reason_comes_first_and_a_strong_number_weighs_most() {
    let found = compared(
        "Awa/Diatta | 1987-03-02 | f | 771234567 | !urn:sn=2871987012345",
        "Awa/Diata | 1987-03-02 | f | 771234567 | !urn:sn=2871987012345",
    );
    let evidence: Vec<Evidence> = found.reasons.iter().map(|reason| reason.evidence).collect();
    assert_eq!(
        evidence,
        [
            Evidence::SameNumber,
            Evidence::CloseName,
            Evidence::SameBirthDate,
            Evidence::SamePhone,
            Evidence::SameSex
        ]
    );
    assert_eq!(found.score, 100);
}
