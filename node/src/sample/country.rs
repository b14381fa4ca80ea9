//! Where the invented people live: names in their own script, towns, telephone numbers, papers.
//!
//! Names are common ones of the country and are combined by chance; clinics are invented.

/// How a second name comes about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// A family name.
    Family,
    /// The father's given name, as in Ethiopia.
    Father,
}

/// A name in its own script and, where that is not Latin, in Latin letters.
#[derive(Clone, Copy)]
pub(super) struct Name(pub(super) &'static str, pub(super) &'static str);

/// What the generator knows of a country.
pub(super) struct Country {
    /// ISO 3166 code.
    pub(super) code: &'static str,
    /// BCP 47 tag of the language that is spoken at the clinic.
    pub(super) language: &'static str,
    /// Offset from UTC; none of these has summer time in the generator's world.
    pub(super) offset: &'static str,
    /// Mobile telephone numbers; `#` is a digit.
    pub(super) phone: &'static str,
    /// What the identity paper is called.
    pub(super) paper: &'static str,
    /// Towns and the region that each lies in.
    pub(super) towns: &'static [(&'static str, &'static str)],
    /// Streets or quarters.
    pub(super) streets: &'static [&'static str],
    /// How the second name comes about.
    pub(super) naming: Naming,
    /// Men's given names.
    pub(super) men: &'static [Name],
    /// Women's given names.
    pub(super) women: &'static [Name],
    /// Men's family names.
    pub(super) families: &'static [Name],
    /// Women's family names, where they differ.
    pub(super) families_of_women: &'static [Name],
    /// The clinic.
    pub(super) clinic: &'static str,
    /// What a visit's note is titled.
    pub(super) note: &'static str,
    /// Whether malaria is caught here.
    pub(super) malaria: bool,
    /// Whether tuberculosis is common here.
    pub(super) tuberculosis: bool,
}

/// Every country of the generator.
pub(super) static COUNTRIES: [Country; 8] =
    [SENEGAL, HAITI, NEPAL, GREECE, CANADA, ETHIOPIA, SUDAN, VIETNAM];

const SENEGAL: Country = Country {
    code: "SN",
    language: "fr",
    offset: "+00:00",
    phone: "+221 77 ### ## ##",
    paper: "Numéro d'identification nationale",
    towns: &[("Sédhiou", "Sédhiou"), ("Goudomp", "Sédhiou"), ("Vélingara", "Kolda")],
    streets: &["Quartier Moricounda", "Quartier Santassou", "Route de Diendé"],
    naming: Naming::Family,
    men: &[
        Name("Mamadou", ""),
        Name("Ousmane", ""),
        Name("Chérif", ""),
        Name("Abdoulaye", ""),
        Name("Moïse", ""),
        Name("Lamine", ""),
    ],
    women: &[
        Name("Aïssatou", ""),
        Name("Fatou", ""),
        Name("Khady", ""),
        Name("Mariéme", ""),
        Name("Seynabou", ""),
        Name("Rokhaya", ""),
    ],
    families: &[
        Name("Diédhiou", ""),
        Name("Sané", ""),
        Name("Cissé", ""),
        Name("Mané", ""),
        Name("Baldé", ""),
        Name("N'Diaye", ""),
        Name("Sow", ""),
    ],
    families_of_women: &[],
    clinic: "Poste de santé de la Palmeraie",
    note: "Note de consultation",
    malaria: true,
    tuberculosis: false,
};

const HAITI: Country = Country {
    code: "HT",
    language: "fr",
    offset: "-05:00",
    phone: "+509 3###-####",
    paper: "Numéro d'identification unique",
    towns: &[("Jérémie", "Grand'Anse"), ("Hinche", "Centre"), ("Môle-Saint-Nicolas", "Nord-Ouest")],
    streets: &["Rue Stenio Vincent", "Ruelle des Bougainvilliers", "Avenue du Marché"],
    naming: Naming::Family,
    men: &[
        Name("Jean-Rony", ""),
        Name("Wilner", ""),
        Name("Frantzy", ""),
        Name("Évens", ""),
        Name("Dieudonné", ""),
        Name("Jacquelin", ""),
    ],
    women: &[
        Name("Marie-Ange", ""),
        Name("Roselène", ""),
        Name("Guerda", ""),
        Name("Célianne", ""),
        Name("Islande", ""),
        Name("Yvrose", ""),
    ],
    families: &[
        Name("Pierre-Louis", ""),
        Name("Désir", ""),
        Name("Saint-Fleur", ""),
        Name("Joseph", ""),
        Name("Étienne", ""),
        Name("Toussaint", ""),
    ],
    families_of_women: &[],
    clinic: "Dispensaire Source Claire",
    note: "Note de consultation",
    malaria: true,
    tuberculosis: true,
};

