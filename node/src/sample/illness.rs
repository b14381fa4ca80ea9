//! What people come with, what is given for it and what is measured: the generator's medicine.
//!
//! Codes are ICD-10 (WHO), SNOMED CT, ATC, LOINC and UCUM. Doses are usual ones; they are here to
//! look right, not to be followed.

/// An illness or a reason for a visit.
pub(super) struct Illness {
    /// ICD-10 code and title.
    pub(super) icd: (&'static str, &'static str),
    /// SNOMED CT code and term.
    pub(super) snomed: (&'static str, &'static str),
    /// Youngest and oldest age in years.
    pub(super) years: (i64, i64),
    /// Who has it.
    pub(super) who: Who,
    /// Whether it stays.
    pub(super) chronic: bool,
    /// Whether the record of it is labelled as restricted.
    pub(super) restricted: bool,
    /// What is given, best first; a drug that the patient is allergic to is passed over.
    pub(super) drugs: &'static [Drug],
    /// What is measured.
    pub(super) labs: &'static [Lab],
}

/// Who has an illness.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Anybody of the age.
    Anybody,
    /// Women and girls.
    Women,
    /// People of countries with malaria.
    WhereMalaria,
    /// People of countries where tuberculosis is common.
    WhereTuberculosis,
}

/// A drug and how it is usually given.
pub(super) struct Drug {
    /// ATC code and name.
    pub(super) atc: (&'static str, &'static str),
    /// How much at a time.
    pub(super) dose: Dose,
    /// How many times a day.
    pub(super) daily: i64,
    /// For how many days; none for a treatment that goes on.
    pub(super) days: Option<i64>,
    /// Which allergy forbids it.
    pub(super) forbidden_by: Option<&'static str>,
}

/// How much of a drug at a time.
#[derive(Clone, Copy)]
pub(super) enum Dose {
    /// The same for everybody who gets it: amount, unit.
    Fixed(i64, &'static str),
    /// Milligrams per kilogram up to a most, rounded to a step.
    ByWeight {
        /// Milligrams for each kilogram.
        mg_per_kg: i64,
        /// What is given at most.
        mg_max: i64,
        /// What can be measured out.
        mg_step: i64,
    },
    /// Puffs of an inhaler.
    Puffs(i64),
    /// Tablets by weight band: one, two, three and four from 5, 15, 25 and 35 kg.
    TabletsByBand,
}

/// A laboratory test and its usual result.
pub(super) struct Lab {
    /// LOINC code and name.
    pub(super) loinc: (&'static str, &'static str),
    /// What comes out.
    pub(super) result: Outcome,
}

/// What comes out of a test.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    /// A number between two, scaled by a power of ten, with its UCUM unit.
    Number {
        /// The lowest.
        low: i64,
        /// The highest.
        high: i64,
        /// How many decimal places both have.
        places: usize,
        /// UCUM unit.
        unit: &'static str,
    },
    /// Positive or negative; positive in so many of a hundred.
    Sign(i64),
}

const fn drug(
    atc: (&'static str, &'static str),
    dose: Dose,
    daily: i64,
    days: Option<i64>,
    forbidden_by: Option<&'static str>,
) -> Drug {
    Drug { atc, dose, daily, days, forbidden_by }
}

const fn lab(
    code: &'static str,
    name: &'static str,
    (low, high, places): (i64, i64, usize),
    unit: &'static str,
) -> Lab {
    Lab { loinc: (code, name), result: Outcome::Number { low, high, places, unit } }
}

const HAEMOGLOBIN: Lab = lab("718-7", "Hemoglobin [Mass/volume] in Blood", (108, 156, 1), "g/dL");
const GLUCOSE: Lab =
    lab("1558-6", "Fasting glucose [Mass/volume] in Serum or Plasma", (96, 214, 0), "mg/dL");
const CREATININE: Lab =
    lab("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", (55, 128, 2), "mg/dL");

/// What is measured at a check-up, and to fill a longer chart.
pub(super) static ROUTINE_LABS: [Lab; 7] = [
    HAEMOGLOBIN,
    lab("6690-2", "Leukocytes [#/volume] in Blood by Automated count", (38, 112, 1), "10*3/uL"),
    lab("777-3", "Platelets [#/volume] in Blood by Automated count", (150, 410, 0), "10*3/uL"),
    CREATININE,
    lab("2951-2", "Sodium [Moles/volume] in Serum or Plasma", (135, 146, 0), "mmol/L"),
    lab("2823-3", "Potassium [Moles/volume] in Serum or Plasma", (35, 51, 1), "mmol/L"),
    GLUCOSE,
];

/// A painkiller that a visit without an illness may end with.
const PARACETAMOL: Drug = drug(
    ("N02BE01", "Paracetamol"),
    Dose::ByWeight { mg_per_kg: 15, mg_max: 1000, mg_step: 25 },
    3,
    Some(5),
    None,
);

