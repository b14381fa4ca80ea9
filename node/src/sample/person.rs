//! An invented person: names, age, body, papers; and the Patient resource that says so.

use super::chance::Chance;
use super::country::{Country, Name, Naming};
use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::{Value, json};

/// A person as the rest of the chart needs to know them.
pub(super) struct Person {
    /// Where they live.
    pub(super) country: &'static Country,
    /// Whether they are a woman or a girl.
    pub(super) female: bool,
    /// When they were born.
    pub(super) born: Date,
    /// How they differ from the median body of their age and sex, in percent.
    pub(super) build: i64,
    given: Name,
    family: Name,
}

impl Person {
    /// Draws a person who is alive on `today`; ages are spread as in a rural clinic's register.
    pub(super) fn draw(chance: &mut Chance, country: &'static Country, today: Date) -> Self {
        let days = match chance.between(0, 99) {
            0..20 => chance.between(40, 5 * 365),
            20..40 => chance.between(5 * 365, 18 * 365),
            40..75 => chance.between(18 * 365, 50 * 365),
            _ => chance.between(50 * 365, 91 * 365),
        };
        let female = chance.percent(52);
        let family = match country.naming {
            Naming::Father => country.men,
            Naming::Family if female && !country.families_of_women.is_empty() => {
                country.families_of_women
            }
            Naming::Family => country.families,
        };
        Self {
            country,
            female,
            born: today.saturating_sub(days.days()),
            build: chance.between(88, 118),
            given: *chance.pick(if female { country.women } else { country.men }),
            family: *chance.pick(family),
        }
    }

    /// Age in whole months on a day.
    pub(super) fn months_on(&self, day: Date) -> i64 {
        let months = (i64::from(day.year()) - i64::from(self.born.year())) * 12
            + i64::from(day.month())
            - i64::from(self.born.month());
        months - i64::from(day.day() < self.born.day())
    }

    /// Age in whole years on a day.
    pub(super) fn years_on(&self, day: Date) -> i64 {
        self.months_on(day).div_euclid(12)
    }

    /// Weight in grams on a day, before the day's own variation.
    pub(super) fn grams_on(&self, day: Date) -> i64 {
        let adult = if self.female { 58_000 } else { 66_000 };
        let curve = [
            (0, 3_300),
            (3, 6_100),
            (6, 7_600),
            (12, 9_300),
            (24, 11_800),
            (60, 17_800),
            (120, 31_000),
            (180, 51_000),
            (228, adult),
        ];
        interpolate(&curve, self.months_on(day)) * self.build / 100
    }

    /// Height in millimetres on a day.
    pub(super) fn millimetres_on(&self, day: Date) -> i64 {
        let adult = if self.female { 1_580 } else { 1_700 };
        let curve = [
            (0, 498),
            (6, 667),
            (12, 750),
            (24, 868),
            (60, 1_090),
            (120, 1_380),
            (168, if self.female { 1_550 } else { 1_600 }),
            (216, adult),
        ];
        // Height varies less than weight does.
        interpolate(&curve, self.months_on(day)) * (300 + self.build) / 400
    }

