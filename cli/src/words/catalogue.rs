//! Every text in both languages, side by side, so that whoever changes one sees the other.

macro_rules! catalogue {
    ($($name:ident: $english:literal, $french:literal;)*) => {
        /// A text of the catalogue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Word {
            $($name),*
        }

        impl Word {
            /// Every text.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The text in English and in French.
            pub const fn texts(self) -> [&'static str; 2] {
                match self {
                    $(Self::$name => [$english, $french]),*
                }
            }
        }
    };
}

catalogue! {

    // Errors.
    ErrorLine:
        "{headline}: {what}",
        "{headline} : {what}";
    ErrorPlace:
        "{place}: {what}",
        "{place} : {what}";
    ErrorAdvice:
        "  -> {advice}",
        "  -> {advice}";
    ErrorFailure:
        "This did not work",
        "Cela n'a pas fonctionné";
    ErrorPartial:
        "Only a part was done",
        "Une partie seulement a été faite";
    ErrorDenied:
        "This is not allowed",
        "Ce n'est pas permis";
    ErrorNoNode:
        "There is no node here",
        "Il n'y a pas de nœud ici";
    ErrorInUse:
        "Another process has this directory",
        "Un autre processus tient ce dossier";
    ErrorWrongPassphrase:
        "Wrong passphrase, key file or code",
        "Phrase secrète, fichier-clé ou code incorrect";
    ErrorLocked:
        "The node is locked",
        "Le nœud est verrouillé";
    ErrorInterrupted:
        "Interrupted",
        "Interrompu";
    ErrorBadInput:
        "What was given cannot be used",
        "Ce qui a été donné est inutilisable";
    ErrorNotFound:
        "Not found",
        "Introuvable";
    ErrorInvitation:
        "The invitation cannot be used",
        "L'invitation est inutilisable";
    ErrorPeer:
        "The other side was refused",
        "L'autre côté a été refusé";
    ErrorUnreachable:
        "No answer",
        "Pas de réponse";
    ErrorDamaged:
        "The store is damaged",
        "Les données sont endommagées";
    ErrorNewerSchema:
        "The store was written by a newer Carnet",
        "Les données viennent d'un Carnet plus récent";
    ErrorDiskFull:
        "The disk is full",
        "Le disque est plein";
    ErrorChanged:
        "It has changed since you saw it",
        "Cela a changé depuis que vous l'avez vu";
    ErrorConfig:
        "The settings cannot be read",
        "Les réglages sont illisibles";
    AdviceFailure:
        "`carnet doctor` looks for the cause.",
        "`carnet doctor` cherche la cause.";
    AdvicePartial:
        "The answer says what is missing; try again for the rest.",
        "La réponse dit ce qui manque ; réessayez pour le reste.";
    AdviceDenied:
        "Ask whoever runs the practice's first node.",
        "Demandez à qui tient le premier nœud du cabinet.";
    AdviceNoNode:
        "Make one with `carnet init` or `carnet join`, or name its directory with --dir.",
        "Créez-en un par `carnet init` ou `carnet join`, ou nommez son dossier avec --dir.";
    AdviceInUse:
        "Wait for the other command, or stop the other process.",
        "Attendez l'autre commande, ou arrêtez l'autre processus.";
    AdviceWrongPassphrase:
        "Try again; `carnet unlock --recovery-code` replaces a forgotten passphrase.",
        "Réessayez ; `carnet unlock --recovery-code` remplace une phrase oubliée.";
    AdviceLocked:
        "Open it with `carnet unlock`, or name --passphrase-file or --key-file.",
        "Ouvrez-le par `carnet unlock`, ou nommez --passphrase-file ou --key-file.";
    AdviceInterrupted:
        "Nothing that was acknowledged is lost.",
        "Rien de ce qui a été confirmé n'est perdu.";
    AdviceBadInput:
        "`carnet help` and the command's --help show what is expected.",
        "`carnet help` et l'option --help de la commande montrent ce qui est attendu.";
    AdviceNotFound:
        "Check the name.",
        "Vérifiez le nom.";
    AdviceInvitation:
        "Ask for a new one: `carnet invite`.",
        "Demandez-en une nouvelle : `carnet invite`.";
    AdvicePeer:
        "`carnet node list` shows whom the practice knows.",
        "`carnet node list` montre qui le cabinet connaît.";
    AdviceUnreachable:
        "It is kept; it goes out when the link returns.",
        "C'est gardé ; cela partira au retour de la liaison.";
    AdviceDamaged:
        "Keep the directory as it is, and run `carnet verify`.",
        "Gardez le dossier tel quel, et lancez `carnet verify`.";
    AdviceNewerSchema:
        "Install the newer Carnet again; nothing was changed.",
        "Réinstallez le Carnet plus récent ; rien n'a été changé.";
    AdviceDiskFull:
        "Make room and try again; nothing half-written is kept.",
        "Faites de la place et réessayez ; rien d'inachevé n'est gardé.";
    AdviceChanged:
        "Look at it again, then decide.",
        "Regardez de nouveau, puis décidez.";
    AdviceConfig:
        "`carnet config show --origin` lists every setting.",
        "`carnet config show --origin` liste tous les réglages.";

    // Passphrases and codes.
    DeniedRole:
        "{who} may not do this ({act}): none of their roles includes it",
        "{who} n'en a pas le droit ({act}) : aucun de ses rôles ne le comprend";
    DeniedClass:
        "{who} may not see or change {class} in this way ({act}): none of their roles includes it",
        "{who} n'a pas accès à ceci : {class} ({act}) ; aucun de ses rôles ne le comprend";
    DeniedRestricted:
        "this record is restricted to the patient's care team",
        "cette donnée est réservée à l'équipe soignante du patient";
    DeniedConsent:
        "the patient's consent does not allow it",
        "le consentement du patient ne le permet pas";
    DeniedNotOwn:
        "a patient sees their own record only",
        "un patient ne voit que son propre dossier";
    DeniedScope:
        "the API token's scopes do not include it",
        "les droits du jeton d'accès ne le comprennent pas";
    DeniedPurpose:
        "{who} may not act for this purpose ({act})",
        "{who} ne peut pas agir à cette fin ({act})";
    DeniedOperator:
        "the practice has an administrator, and charts are opened by members of staff",
        "le cabinet a un administrateur, et les dossiers sont ouverts par le personnel";
    DeniedStanding:
        "{who} is not, or no longer, an active member of staff",
        "{who} ne fait pas, ou plus, partie du personnel actif";
    DeniedSite:
        "{who} does not work at this site",
        "{who} ne travaille pas sur ce site";
    DeniedCutOff:
        "this node was suspended or revoked: nothing more can be written on it",
        "ce nœud a été suspendu ou révoqué : plus rien ne peut y être écrit";
    DeniedExpired:
        "it took too long",
        "cela a pris trop de temps";
    DeniedPassword:
        "the user id or the password is wrong",
        "l'identifiant ou le mot de passe est incorrect";
    DeniedWait:
        "too many wrong attempts: the next one is taken in {act}",
        "trop d'essais incorrects : le prochain est possible dans {act}";
    DeniedLockedUser:
        "after 20 wrong passwords in a row this user is locked at this node",
        "après 20 mots de passe incorrects de suite, cet utilisateur est bloqué sur ce nœud";
    DeniedSession:
        "the session has ended",
        "la session est terminée";
    DeniedNoPin:
        "this person has no PIN on this device",
        "cette personne n'a pas de code PIN sur cet appareil";
    DeniedPin:
        "the PIN is wrong",
        "le code PIN est incorrect";
    DeniedPinLocked:
        "after 5 wrong PINs this PIN is locked",
        "après 5 essais incorrects, ce code PIN est bloqué";
    DeniedToken:
        "the API token is unknown, has expired or was revoked",
        "le jeton d'accès est inconnu, a expiré ou a été révoqué";
    AdviceWait:
        "Wait, or log in at another node of the practice.",
        "Patientez, ou connectez-vous sur un autre nœud du cabinet.";
    AdviceLockedUser:
        "Log in at another node, or let an administrator set a new password here (`carnet staff reset`); the recovery code does it too.",
        "Connectez-vous sur un autre nœud, ou faites définir ici un nouveau mot de passe par un administrateur (`carnet staff reset`) ; le code de récupération le permet aussi.";
    AdviceLogin:
        "Log in again.",
        "Connectez-vous de nouveau.";
    AdviceByPassword:
        "Log in with the password.",
        "Connectez-vous avec le mot de passe.";
    AdviceToken:
        "Ask an administrator for a new one.",
        "Demandez-en un nouveau à un administrateur.";
    AdviceRole:
        "Ask a colleague whose role includes it (`carnet staff roles`), or an administrator.",
        "Demandez à un collègue dont le rôle le comprend (`carnet staff roles`), ou à un administrateur.";
    AdviceEmergency:
        "Ask somebody of the care team. In an emergency: `carnet emergency PATIENT --reason WHY`.",
        "Demandez à l'équipe soignante. En urgence : `carnet emergency PATIENT --reason POURQUOI`.";
    AdviceScope:
        "An administrator can make a token with other scopes.",
        "Un administrateur peut créer un jeton avec d'autres droits.";
    AdvicePurpose:
        "Leave out --purpose, or name one that fits the role.",
        "Omettez --purpose, ou indiquez une fin qui convient au rôle.";
    AdviceOperator:
        "Add --as ID, or have an administrator allow it: `carnet staff operator-charts allow`.",
        "Ajoutez --as ID, ou faites-le permettre : `carnet staff operator-charts allow`.";
    AdviceStanding:
        "Ask an administrator of the practice.",
        "Adressez-vous à un administrateur du cabinet.";
    AdviceCutOff:
        "Write on another node. An administrator there can reinstate this one (`carnet node revoke --reinstate`) or invite it again.",
        "Écrivez sur un autre nœud. Un administrateur peut y rétablir celui-ci (`carnet node revoke --reinstate`) ou l'inviter à nouveau.";
    AdviceAgain:
        "Try again.",
        "Recommencez.";
    AdvicePassword:
        "Try again; an administrator can set a new password: `carnet staff reset ID`.",
        "Réessayez ; un administrateur peut en donner un nouveau : `carnet staff reset ID`.";
    ClassDemographics:
        "name and address",
        "identité et adresse";
    ClassAllergies:
        "allergies",
        "allergies";
    ClassAlerts:
        "warnings",
        "alertes";
    ClassProblems:
        "diagnoses",
        "diagnostics";
    ClassMedications:
        "medicines",
        "médicaments";
    ClassImmunizations:
        "immunisations",
        "vaccinations";
    ClassObservations:
        "measurements",
        "mesures";
    ClassResults:
        "test results",
        "résultats d'examens";
    ClassOrders:
        "orders",
        "prescriptions d'actes";
    ClassProcedures:
        "procedures",
        "actes";
    ClassDiet:
        "diet",
        "régime";
    ClassNotes:
        "notes and documents",
        "notes et documents";
    ClassEncounters:
        "visits",
        "visites";
    ClassPlans:
        "care plans",
        "plans de soins";
    ClassScheduling:
        "appointments",
        "rendez-vous";
    ClassCoverage:
        "insurance",
        "assurance";
    ClassBilling:
        "bills",
        "factures";
    ClassConsents:
        "consents",
        "consentements";
    ClassDirectory:
        "addresses of the practice",
        "répertoire du cabinet";
    ClassKnowledge:
        "reference data",
        "données de référence";
    ClassOther:
        "other data",
        "autres données";
    WrittenLate:
        "written after its author was suspended",
        "écrit après la suspension de son auteur";
    PatientWithheld:
        "{count} more that you may not see.",
        "{count} de plus que vous ne pouvez pas voir.";
    PinPrompt:
        "PIN:",
        "Code :";
    PinSet:
        "The PIN holds on this device only.",
        "Le code ne vaut que sur cet appareil.";
    LoggedIn:
        "The commands that follow are {who}'s, until `carnet logout` or 15 minutes without one.",
        "Les commandes qui suivent sont de {who}, jusqu'à `carnet logout` ou 15 minutes sans commande.";
    LoggedOut:
        "The session has ended.",
        "La session est fermée.";
    TokenOnce:
        "This is shown only once: give it to the program now.",
        "Ceci n'est montré qu'une fois : donnez-le au programme maintenant.";
    TokenRevoked:
        "The token {id} has ended.",
        "Le jeton {id} est retiré.";
    LoginUnlocked:
        "They may try again on this device.",
        "Cette personne peut réessayer sur cet appareil.";
    ChartInEmergency:
        "Opened in an emergency by {who}, {time}, and not signed off yet: {reason}",
        "Ouvert en urgence par {who}, {time}, pas encore visé : {reason}";
    NewPasswordPrompt:
        "New password:",
        "Nouveau mot de passe :";
    NoStaff:
        "There are no members of staff yet: whoever owns this directory may do everything. Begin with `carnet staff add ID --name NAME --role administrator`.",
        "Il n'y a pas encore de personnel : qui possède ce dossier peut tout faire. Commencez par `carnet staff add ID --name NOM --role administrator`.";
    StaffLockedOut:
        "locked here after too many wrong passwords: `carnet staff unlock ID`",
        "bloqué ici après trop de mots de passe erronés : `carnet staff unlock ID`";
    StaffDisputed:
        "changed in two places apart; the stricter holds until an administrator decides",
        "modifié à deux endroits séparément ; le plus strict vaut jusqu'à la décision d'un administrateur";
    OperatorAllowed:
        "The operator may open charts.",
        "L'opérateur peut ouvrir les dossiers.";
    OperatorRefused:
        "The operator runs the node and opens no charts.",
        "L'opérateur fait fonctionner le nœud et n'ouvre pas de dossiers.";
    EmergencyOpened:
        "The chart of Patient/{patient} is open to you for {hours} {hours|hour|hours}. It is on record, and the privacy officer will look at it.",
        "Le dossier de Patient/{patient} vous est ouvert pour {hours} {hours|heure|heures}. C'est consigné, et le responsable de la confidentialité l'examinera.";
    TrailSound:
        "The trail is sound: {events} events.",
        "La piste d'audit est intacte : {events} événements.";
    TrailBroken:
        "The trail is not as it was written: {events} events could be read.",
        "La piste d'audit n'est plus telle qu'elle fut écrite : {events} événements ont pu être lus.";
    TrailUnwitnessed:
        "The last {unwitnessed} entries are on this machine only: that none is missing after them can't be proved before the next sync.",
        "Les {unwitnessed} dernières écritures ne sont que sur cette machine : qu'aucune ne manque après elles ne se prouve qu'après la prochaine synchronisation.";
    SeenRead:
        "{time}: {who} at {site} looked at your {what}.",
        "{time} : {who} à {site} a consulté : {what}.";
    SeenWrote:
        "{time}: {who} at {site} wrote in your {what}.",
        "{time} : {who} à {site} a écrit : {what}.";
    SeenExported:
        "{time}: {who} at {site} took a copy of your record.",
        "{time} : {who} à {site} a pris une copie de votre dossier.";
    SeenEmergency:
        "{time}: {who} at {site} opened your record in an emergency: {reason}",
        "{time} : {who} à {site} a ouvert votre dossier en urgence : {reason}";
    SeenDenied:
        "{time}: {who} at {site} wanted to see your {what} and was not allowed to.",
        "{time} : {who} à {site} a voulu voir : {what}, et cela a été refusé.";
    SeenChart:
        "record",
        "dossier";
    SeenOperator:
        "whoever runs the machine",
        "la personne qui fait fonctionner la machine";
    PasswordPrompt:
        "Password:",
        "Mot de passe :";
    PassphrasePrompt:
        "Passphrase:",
        "Phrase secrète :";
    PassphraseAgain:
        "Once more:",
        "Encore une fois :";
    NewPassphrasePrompt:
        "New passphrase:",
        "Nouvelle phrase secrète :";
    PracticePassphrase:
        "Practice passphrase:",
        "Phrase secrète du cabinet :";
    PassphraseChanged:
        "The passphrase is changed.",
        "La phrase secrète est changée.";
    RecoveryCodePrompt:
        "Recovery code:",
        "Code de secours :";
    RecoveryCodeHead:
        "Recovery code. Write it on paper now; it is shown this once:",
        "Code de secours. Notez-le sur papier maintenant ; il n'est montré que cette fois :";
    RecoveryCodeWarning:
        "With it and any node's data the whole practice can be read and restored. Keep it where no laptop is kept.",
        "Avec lui et les données d'un nœud, on peut lire et rétablir tout le cabinet. Gardez-le loin des ordinateurs.";
    RecoveryCodeAsk:
        "Type the code from your paper:",
        "Tapez le code de votre papier :";
    RecoveryCodeRight:
        "The code is right.",
        "Le code est juste.";
    RecoveryCodeWrong:
        "That is not the code. Look at your paper again.",
        "Ce n'est pas le code. Regardez encore votre papier.";
    RecoveryCodeUnconfirmed:
        "The code was not confirmed. Make sure that it stands on paper as above: it cannot be shown again.",
        "Le code n'a pas été confirmé. Assurez-vous qu'il est sur papier comme ci-dessus : il ne peut plus être montré.";
    NowLocked:
        "The charts are closed. The node goes on receiving and passing on.",
        "Les dossiers sont fermés. Le nœud continue de recevoir et de transmettre.";
    NowUnlocked:
        "The charts are open.",
        "Les dossiers sont ouverts.";
    RunLocked:
        "The node is locked: it receives and passes on, and shows nothing until `carnet unlock`.",
        "Le nœud est verrouillé : il reçoit et transmet, et ne montre rien avant `carnet unlock`.";

    // Nodes.
    InitDone:
        "The practice's first node stands: {site}, in {dir}.",
        "Le premier nœud du cabinet est prêt : {site}, dans {dir}.";
    NodeIs:
        "Node {node}",
        "Nœud {node}";
    KeyFileIs:
        "Key file {path}: whoever has it and this disk can read the charts.",
        "Fichier-clé {path} : qui l'a avec ce disque peut lire les dossiers.";
    JoinDone:
        "This node is now part of the practice.",
        "Ce nœud fait maintenant partie du cabinet.";
    JoinNext:
        "Start it with `carnet run`; it calls its inviter by itself.",
        "Lancez-le par `carnet run` ; il appelle de lui-même qui l'a invité.";
    RestoreDone:
        "The practice is restored here. Revoke nodes that are lost: `carnet node revoke`.",
        "Le cabinet est rétabli ici. Révoquez les nœuds perdus : `carnet node revoke`.";
    RevivedDone:
        "The node is back as it was on {made}: {entries} {entries|entry|entries} and {signatures} {signatures|signature|signatures} checked. It begins a new life: its earlier number is not used again.",
        "Le nœud est revenu tel qu'il était le {made} : {entries} {entries|entrée vérifiée|entrées vérifiées}, {signatures} {signatures|signature vérifiée|signatures vérifiées}. Il commence une nouvelle vie : son ancien numéro ne sert plus.";
    RevivedNext:
        "Start it with `carnet run`: it fetches from its peers what it wrote after the backup. Never start the old machine's copy again; if that was stolen, revoke this node and restore with --site instead.",
        "Lancez-le par `carnet run` : il reprend à ses pairs ce qu'il a écrit après la sauvegarde. Ne relancez jamais la copie de l'ancienne machine ; si elle a été volée, révoquez ce nœud et rétablissez plutôt avec --site.";
    BackupDone:
        "Written and read back: {path}, {bytes} in {seconds} s. Chains, hashes and signatures hold: {entries} {entries|entry|entries}, {signatures} {signatures|signature|signatures}.",
        "Écrit et relu : {path}, {bytes} en {seconds} s. Chaînes, empreintes et signatures sont justes : {entries} {entries|entrée|entrées}, {signatures} {signatures|signature|signatures}.";
    BackupOpens:
        "What opens the node today opens this file: its passphrase or key file, or the recovery code.",
        "Ce qui ouvre le nœud aujourd'hui ouvre ce fichier : sa phrase secrète ou son fichier-clé, ou le code de secours.";
    InviteExplained:
        "For {site}, once, until {expires}. Whoever has this text can join: hand it over yourself.",
        "Pour {site}, une fois, jusqu'au {expires}. Qui a ce texte peut entrer : remettez-le vous-même.";
    FileWritten:
        "Written: {path}",
        "Écrit : {path}";
    RequestExplained:
        "Take it to a node of the practice: `carnet invite --approve FILE`. Read these words out to compare: {fingerprint}",
        "Portez-le à un nœud du cabinet : `carnet invite --approve FICHIER`. Lisez ceci à voix haute pour comparer : {fingerprint}";
    StateActive:
        "active",
        "actif";
    StateExpired:
        "certificate expired",
        "certificat expiré";
    StateSuspended:
        "suspended",
        "suspendu";
    StateUnattested:
        "admitted by one that was cut off",
        "admis par un nœud exclu";
    StateRevoked:
        "revoked",
        "révoqué";
    ThisNode:
        "(this node)",
        "(ce nœud)";
    RevokeAsk:
        "Put {site} ({node}) out of the practice for good?",
        "Exclure définitivement {site} ({node}) du cabinet ?";
    RevokeDryRun:
        "{site} ({node}) would be affected; nothing was changed.",
        "{site} ({node}) serait touché ; rien n'a été changé.";
    RevokeDone:
        "{site} is out. What it held stays readable to whoever can unlock it.",
        "{site} est exclu. Ce qu'il détenait reste lisible pour qui peut le déverrouiller.";
    SuspendDone:
        "{site} is out until `carnet node revoke --reinstate`.",
        "{site} est exclu jusqu'à `carnet node revoke --reinstate`.";
    ReinstateDone:
        "{site} is in again.",
        "{site} est de nouveau admis.";
    RenewDone:
        "{site} has a new certificate, until {expires}. It takes it up when they next sync.",
        "{site} a un nouveau certificat, jusqu'au {expires}. Il le prend à la prochaine synchronisation.";
    KeyExported:
        "The practice key is in {path}, and still on this node.",
        "La clé du cabinet est dans {path}, et toujours sur ce nœud.";
    KeyMoved:
        "The practice key is in {path}, and no longer on this node.",
        "La clé du cabinet est dans {path}, et n'est plus sur ce nœud.";
    KeyImported:
        "The practice key of {path} is on this node.",
        "La clé du cabinet de {path} est sur ce nœud.";
    RemoveKeyAsk:
        "Take the practice key off this node? Without the file, only the recovery code brings it back.",
        "Retirer la clé du cabinet de ce nœud ? Sans le fichier, seul le code de secours la ramène.";

    // Peers and sync.
    PeerAdded:
        "The peer is remembered.",
        "Le pair est retenu.";
    PeerRemoved:
        "The peer is forgotten; what came from it stays.",
        "Le pair est oublié ; ce qui vient de lui reste.";
    NoPeers:
        "No peer is known yet.",
        "Aucun pair n'est encore connu.";
    PeerUnknown:
        "(not met yet)",
        "(pas encore rencontré)";
    PeerConnected:
        "connected",
        "connecté";
    PeerAway:
        "away; you can keep working",
        "absent ; vous pouvez continuer";
    PeerNeverMet:
        "not synced yet",
        "pas encore synchronisé";
    PeerHoldsEverything:
        "holds everything up to {time}",
        "détient tout jusqu'à {time}";
    PeerHoldsUpTo:
        "last synced at {time}",
        "dernière synchronisation à {time}";
    PeerLacks:
        "{count} {count|entry has|entries have} not reached it",
        "{count} {count|entrée ne l'a|entrées ne l'ont} pas atteint";
    PeerHas:
        "{count} {count|entry is|entries are} still to come from it",
        "{count} {count|entrée doit|entrées doivent} encore en venir";
    SyncedWith:
        "{site}: {sent} {sent|entry|entries} sent, {received} received, {bytes}, {seconds} s",
        "{site} : {sent} {sent|entrée envoyée|entrées envoyées}, {received} {received|reçue|reçues}, {bytes}, {seconds} s";
    SyncAway:
        "{site}: {reason}",
        "{site} : {reason}";
    ReceiptIs:
        "  receipt {receipt}, signed by both",
        "  reçu {receipt}, signé par les deux";

    // Status.
    StatusFine:
        "All is well.",
        "Tout va bien.";
    StatusHead:
        "{practice}, {site}: {entries} {entries|entry|entries}",
        "{practice}, {site} : {entries} {entries|entrée|entrées}";
    StatusNotRunning:
        "No node runs here; start it with `carnet run`.",
        "Aucun nœud ne tourne ici ; lancez-le par `carnet run`.";
    StatusListening:
        "Answers peers at {address}",
        "Répond aux pairs à {address}";
    PracticeUnknown:
        "(practice not known yet)",
        "(cabinet pas encore connu)";
    ProblemClock:
        "The clock says {time}: set it, times are written and shown wrong.",
        "L'horloge indique {time} : réglez-la, les heures sont fausses.";
    ProblemCertificate:
        "The certificate of this node expired on {time}. It works on. `carnet node renew`, on a node that may admit, gives it a new one.",
        "Le certificat de ce nœud a expiré le {time}. Il continue. `carnet node renew`, sur un nœud qui peut admettre, lui en donne un nouveau.";
    ProblemSuspended:
        "This node is suspended; its peers refuse it for now.",
        "Ce nœud est suspendu ; ses pairs le refusent pour l'instant.";
    ProblemRevoked:
        "This node was revoked; its peers refuse it.",
        "Ce nœud a été révoqué ; ses pairs le refusent.";
    ProblemUnattested:
        "This node was admitted by one that had been cut off, so its peers show nothing of its work. `carnet node renew`, on a node that may admit, admits it again.",
        "Ce nœud a été admis par un nœud déjà exclu, donc ses pairs ne montrent rien de son travail. `carnet node renew`, sur un nœud qui peut admettre, l'admet de nouveau.";
    ProblemFork:
        "Two copies of a node's directory wrote {count} {count|log|logs}; everything is kept. Find the copy and stop it.",
        "Deux copies du dossier d'un nœud ont écrit {count} {count|journal|journaux} ; tout est gardé. Trouvez la copie et arrêtez-la.";
    ProblemStatements:
        "{count} {count|statement about the practice does|statements about the practice do} not count. `carnet verify` lists {count|it|them}.",
        "{count} {count|déclaration sur le cabinet ne compte|déclarations sur le cabinet ne comptent} pas. `carnet verify` {count|la|les} liste.";
    ProblemQuarantine:
        "{count} {count|entry is|entries are} set aside and not shown. `carnet quarantine list` shows {count|it|them}.",
        "{count} {count|entrée est écartée et n'est pas montrée|entrées sont écartées et ne sont pas montrées}. `carnet quarantine list` {count|la|les} montre.";
    ProblemWithheld:
        "{count} {count|entry of a node that was cut off is|entries of a node that was cut off are} kept and not shown.",
        "{count} {count|entrée d'un nœud exclu est gardée et n'est pas montrée|entrées d'un nœud exclu sont gardées et ne sont pas montrées}.";
    ProblemLocked:
        "Locked: it receives and passes on, and shows nothing. Open it with `carnet unlock`.",
        "Verrouillé : il reçoit et transmet, et ne montre rien. Ouvrez-le par `carnet unlock`.";
    ProblemPacked:
        "{count} {count|entry is|entries are} packed, and {count|goes|go} to a node that lacks {count|it|them} once this one is unlocked, or from another.",
        "{count} {count|entrée est|entrées sont} en paquets, et {count|ira|iront} au nœud à qui {count|elle manque|elles manquent} une fois celui-ci ouvert, ou depuis un autre.";
    ProblemUnprotected:
        "Unprotected if stolen: the key file lies beside the data. Move it to another disk.",
        "Sans protection en cas de vol : le fichier-clé est à côté des données. Mettez-le sur un autre disque.";
    ProblemConflicts:
        "{count} {count|conflict awaits|conflicts await} a decision. Decide with `carnet review`.",
        "{count} {count|conflit attend|conflits attendent} une décision. Décidez par `carnet review`.";
    ProblemUnreadable:
        "{count} {count|entry|entries} cannot be read here yet: the key has not arrived.",
        "{count} {count|entrée est encore illisible|entrées sont encore illisibles} ici : la clé n'est pas arrivée.";
    ProblemWaiting:
        "{count} {count|entry waits|entries wait} for others on their way.",
        "{count} {count|entrée en attend|entrées en attendent} d'autres, en route.";

    // Charts.
    NobodyFound:
        "Nobody found.",
        "Personne n'a été trouvé.";
    InConflict:
        "(in conflict)",
        "(en conflit)";
    EditDone:
        "{resource} is saved on this node.",
        "{resource} est enregistré sur ce nœud.";
    EditSame:
        "{resource} was so already.",
        "{resource} était déjà ainsi.";
    NoConflicts:
        "No conflict is open.",
        "Aucun conflit n'est ouvert.";
    ConflictSameElement:
        "{resource}: two sites wrote \"{element}\" without knowing of each other.",
        "{resource} : deux sites ont écrit « {element} » sans se connaître.";
    ConflictSameResource:
        "{resource}: two sites changed different parts; nobody has seen the result ({element}).",
        "{resource} : deux sites ont changé des parties différentes ; personne n'a vu le résultat ({element}).";
    ConflictTyped:
        "{resource}: two sites wrote in the same place of \"{element}\"; nobody has read the result.",
        "{resource} : deux sites ont écrit au même endroit de « {element} » ; personne n'a lu le résultat.";
    ConflictDeleted:
        "{resource}: one site deleted it, another edited it ({element}).",
        "{resource} : un site l'a supprimé, un autre l'a modifié ({element}).";
    ValueRemoved:
        "(removed)",
        "(retiré)";
    ValueDeleted:
        "(deleted there; this is what it said)",
        "(supprimé là-bas ; voici ce que cela disait)";
    ValueMoved:
        "(moved to another part of the chart)",
        "(déplacé dans une autre partie du dossier)";
    ValueBy:
        "{site}, {time}, by {author}",
        "{site}, {time}, par {author}";
    ReviewLeft:
        "\nConflicts open: {count}\n",
        "\nConflits ouverts : {count}\n";
    ReviewAsk:
        "Which one is right? (its letter, \"both\", \"skip\" or \"stop\")",
        "Lequel est juste ? (sa lettre, « deux », « passer » ou « fin »)";
    ReviewNotUnderstood:
        "Not understood.",
        "Pas compris.";
    ReviewCannotKeepBoth:
        "These cannot stand side by side; one must be chosen.",
        "Ils ne peuvent pas coexister ; il faut en choisir un.";
    ReviewChanged:
        "Another value has come in meanwhile; look again.",
        "Une autre valeur est arrivée entre-temps ; regardez de nouveau.";
    ReviewKept:
        "{resource} is decided; the other value stays in its history.",
        "{resource} est décidé ; l'autre valeur reste dans son histoire.";
    ReviewDone:
        "Decided: {decided}. Still open: {open}.",
        "Décidés : {decided}. Encore ouverts : {open}.";
    ReviewNothing:
        "Nothing is left to be looked at.",
        "Il ne reste rien à voir.";
    ReviewSign:
        "What did you find? (a note signs it off; \"skip\" or \"stop\")",
        "Qu'avez-vous constaté ? (une note le vise ; « passer » ou « fin »)";
    ReviewSigned:
        "Signed off: {item}",
        "Visé : {item}";
    ReviewSignedBy:
        "signed off by {by}, {time}: {note}",
        "visé par {by}, {time} : {note}";
    ReviewLeftOpen:
        "Signed off: {signed}. Still on the list: {open}.",
        "Visés : {signed}. Encore sur la liste : {open}.";
    ReviewSomebody:
        "a patient whom you may not see",
        "un patient que vous ne pouvez pas voir";
    ReviewEmergency:
        "{who} opened the chart of {patient} in an emergency: {reason}",
        "{who} a ouvert le dossier de {patient} en urgence : {reason}";
    ReviewSuspended:
        "{who} wrote {count} {count|time|times} while suspended, at a node that did not know it yet",
        "{who} a écrit {count} fois pendant sa suspension, sur un nœud qui ne le savait pas encore";
    ReviewConflict:
        "{patient}: {values} values of {resource}, {element}, stand against each other ({sites})",
        "{patient} : {values} valeurs de {resource}, {element}, s'opposent ({sites})";
    ReviewDuplicate:
        "{patient} and {other} are likely the same person ({score} of 100)",
        "{patient} et {other} sont sans doute la même personne ({score} sur 100)";
    ReviewContradiction:
        "{patient} and {other} are linked, and somebody has said that they are not the same",
        "{patient} et {other} sont liés, et quelqu'un a dit que ce n'est pas la même personne";
    ReviewStaff:
        "{count} {count|statement|statements} about {subject} {count|was|were} made apart; the stricter holds until an administrator decides",
        "{count} {count|déclaration|déclarations} sur {subject} {count|a été faite|ont été faites} séparément ; la plus stricte vaut jusqu'à décision d'un administrateur";
    ReviewToken:
        "{count} {count|statement|statements} about the token {subject} {count|was|were} made apart; the stricter holds until an administrator decides",
        "{count} {count|déclaration|déclarations} sur le jeton {subject} {count|a été faite|ont été faites} séparément ; la plus stricte vaut jusqu'à décision d'un administrateur";
    ReviewQuarantine:
        "An entry from {site} is set aside and not shown: {reason}",
        "Une entrée de {site} est mise à l'écart et n'est pas montrée : {reason}";
    ReviewWithheld:
        "{count} {count|entry|entries} that {site} wrote after it was cut off {count|is|are} not shown ({channel})",
        "{count} {count|entrée|entrées} que {site} a {count|écrite|écrites} après sa mise à l'écart {count|n'est pas montrée|ne sont pas montrées} ({channel})";
    ReviewFork:
        "Two copies of the node in {site} wrote ({branches} branches); everything is kept, find the copy and stop it",
        "Deux copies du nœud de {site} ont écrit ({branches} branches) ; tout est gardé, trouvez la copie et arrêtez-la";
    QuarantineNothing:
        "Nothing is set aside.",
        "Rien n'est mis à l'écart.";
    QuarantineMore:
        "{count} more.",
        "{count} de plus.";
    QuarantineRefused:
        "From {site} ({channel}), refused: {reason}",
        "De {site} ({channel}), refusée : {reason}";
    QuarantineWithheld:
        "From {site} ({channel}), which had been cut off before it wrote this",
        "De {site} ({channel}), qui était déjà exclu quand il l'a écrite";
    QuarantineDiscardedBy:
        "discarded by {by}, {time} {note}",
        "écartée pour de bon par {by}, {time} {note}";
    QuarantineReleasedBy:
        "tried again for {by}, {time} {note}",
        "réessayée pour {by}, {time} {note}";
    QuarantineDisputed:
        "decided otherwise at two sites, last by {by}, {time}: decide again {note}",
        "décidée autrement sur deux sites, en dernier par {by}, {time} : décidez de nouveau {note}";
    QuarantineDiscarded:
        "Entry {entry} stays set aside, on every node. It is kept and passed on.",
        "L'entrée {entry} reste à l'écart, sur tous les nœuds. Elle est gardée et transmise.";
    QuarantineReleased:
        "Entry {entry} is shown, on every node.",
        "L'entrée {entry} est montrée, sur tous les nœuds.";
    QuarantineWaits:
        "Entry {entry} is let in, and waits for others on which it builds.",
        "L'entrée {entry} est admise, et attend celles sur lesquelles elle s'appuie.";
    QuarantineStill:
        "Entry {entry} was tried again and is still refused: {reason}",
        "L'entrée {entry} a été réessayée et reste refusée : {reason}";
    ImportRefused:
        "{place}: refused whole: {reason}",
        "{place} : refusé en entier : {reason}";
    ImportDone:
        "{resources} {resources|resource|resources} of {bundles} {bundles|bundle|bundles} in {seconds} s; {existing} {existing|was|were} there already, {skipped} left out, {failed} {failed|bundle|bundles} refused.",
        "{resources} {resources|ressource|ressources} de {bundles} {bundles|lot|lots} en {seconds} s ; {existing} y {existing|était|étaient} déjà, {skipped} {skipped|laissée|laissées}, {failed} {failed|lot refusé|lots refusés}.";
    ExportDone:
        "{count} {count|resource|resources} written to {path}, not sealed.",
        "{count} {count|ressource écrite|ressources écrites} dans {path}, sans scellé.";
    VerifyFine:
        "Everything holds: {entries} {entries|entry|entries}, {signatures} {signatures|signature|signatures}, {documents} {documents|document|documents}, {conflicts} open {conflicts|conflict|conflicts}.",
        "Tout est juste : {entries} {entries|entrée|entrées}, {signatures} {signatures|signature|signatures}, {documents} {documents|document|documents}, {conflicts} {conflicts|conflit ouvert|conflits ouverts}.";
    VerifyFailed:
        "Something does not hold: {entries} {entries|entry|entries}, {signatures} {signatures|signature|signatures}, {documents} {documents|document|documents}, {conflicts} open {conflicts|conflict|conflicts}.",
        "Quelque chose est faux : {entries} {entries|entrée|entrées}, {signatures} {signatures|signature|signatures}, {documents} {documents|document|documents}, {conflicts} {conflicts|conflit ouvert|conflits ouverts}.";
    CompactDone:
        "{entries} {entries|entry|entries} of {documents} {documents|document|documents} packed in {seconds} s: {before} became {after}, log.db {log_before} became {log_after}.",
        "{entries} {entries|entrée|entrées} de {documents} {documents|document|documents} en paquets en {seconds} s : {before} sont devenus {after}, log.db {log_before} est devenu {log_after}.";
    CompactWould:
        "{entries} {entries|entry|entries} of {documents} {documents|document|documents} would be packed: {before} would become {after}. Nothing was changed.",
        "{entries} {entries|entrée|entrées} de {documents} {documents|document|documents} seraient en paquets : {before} deviendraient {after}. Rien n'a été changé.";
    CompactNothing:
        "There is nothing that would be worth packing.",
        "Il n'y a rien qui vaille d'être mis en paquets.";
    CompactWaiting:
        "{waiting} {waiting|entry waits|entries wait} until all nodes of the practice hold {waiting|it|them}: {sites}.",
        "{waiting} {waiting|entrée attend|entrées attendent} que ces nœuds {waiting|la|les} détiennent aussi : {sites}.";
    CompactKept:
        "{kept} {kept|entry stays|entries stay} as {kept|it is|they are}, sealed otherwise than this node seals.",
        "{kept} {kept|entrée reste telle quelle, scellée|entrées restent telles quelles, scellées} autrement que ce nœud ne scelle.";
    DigestIs:
        "State {digest}",
        "État {digest}";

    // The same patient in two charts.
    PairLikely:
        "Likely one person ({score} of 100):",
        "Sans doute une seule personne ({score} sur 100) :";
    PairContradicted:
        "Linked, and also said not to be one person ({score} of 100):",
        "Liés, et dits aussi de deux personnes ({score} sur 100) :";
    PairsNext:
        "Say what is true: `carnet patient link A B` or `carnet patient distinct A B`.",
        "Dites ce qui est vrai : `carnet patient link A B` ou `carnet patient distinct A B`.";
    NoDuplicates:
        "No pair of patients waits for a decision.",
        "Aucune paire de patients n'attend de décision.";
    PairLinked:
        "{first} and {second} are one person from here on. Both charts stay, and are shown together.",
        "{first} et {second} sont désormais une personne. Les deux dossiers restent, et sont montrés ensemble.";
    PairUnlinked:
        "Nothing is said of {first} and {second} any more. Both charts are as they were.",
        "Plus rien n'est dit de {first} et {second}. Les deux dossiers sont comme avant.";
    PairDistinct:
        "{first} and {second} are not one person. They are not proposed again.",
        "{first} et {second} ne sont pas une même personne. Ils ne seront plus proposés.";
    PairSame:
        "Nothing changed: it was so of {first} and {second} already.",
        "Rien n'a changé : c'était déjà ainsi pour {first} et {second}.";
    PersonCharts:
        "One person, {count} {count|chart|charts}; what follows is all that they hold:",
        "Une personne, {count} {count|dossier|dossiers} ; ce qui suit est tout leur contenu :";
    LinkDisputed:
        "  Disputed: {first} and {second} were linked, and somebody said otherwise at the same time. Decide with `carnet review`.",
        "  Contesté : {first} et {second} ont été liés, et quelqu'un a dit autre chose en même temps. Décidez par `carnet review`.";
    LinkContradicted:
        "  Contradicted: {first} and {second} are linked, and somebody said that they are not one person. Take one back with `carnet patient unlink`.",
        "  Contredit : {first} et {second} sont liés, et quelqu'un a dit que ce n'est pas une même personne. Retirez l'un par `carnet patient unlink`.";
    LikelyRegistered:
        "{patient} is likely the same person as {same} ({score} of 100).",
        "{patient} est sans doute la même personne que {same} ({score} sur 100).";
    LikelyRegisteredNext:
        "`carnet patient duplicates` lists all such pairs and what speaks for them.",
        "`carnet patient duplicates` liste ces paires et ce qui parle pour elles.";

    // Work under way.
    PhaseImport:
        "Importing",
        "Import";
    PhaseIndex:
        "Indexing",
        "Indexation";
    PhaseCopy:
        "Copying",
        "Copie";
    PhaseBackup:
        "Sealing and reading back",
        "Scellé et relecture";
    PhaseRestore:
        "Opening the backup",
        "Ouverture de la sauvegarde";
    PhaseCompact:
        "Packing",
        "Mise en paquets";
    PhaseVerify:
        "Verifying",
        "Vérification";
    PhaseSync:
        "Syncing",
        "Synchronisation";
    PhaseUnlock:
        "Opening",
        "Ouverture";
    PhaseDemo:
        "Playing the story",
        "L'histoire se joue";

    // The demonstration.
    DemoStart:
        "Two clinics, {first} and {second}, share one practice.",
        "Deux cliniques, {first} et {second}, un seul cabinet.";
    DemoImported:
        "   {first} keeps {patients} invented {patients|patient|patients}: {resources} {resources|resource|resources}.",
        "   {first} tient {patients} {patients|patient inventé|patients inventés} : {resources} {resources|ressource|ressources}.";
    DemoJoined:
        "   {second} joined by a one-use invitation and received everything:",
        "   {second} est entrée par une invitation à usage unique et a tout reçu :";
    DemoSynced:
        "   {sent} {sent|entry|entries} sent, {received} received, {bytes}, {seconds} s; receipt {receipt}, signed by both",
        "   {sent} {sent|entrée envoyée|entrées envoyées}, {received} {received|reçue|reçues}, {bytes}, {seconds} s ; reçu {receipt}, signé par les deux";
    DemoCut:
        "The link is cut. Both go on working.",
        "La liaison est coupée. Les deux continuent.";
    DemoAdds:
        "   {site} writes down: {title}",
        "   {site} note : {title}";
    DemoEdits:
        "   {site} changes the dose of {title} to: {value}",
        "   {site} change la dose de {title} en : {value}";
    DemoBack:
        "The link returns. Only what is missing travels.",
        "La liaison revient. Seul ce qui manque voyage.";
    DemoMerged:
        "   merged by itself: {resource}",
        "   fusionné tout seul : {resource}";
    DemoConflict:
        "   CONFLICT over the dose of {title}. No winner is picked: both are kept, and shown:",
        "   CONFLIT sur la dose de {title}. Aucun gagnant : les deux sont gardées, et montrées :";
    DemoDecided:
        "A clinician decides, and the decision travels.",
        "Un soignant décide, et la décision voyage.";
    DemoChose:
        "   {site} keeps: {value}",
        "   {site} garde : {value}";
    DemoEnd:
        "The end.",
        "La fin.";
    DemoConverged:
        "   Both nodes show the same, bit for bit:",
        "   Les deux nœuds montrent la même chose, au bit près :";
    DemoDiffers:
        "   The two nodes DIFFER:",
        "   Les deux nœuds DIFFÈRENT :";
    DemoSum:
        "   {entries} {entries|entry|entries}, {bytes}, {receipts} {receipts|receipt|receipts}, {seconds} s in all.",
        "   {entries} {entries|entrée|entrées}, {bytes}, {receipts} {receipts|reçu|reçus}, {seconds} s en tout.";
    DemoKept:
        "   The two nodes are left in {dir}.",
        "   Les deux nœuds restent dans {dir}.";
}