const AMOXICILLIN: Drug = drug(
    ("J01CA04", "Amoxicillin"),
    Dose::ByWeight { mg_per_kg: 40, mg_max: 1000, mg_step: 50 },
    2,
    Some(5),
    Some("91936005"),
);

const FOLIC_ACID: Drug = drug(("B03BB01", "Folic acid"), Dose::Fixed(5, "mg"), 1, None, None);

const fn illness(
    icd: (&'static str, &'static str),
    snomed: (&'static str, &'static str),
    years: (i64, i64),
    drugs: &'static [Drug],
    labs: &'static [Lab],
) -> Illness {
    let who = Who::Anybody;
    Illness { icd, snomed, years, who, chronic: false, restricted: false, drugs, labs }
}

/// Every illness of the generator.
pub(super) static ILLNESSES: [Illness; 17] = [
    Illness {
        chronic: true,
        ..illness(
            ("I10", "Essential (primary) hypertension"),
            ("59621000", "Essential hypertension"),
            (32, 99),
            &[
                drug(("C08CA01", "Amlodipine"), Dose::Fixed(5, "mg"), 1, None, None),
                drug(("C03AA03", "Hydrochlorothiazide"), Dose::Fixed(25, "mg"), 1, None, None),
            ],
            &[CREATININE],
        )
    },
    Illness {
        chronic: true,
        ..illness(
            ("E11.9", "Type 2 diabetes mellitus, without complications"),
            ("44054006", "Diabetes mellitus type 2"),
            (36, 95),
            &[drug(("A10BA02", "Metformin"), Dose::Fixed(850, "mg"), 2, None, None)],
            &[
                lab("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", (61, 104, 1), "%"),
                GLUCOSE,
            ],
        )
    },
    Illness {
        chronic: true,
        ..illness(
            ("J45.9", "Asthma, unspecified"),
            ("195967001", "Asthma"),
            (6, 70),
            &[drug(("R03AC02", "Salbutamol"), Dose::Puffs(2), 4, None, None)],
            &[lab(
                "19935-6",
                "Maximum expiratory gas flow Respiratory system airway by Peak flow meter",
                (190, 480, 0),
                "L/min",
            )],
        )
    },
    Illness {
        chronic: true,
        ..illness(
            ("E03.9", "Hypothyroidism, unspecified"),
            ("40930008", "Hypothyroidism"),
            (22, 90),
            &[drug(("H03AA01", "Levothyroxine sodium"), Dose::Fixed(75, "ug"), 1, None, None)],
            &[lab(
                "3016-3",
                "Thyrotropin [Units/volume] in Serum or Plasma",
                (9, 98, 1),
                "m[IU]/L",
            )],
        )
    },
    Illness {
        chronic: true,
        ..illness(
            ("G40.9", "Epilepsy, unspecified"),
            ("84757009", "Epilepsy"),
            (12, 70),
            &[drug(("N03AF01", "Carbamazepine"), Dose::Fixed(200, "mg"), 2, None, None)],
            &[],
        )
    },
    Illness {
        chronic: true,
        restricted: true,
        ..illness(
            ("F32.9", "Depressive episode, unspecified"),
            ("35489007", "Depressive disorder"),
            (18, 85),
            &[drug(("N06AB06", "Sertraline"), Dose::Fixed(50, "mg"), 1, None, None)],
            &[],
        )
    },
    Illness {
        chronic: true,
        restricted: true,
        ..illness(
            ("B24", "Unspecified human immunodeficiency virus [HIV] disease"),
            ("86406008", "Human immunodeficiency virus infection"),
            (18, 65),
            &[drug(
                ("J05AR27", "Lamivudine, tenofovir disoproxil and dolutegravir"),
                Dose::Fixed(1, "{tablet}"),
                1,
                None,
                None,
            )],
            &[lab(
                "20447-9",
                "HIV 1 RNA [#/volume] (viral load) in Serum or Plasma by NAA with probe detection",
                (20, 900, 0),
                "{copies}/mL",
            )],
        )
    },
    Illness {
        chronic: true,
        who: Who::WhereTuberculosis,
        ..illness(
            ("A16.2", "Tuberculosis of lung, without mention of confirmation"),
            ("154283005", "Pulmonary tuberculosis"),
            (16, 80),
            &[drug(
                ("J04AM06", "Rifampicin, pyrazinamide, ethambutol and isoniazid"),
                Dose::Fixed(4, "{tablet}"),
                1,
                Some(56),
                None,
            )],
            &[],
        )
    },
    Illness {
        chronic: true,
        who: Who::Women,
        ..illness(
            ("Z34.9", "Supervision of normal pregnancy, unspecified"),
            ("77386006", "Pregnant"),
            (18, 42),
            &[FOLIC_ACID],
            &[HAEMOGLOBIN],
        )
    },
    Illness {
        who: Who::WhereMalaria,
        ..illness(
            ("B50.9", "Plasmodium falciparum malaria, unspecified"),
            ("62676009", "Falciparum malaria"),
            (1, 80),
            &[drug(
                ("P01BF01", "Artemether and lumefantrine"),
                Dose::TabletsByBand,
                2,
                Some(3),
                None,
            )],
            &[Lab {
                loinc: ("70569-9", "Plasmodium sp Ag [Identifier] in Blood by Rapid immunoassay"),
                result: Outcome::Sign(100),
            }],
        )
    },
    illness(
        ("D50.9", "Iron deficiency anaemia, unspecified"),
        ("87522002", "Iron deficiency anemia"),
        (13, 75),
        &[drug(("B03AA07", "Ferrous sulfate"), Dose::Fixed(200, "mg"), 2, Some(90), None)],
        &[lab("718-7", "Hemoglobin [Mass/volume] in Blood", (78, 109, 1), "g/dL")],
    ),
    illness(
        ("J06.9", "Acute upper respiratory infection, unspecified"),
        ("54150009", "Upper respiratory infection"),
        (0, 95),
        &[PARACETAMOL],
        &[],
    ),
    illness(
        ("J18.9", "Pneumonia, unspecified"),
        ("233604007", "Pneumonia"),
        (0, 95),
        &[
            AMOXICILLIN,
            drug(
                ("J01FA10", "Azithromycin"),
                Dose::ByWeight { mg_per_kg: 10, mg_max: 500, mg_step: 25 },
                1,
                Some(3),
                None,
            ),
        ],
        &[],
    ),
    illness(
        ("A09.9", "Gastroenteritis and colitis of unspecified origin"),
        ("62315008", "Diarrhea"),
        (1, 5),
        &[drug(("A12CB01", "Zinc sulfate"), Dose::Fixed(20, "mg"), 1, Some(10), None)],
        &[],
    ),
    illness(
        ("M54.5", "Low back pain"),
        ("279039007", "Low back pain"),
        (20, 85),
        &[
            drug(("M01AE01", "Ibuprofen"), Dose::Fixed(400, "mg"), 3, Some(7), Some("293586001")),
            PARACETAMOL,
        ],
        &[],
    ),
    Illness {
        who: Who::Women,
        ..illness(
            ("N39.0", "Urinary tract infection, site not specified"),
            ("68566005", "Urinary tract infectious disease"),
            (16, 85),
            &[drug(("J01XE01", "Nitrofurantoin"), Dose::Fixed(100, "mg"), 2, Some(5), None)],
            &[Lab {
                loinc: ("5802-4", "Nitrite [Presence] in Urine by Test strip"),
                result: Outcome::Sign(80),
            }],
        )
    },
    illness(
        ("M19.9", "Arthrosis, unspecified"),
        ("396275006", "Osteoarthritis"),
        (52, 95),
        &[PARACETAMOL],
        &[],
    ),
];

