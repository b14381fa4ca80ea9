//! What `--help` says of each command in French; the English stands at the commands themselves.

use super::Language;

/// Each command by its path, and what it does.
const FRENCH: &[(&str, &str)] = &[
    ("", "Nœud de synchronisation pour cliniques, qui travaille aussi hors ligne"),
    ("init", "Créer le premier nœud d'un nouveau cabinet"),
    ("run", "Faire tourner le nœud au premier plan jusqu'à SIGTERM"),
    ("unlock", "Ouvrir les dossiers du nœud qui tourne"),
    ("lock", "Fermer les dossiers du nœud qui tourne ; il continue de synchroniser"),
    ("passphrase", "Changer la phrase secrète"),
    ("passphrase change", "Remplacer la phrase secrète"),
    ("invite", "Faire une invitation à usage unique, ou répondre à un fichier de demande"),
    ("join", "Créer un nœud qui entre dans un cabinet sur invitation"),
    ("backup", "Écrire le nœud dans un seul fichier, scellé et vérifié, pendant qu'il tourne"),
    (
        "restore",
        "Rétablir un nœud depuis sa sauvegarde, ou un cabinet depuis le dossier d'un nœud et le code de secours",
    ),
    ("peer", "Les pairs que ce nœud appelle"),
    ("peer add", "Retenir un pair"),
    ("peer remove", "Oublier un pair ; ce qui vient de lui reste"),
    ("peer list", "Lister les pairs"),
    ("node", "Les nœuds du cabinet"),
    ("node list", "Lister les nœuds"),
    ("node revoke", "Retirer ses droits à un nœud, pour toujours ou pour un temps"),
    ("node renew", "Donner un nouveau certificat à un nœud, avant ou après expiration de l'ancien"),
    ("sync", "Se synchroniser maintenant avec les pairs, et attendre la fin"),
    ("status", "Montrer les problèmes d'abord, puis une ligne par pair"),
    ("import", "Prendre des lots ou ressources FHIR, NDJSON, aussi compressés"),
    ("patient", "Trouver et montrer des patients, et dire lesquels sont une personne"),
    ("patient search", "Chercher par nom, identifiant, date de naissance ou téléphone"),
    ("patient show", "Montrer un patient, son dossier et ceux qui y sont liés"),
    ("patient duplicates", "Lister les paires qui sont sans doute une seule personne"),
    ("patient link", "Dire que deux dossiers sont d'une personne ; ils sont montrés ensemble"),
    ("patient unlink", "Retirer ce qui a été dit de deux dossiers"),
    ("patient distinct", "Dire que deux dossiers ne sont pas d'une même personne"),
    ("chart", "Montrer et changer des ressources, décider des conflits"),
    ("chart show", "Montrer une ressource ; ce qui est en conflit est marqué"),
    ("chart history", "Montrer ce qu'une ressource est devenue : qui, où, quand"),
    ("chart edit", "Changer des éléments d'une ressource, ou la supprimer"),
    ("chart put", "Écrire une ressource entière depuis un fichier, ou l'entrée (-)"),
    ("chart conflicts", "Lister les conflits qui attendent une décision"),
    ("chart resolve", "Décider d'un conflit"),
    ("review", "Décider des conflits et viser ce qui doit être vu, l'un après l'autre"),
    ("review sign-off", "Viser un point de la liste, pour tous les nœuds"),
    ("quarantine", "Voir les entrées mises à l'écart, et décider de leur sort"),
    ("quarantine list", "Lister ce qui est à l'écart, pourquoi, et ce qui en a été décidé"),
    ("quarantine release", "Réessayer une entrée ; celle d'un nœud exclu est montrée, partout"),
    (
        "quarantine discard",
        "Laisser une entrée à l'écart pour de bon ; elle est gardée et transmise",
    ),
    ("export", "Sortir les ressources en NDJSON ou en un lot"),
    ("verify", "Vérifier chaque chaîne, signature, empreinte, et l'index"),
    ("compact", "Mettre en paquets ce que tous les nœuds détiennent, pour gagner de la place"),
    ("login", "Ouvrir une session : les commandes qui suivent sont de cette personne"),
    ("logout", "Fermer la session de cet appareil"),
    ("pin", "Un code court pour changer de place à un appareil partagé"),
    ("pin set", "Choisir un code pour cet appareil"),
    ("pin switch", "Prendre la place de qui a la session de cet appareil"),
    ("token", "Les jetons d'accès des programmes"),
    ("token add", "Créer un jeton ; il n'est montré qu'une fois"),
    ("token list", "Lister les jetons"),
    ("token revoke", "Retirer un jeton, ici tout de suite, ailleurs après la synchronisation"),
    ("staff unlock", "Laisser quelqu'un réessayer après trop de mots de passe faux"),
    ("staff", "Le personnel, ses rôles et ses droits"),
    ("staff add", "Ajouter une personne"),
    ("staff list", "Lister le personnel"),
    ("staff set-role", "Donner d'autres rôles à une personne"),
    ("staff set", "Changer le nom, les sites ou les droits d'une personne"),
    (
        "staff suspend",
        "Suspendre une personne, ici tout de suite, ailleurs après la synchronisation",
    ),
    ("staff reinstate", "Lever une suspension"),
    ("staff reset", "Donner un nouveau mot de passe à une personne et la réadmettre"),
    ("staff roles", "Montrer le tableau des rôles : qui peut faire quoi"),
    ("staff operator-charts", "Dire si l'opérateur peut ouvrir les dossiers"),
    ("emergency", "Ouvrir un dossier en urgence ; c'est consigné et sera examiné"),
    ("audit", "Qui a fait quoi"),
    ("audit list", "Lister qui a fait quoi"),
    ("audit verify", "Vérifier que rien n'a été changé, ôté, déplacé ou coupé"),
    ("audit export", "Sortir la piste d'audit pour d'autres systèmes"),
    ("audit seen", "Dire qui a vu le dossier d'un patient, en mots pour le patient"),
    ("practice", "La clé du cabinet"),
    ("practice export-key", "Écrire la clé du cabinet dans un fichier, scellée"),
    ("practice import-key", "Remettre la clé du cabinet sur ce nœud"),
    ("doctor", "Chercher ce qui ne va pas ; ne change rien"),
    ("config", "Les réglages"),
    ("config show", "Montrer tous les réglages"),
    ("demo", "Montrer deux cliniques qui travaillent séparées puis se retrouvent"),
    ("completions", "Écrire les complétions pour un interpréteur de commandes"),
];