    /// The Patient resource.
    pub(super) fn resource(&self, chance: &mut Chance, organization: &str, today: Date) -> Value {
        let country = self.country;
        let number = chance.digits("######");
        let (town, region) = *chance.pick(country.towns);
        let mut patient = json!({
            "resourceType": "Patient",
            "meta": {"source": format!("https://{}.clinic.example", country.code.to_lowercase())},
            "identifier": [
                {
                    "use": "usual",
                    "system": format!("https://{}.clinic.example/chart", country.code.to_lowercase()),
                    "value": format!("{}-{number}", country.code),
                },
                {
                    "use": "official",
                    "type": {"text": country.paper},
                    "system": format!("https://{}.papers.example", country.code.to_lowercase()),
                    "value": self.paper(chance),
                },
            ],
            "active": true,
            "name": self.names(),
            "gender": if self.female { "female" } else { "male" },
            "birthDate": self.born.to_string(),
            "address": [{
                "use": "home",
                "line": [*chance.pick(country.streets)],
                "city": town,
                "state": region,
                "country": country.code,
            }],
            "communication": [{
                "language": {"coding": [{"system": "urn:ietf:bcp:47", "code": country.language}]},
                "preferred": true,
            }],
            "managingOrganization": {"reference": organization},
        });
        if self.years_on(today) >= 15 {
            patient["telecom"] = json!([{
                "system": "phone", "value": chance.digits(country.phone), "use": "mobile",
            }]);
            let (code, display) =
                if chance.percent(60) { ("M", "Married") } else { ("S", "Never Married") };
            patient["maritalStatus"] = json!({"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus",
                "code": code,
                "display": display,
            }]});
        } else {
            patient["contact"] = self.mother(chance);
        }
        patient
    }

    fn mother(&self, chance: &mut Chance) -> Value {
        let mother = chance.pick(self.country.women).0;
        json!([{
            "relationship": [{"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
                "code": "MTH",
                "display": "mother",
            }]}],
            "name": {"use": "usual", "given": [mother]},
            "telecom": [{"system": "phone", "value": chance.digits(self.country.phone)}],
        }])
    }

    /// The name in its own script first and, where that is not Latin, in Latin letters too.
    fn names(&self) -> Value {
        let official = json!({
            "use": "official",
            "text": format!("{} {}", self.given.0, self.family.0),
            "family": self.family.0,
            "given": [self.given.0],
        });
        if self.given.1.is_empty() {
            return json!([official]);
        }
        json!([official, {
            "extension": [{
                "url": "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation",
                "valueCode": "ABC",
            }],
            "use": "usual",
            "family": self.family.1,
            "given": [self.given.1],
        }])
    }

    /// The number on the identity paper, in the shape that the country gives it.
    fn paper(&self, chance: &mut Chance) -> String {
        let (year, month, day) =
            (i64::from(self.born.year()), i64::from(self.born.month()), self.born.day());
        let short = year.rem_euclid(100);
        let sex = if self.female { 2 } else { 1 };
        match self.country.code {
            "SN" => chance.digits(&format!("{sex}###{year}#####")),
            "HT" => chance.digits("##########"),
            "NP" => chance.digits(&format!("##-01-{short:02}-#####")),
            "GR" => {
                let serial = chance.between(0, 499) * 2 + i64::from(!self.female);
                with_luhn(&format!("{day:02}{month:02}{short:02}{serial:04}"))
            }
            "CA" => {
                let month = if self.female { month + 50 } else { month };
                let family = ascii(self.family.0);
                let given = ascii(self.given.0);
                let letters = format!("{:X<3.3}{:.1}", family, given);
                format!("{letters} {}", chance.digits(&format!("{short:02}{month:02} {day:02}##")))
            }
            "VN" => {
                let century = (year / 100 - 19) * 2 + i64::from(self.female);
                chance.digits(&format!("0##{century}{short:02}######"))
            }
            _ => chance.digits("############"),
        }
    }
}

/// The value of a curve of (month, value) points, straight between them and flat behind the last.
fn interpolate(curve: &[(i64, i64)], month: i64) -> i64 {
    for pair in curve.windows(2) {
        let ((from, low), (until, high)) = (pair[0], pair[1]);
        if month < until {
            return low + (high - low) * (month - from).max(0) / (until - from);
        }
    }
    curve[curve.len() - 1].1
}

/// The ASCII letters of a name in capitals, accents dropped with their letters' marks.
fn ascii(name: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    name.nfd().filter(char::is_ascii_alphabetic).collect::<String>().to_uppercase()
}

/// The digits with Luhn's check digit behind them, as on a Greek AMKA.
fn with_luhn(digits: &str) -> String {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit - b'0');
            if at % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
        })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

#[cfg(test)]
mod tests {
    use super::super::country::COUNTRIES;
    use super::*;
    use jiff::civil::date;

    #[test]
    fn a_check_digit_is_luhns() {
        assert_eq!(with_luhn("7992739871"), "79927398713");
    }

    #[test]
    fn children_weigh_less_than_adults_and_ages_count_whole_months() {
        let today = date(2026, 3, 10);
        let mut chance = Chance::new(1, 1);
        for _ in 0..300 {
            let person = Person::draw(&mut chance, chance_country(), today);
            let grams = person.grams_on(today);
            match person.years_on(today) {
                0..=1 => assert!((3_000..15_000).contains(&grams), "{grams}"),
                2..=10 => assert!((9_000..45_000).contains(&grams), "{grams}"),
                18.. => assert!((50_000..80_000).contains(&grams), "{grams}"),
                _ => {}
            }
        }
        let mut person = Person::draw(&mut chance, chance_country(), today);
        person.born = date(2025, 3, 11);
        assert_eq!((person.months_on(today), person.years_on(today)), (11, 0));
        person.born = date(2025, 3, 10);
        assert_eq!((person.months_on(today), person.years_on(today)), (12, 1));
    }

    fn chance_country() -> &'static Country {
        &COUNTRIES[0]
    }

    #[test]
    fn papers_have_their_countrys_shape() {
        let today = date(2026, 3, 10);
        let mut chance = Chance::new(5, 1);
        for country in &COUNTRIES {
            let person = Person::draw(&mut chance, country, today);
            let paper = person.paper(&mut chance);
            let count = paper.chars().filter(char::is_ascii_digit).count();
            let expected = match country.code {
                "SN" => 13,
                "HT" => 10,
                "NP" => 11,
                "GR" => 11,
                "CA" => 8,
                _ => 12,
            };
            assert_eq!(count, expected, "{} {paper}", country.code);
        }
    }
}