const NEPAL: Country = Country {
    code: "NP",
    language: "ne",
    offset: "+05:45",
    phone: "+977 984#######",
    paper: "नागरिकता नम्बर",
    towns: &[("जुम्ला", "कर्णाली"), ("दिपायल", "सुदूरपश्चिम"), ("ताप्लेजुङ", "कोशी")],
    streets: &["वडा नं. २", "वडा नं. ५", "माथिल्लो टोल"],
    naming: Naming::Family,
    men: &[
        Name("राम बहादुर", "Ram Bahadur"),
        Name("विष्णु", "Bishnu"),
        Name("सन्तोष", "Santosh"),
        Name("हरि प्रसाद", "Hari Prasad"),
        Name("दीपक", "Deepak"),
    ],
    women: &[
        Name("सीता", "Sita"),
        Name("लक्ष्मी", "Laxmi"),
        Name("मञ्जु", "Manju"),
        Name("कल्पना", "Kalpana"),
        Name("पवित्रा", "Pabitra"),
    ],
    families: &[
        Name("थापा", "Thapa"),
        Name("गुरुङ", "Gurung"),
        Name("श्रेष्ठ", "Shrestha"),
        Name("तामाङ", "Tamang"),
        Name("अधिकारी", "Adhikari"),
        Name("कार्की", "Karki"),
    ],
    families_of_women: &[],
    clinic: "हिमाली स्वास्थ्य चौकी",
    note: "परामर्श टिपोट",
    malaria: false,
    tuberculosis: true,
};

const GREECE: Country = Country {
    code: "GR",
    language: "el",
    offset: "+02:00",
    phone: "+30 697 ### ####",
    paper: "ΑΜΚΑ",
    towns: &[("Αστυπάλαια", "Δωδεκάνησα"), ("Καρπενήσι", "Ευρυτανία"), ("Ιεράπετρα", "Κρήτη")],
    streets: &["Οδός Ελιάς 12", "Πλατεία Ηρώων 3", "Παραλιακή Οδός 27"],
    naming: Naming::Family,
    men: &[
        Name("Γιώργος", "Giorgos"),
        Name("Νίκος", "Nikos"),
        Name("Παναγιώτης", "Panagiotis"),
        Name("Μανώλης", "Manolis"),
        Name("Χαράλαμπος", "Charalampos"),
    ],
    women: &[
        Name("Ελένη", "Eleni"),
        Name("Κατερίνα", "Katerina"),
        Name("Δέσποινα", "Despina"),
        Name("Αγγελική", "Angeliki"),
        Name("Ευγενία", "Evgenia"),
    ],
    families: &[
        Name("Παπαδόπουλος", "Papadopoulos"),
        Name("Κωνσταντινίδης", "Konstantinidis"),
        Name("Οικονόμου", "Oikonomou"),
        Name("Μαρκάκης", "Markakis"),
    ],
    families_of_women: &[
        Name("Παπαδοπούλου", "Papadopoulou"),
        Name("Κωνσταντινίδου", "Konstantinidou"),
        Name("Οικονόμου", "Oikonomou"),
        Name("Μαρκάκη", "Markaki"),
    ],
    clinic: "Αγροτικό Ιατρείο Γαλάζιος Όρμος",
    note: "Σημείωμα επίσκεψης",
    malaria: false,
    tuberculosis: false,
};

const CANADA: Country = Country {
    code: "CA",
    language: "fr",
    offset: "-05:00",
    // Numbers from 555-0100 to 555-0199 are kept for fiction.
    phone: "+1 418-555-01##",
    paper: "Numéro d'assurance maladie",
    towns: &[("Havre-Saint-Pierre", "QC"), ("Gaspé", "QC"), ("Kuujjuaq", "QC")],
    streets: &["14, rue de l'Échouerie", "230, chemin des Épinettes", "8, rue du Quai"],
    naming: Naming::Family,
    men: &[
        Name("François", ""),
        Name("Étienne", ""),
        Name("Gaétan", ""),
        Name("Joël", ""),
        Name("William", ""),
    ],
    women: &[
        Name("Geneviève", ""),
        Name("Maïka", ""),
        Name("Noémie", ""),
        Name("Hélène", ""),
        Name("Sarah", ""),
    ],
    families: &[
        Name("Lévesque", ""),
        Name("Côté", ""),
        Name("Bélanger", ""),
        Name("Mac Donald", ""),
        Name("Cormier-Roy", ""),
    ],
    families_of_women: &[],
    clinic: "Dispensaire de la Baie-aux-Outardes",
    note: "Note d'évolution",
    malaria: false,
    tuberculosis: false,
};

