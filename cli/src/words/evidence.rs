//! What speaks for two patients being one person, or against: part of the catalogue, by evidence.

use super::{Language, Words};
use carnet_node::service::reply::Evidence;

impl Words {
    /// A few words that stand beside the points.
    pub const fn evidence(self, evidence: Evidence) -> &'static str {
        let [english, french] = match evidence {
            Evidence::SameNumber => ["same number", "même numéro"],
            Evidence::SameSharedNumber => [
                "same number, which a family may share",
                "même numéro, que des proches peuvent partager",
            ],
            Evidence::SameChartNumber => ["same chart number", "même numéro de dossier"],
            Evidence::OtherNumber => ["another official number", "autre numéro officiel"],
            Evidence::OtherPlainNumber => {
                ["another number of the same kind", "autre numéro du même type"]
            }
            Evidence::OtherChartNumber => ["another chart number", "autre numéro de dossier"],
            Evidence::SameName => ["same name", "même nom"],
            Evidence::SwappedName => [
                "same name, given and family name exchanged",
                "même nom, prénom et nom de famille échangés",
            ],
            Evidence::CloseName => ["nearly the same name", "presque le même nom"],
            Evidence::PartOfName => ["part of the name", "une partie du nom"],
            Evidence::SameGivenName => {
                ["same given name, another family name", "même prénom, autre nom de famille"]
            }
            Evidence::OtherGivenName => ["another given name", "autre prénom"],
            Evidence::OtherName => ["another name", "autre nom"],
            Evidence::SameBirthDate => ["same birth date", "même date de naissance"],
            Evidence::RoundBirthDate => [
                "same birth date, perhaps an estimate",
                "même date de naissance, peut-être estimée",
            ],
            Evidence::SwappedBirthDate => [
                "birth date with day and month exchanged",
                "date de naissance, jour et mois échangés",
            ],
            Evidence::CloseBirthDate => {
                ["birth date but for one figure", "date de naissance à un chiffre près"]
            }
            Evidence::SameBirthYear => ["same year of birth", "même année de naissance"],
            Evidence::NearBirthYear => ["close year of birth", "année de naissance proche"],
            Evidence::OtherBirthDate => ["another birth date", "autre date de naissance"],
            Evidence::SamePhone => ["same telephone", "même téléphone"],
            Evidence::HouseholdPhone => {
                ["same telephone, as in a household", "même téléphone, comme dans un foyer"]
            }
            Evidence::SameSex => ["same sex", "même sexe"],
            Evidence::OtherSex => ["another sex", "autre sexe"],
            Evidence::OtherTwin => ["one of twins", "un de deux jumeaux"],
        };
        match self.0 {
            Language::English => english,
            Language::French => french,
        }
    }
}