/// Allergies: SNOMED CT code and term, FHIR category, whether it can kill.
pub(super) static ALLERGIES: [(&str, &str, &str, bool); 8] = [
    ("91936005", "Allergy to penicillin", "medication", true),
    ("293586001", "Allergy to aspirin", "medication", false),
    ("91939003", "Allergy to sulfonamide", "medication", false),
    ("91935009", "Allergy to peanut", "food", true),
    ("91930004", "Allergy to egg", "food", false),
    ("300913006", "Allergy to shellfish", "food", true),
    ("232350006", "House dust mite allergy", "environment", false),
    ("300916003", "Latex allergy", "environment", false),
];

/// How an allergy shows: SNOMED CT code and term.
pub(super) static REACTIONS: [(&str, &str); 4] = [
    ("271807003", "Eruption of skin"),
    ("126485001", "Urticaria"),
    ("267036007", "Dyspnea"),
    ("422587007", "Nausea"),
];

/// Immunisations: CVX code and name, the age in months at which each is due.
pub(super) static IMMUNIZATIONS: [(&str, &str, &[i64]); 8] = [
    ("19", "BCG", &[0]),
    ("102", "DTP-Hib-Hep B", &[2, 3, 4]),
    ("178", "OPV, bivalent", &[2, 3, 4]),
    ("133", "Pneumococcal conjugate PCV 13", &[2, 3, 4]),
    ("119", "rotavirus, monovalent", &[2, 3]),
    ("03", "MMR", &[9, 15]),
    ("37", "yellow fever live", &[9]),
    ("113", "Td (adult), 5 Lf tetanus toxoid, preservative free, adsorbed", &[192, 312, 432]),
];