/// The command line in the user's language.
pub fn translate(command: clap::Command, language: Language) -> clap::Command {
    match language {
        Language::English => command,
        Language::French => french(command, ""),
    }
}

fn french(command: clap::Command, path: &str) -> clap::Command {
    let about = FRENCH.iter().find(|(of, _)| *of == path).map(|(_, about)| *about);
    let command = match about {
        Some(about) => command.about(about).long_about(None),
        None => command,
    };
    command.mut_subcommands(|sub| {
        let path = format!("{path} {}", sub.get_name());
        french(sub, path.trim_start())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_is_explained_in_french() {
        fn paths(command: &clap::Command, path: &str, all: &mut Vec<String>) {
            all.push(path.to_owned());
            for sub in command.get_subcommands() {
                let path = format!("{path} {}", sub.get_name());
                paths(sub, path.trim_start(), all);
            }
        }
        let mut all = Vec::new();
        paths(&crate::Arguments::command(), "", &mut all);
        for path in &all {
            assert!(FRENCH.iter().any(|(of, _)| of == path), "`{path}` has no French help");
        }
        assert_eq!(all.len(), FRENCH.len(), "French help for a command that is gone");
        let command = translate(crate::Arguments::command(), Language::French);
        let status = command.find_subcommand("status").and_then(clap::Command::get_about);
        assert!(status.is_some_and(|about| about.to_string().contains("problèmes")));
    }
}