const ETHIOPIA: Country = Country {
    code: "ET",
    language: "am",
    offset: "+03:00",
    phone: "+251 91 ### ####",
    paper: "ፋይዳ ቁጥር",
    towns: &[("ላሊበላ", "አማራ"), ("ጂንካ", "ደቡብ"), ("ደብረ ታቦር", "አማራ")],
    streets: &["ቀበሌ 01", "ቀበሌ 03", "ገበያ ሰፈር"],
    naming: Naming::Father,
    men: &[
        Name("አበበ", "Abebe"),
        Name("ተስፋዬ", "Tesfaye"),
        Name("ዳዊት", "Dawit"),
        Name("ሙሉጌታ", "Mulugeta"),
        Name("ኃይሉ", "Hailu"),
        Name("ግርማ", "Girma"),
    ],
    women: &[
        Name("አልማዝ", "Almaz"),
        Name("ትዕግስት", "Tigist"),
        Name("ሰላማዊት", "Selamawit"),
        Name("ብርሃኔ", "Birhane"),
        Name("ማርታ", "Marta"),
    ],
    families: &[],
    families_of_women: &[],
    clinic: "የቀስተ ደመና ጤና ጣቢያ",
    note: "የጉብኝት ማስታወሻ",
    malaria: true,
    tuberculosis: true,
};

const SUDAN: Country = Country {
    code: "SD",
    language: "ar",
    offset: "+02:00",
    phone: "+249 91 ### ####",
    paper: "الرقم الوطني",
    towns: &[("كسلا", "كسلا"), ("الأبيض", "شمال كردفان"), ("دنقلا", "الشمالية")],
    streets: &["حي الميرغنية", "حي الربيع", "شارع السوق"],
    naming: Naming::Family,
    men: &[
        Name("محمد", "Mohamed"),
        Name("عثمان", "Osman"),
        Name("عبد الرحمن", "Abdelrahman"),
        Name("إدريس", "Idris"),
        Name("الطيب", "Eltayeb"),
    ],
    women: &[
        Name("فاطمة", "Fatima"),
        Name("آمنة", "Amna"),
        Name("سعاد", "Suad"),
        Name("هالة", "Hala"),
        Name("إشراقة", "Ishraga"),
    ],
    families: &[
        Name("بابكر", "Babiker"),
        Name("عبد الله", "Abdalla"),
        Name("الأمين", "Elamin"),
        Name("حسن", "Hassan"),
        Name("سليمان", "Suliman"),
    ],
    families_of_women: &[],
    clinic: "مركز النخيل الصحي",
    note: "ملاحظة الزيارة",
    malaria: true,
    tuberculosis: true,
};

const VIETNAM: Country = Country {
    code: "VN",
    language: "vi",
    offset: "+07:00",
    phone: "+84 91 ### ## ##",
    paper: "Căn cước công dân",
    towns: &[
        ("Đồng Văn", "Hà Giang"),
        ("Cần Giờ", "Thành phố Hồ Chí Minh"),
        ("Mường Lát", "Thanh Hóa"),
    ],
    streets: &["Thôn Suối Trong", "12 đường Lê Lợi", "Ấp Bình Thạnh"],
    naming: Naming::Family,
    men: &[Name("Văn Đức", ""), Name("Hữu Thắng", ""), Name("Quốc Bảo", ""), Name("Minh Tuấn", "")],
    women: &[
        Name("Thị Hạnh", ""),
        Name("Thị Ngọc", ""),
        Name("Mỹ Duyên", ""),
        Name("Thị Hồng Nhung", ""),
    ],
    families: &[
        Name("Nguyễn", ""),
        Name("Trần", ""),
        Name("Phạm", ""),
        Name("Đặng", ""),
        Name("Vũ", ""),
    ],
    families_of_women: &[],
    clinic: "Trạm y tế Suối Trong",
    note: "Ghi chú khám bệnh",
    malaria: false,
    tuberculosis: true,
};
