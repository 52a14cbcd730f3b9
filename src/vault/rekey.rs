//! A vault for other recipients: which seals have to be made anew, the new ones, and who could read the old.
//!
//! What was sealed goes into the new seal byte for byte; nothing of it is read. A seal that is right already keeps its ciphertext.

use zeroize::Zeroizing;

use super::document::{SealPlace, VaultDocument};
use super::edit::{replace_seals, set_recipients};
use super::file::{OpenError, decrypt, encrypt_value, header};
use super::recipients::{Fit, Recipient, Recipients};
use super::{Identities, is_age_file};
use crate::error::{Error, Result};

/// What a vault's recipients are to be, and which of its seals have to follow.
pub struct Plan<'a> {
    file: &'a str,
    text: &'a str,
    document: &'a VaultDocument,
    gone: Vec<usize>,
    new: Vec<&'a Recipient>,
    recipients: Recipients,
    /// The seals that are for others, or do not say for whom.
    pub stale: Vec<SealPlace>,
    /// How many seals stay as they are.
    pub kept: usize,
    /// Passwords in the clear, which stay as they are too.
    pub clear: Vec<SealPlace>,
    /// Of the stale ones those that somebody can open whom the list did not name: one who was taken out of it by hand.
    pub unlisted: Vec<SealPlace>,
}

impl<'a> Plan<'a> {
    /// For a file whose list is `listed`: those in `remove` go, those in `add` that are not there come behind the others.
    ///
    /// # Errors
    /// Nobody would be left; a seal is no age file that could be read.
    pub fn new(file: &'a str, text: &'a str, document: &'a VaultDocument, listed: &Recipients, remove: &Recipients, add: &'a Recipients) -> Result<Self> {
        let gone = listed.iter().enumerate().filter(|(_, r)| remove.holds(r)).map(|(i, _)| i).collect();
        let new: Vec<&Recipient> = add.iter().filter(|r| !listed.holds(r)).collect();
        let recipients = Recipients::of(listed.iter().filter(|r| !remove.holds(r)).chain(new.iter().copied()).cloned());
        if recipients.is_empty() {
            return Err(Error::vault(format!("{file} would have no recipient left; nothing was written")).hint("add one with --add"));
        }
        let mut plan = Plan { file, text, document, gone, new, recipients, stale: Vec::new(), kept: 0, clear: Vec::new(), unlisted: Vec::new() };
        let mut problems = Vec::new();
        for (place, sealed, _) in document.passwords() {
            if !is_age_file(sealed.as_bytes()) {
                plan.clear.push(place);
                continue;
            }
            match header(sealed.as_bytes()).map(|header| (plan.recipients.fit(&header), listed.lacks_one_of(&header))) {
                Ok((Fit::Same, _)) => plan.kept += 1,
                Ok((Fit::Unsaid | Fit::Other, lacks)) => {
                    plan.unlisted.extend(lacks.then(|| place.clone()));
                    plan.stale.push(place);
                }
                Err(e) => problems.push(e.explain(&format!("{file}: {place}"))),
            }
        }
        if problems.is_empty() { Ok(plan) } else { Err(Error::together(problems)) }
    }

    /// Whether nothing has to be written.
    pub fn is_done(&self) -> bool {
        self.gone.is_empty() && self.new.is_empty() && self.stale.is_empty()
    }

    /// For whom it will be.
    pub fn recipients(&self) -> &Recipients {
        &self.recipients
    }

    /// How many recipients come, and how many go.
    pub fn counts(&self) -> (usize, usize) {
        (self.new.len(), self.gone.len())
    }

    /// The new text, each new seal opened again with these identities and compared.
    ///
    /// # Errors
    /// An old seal does not open (all of them are told), or a new one would not: whoever does this would lock themselves out.
    pub fn carry_out(&self, identities: &Identities) -> Result<Zeroizing<String>> {
        // Told by itself, and also of a vault that holds no seal yet.
        let probe = encrypt_value(b"", &self.recipients)?;
        if decrypt(probe.as_bytes(), identities).is_err() {
            return Err(Error::vault(format!("{}: none of the identities given would open it any more; nothing was written", self.file))
                .hint("keep a recipient of yours in the list, or give the identity of one that stays with --identity; somebody who stays can take you out"));
        }
        let mut problems = Vec::new();
        let mut seals = Vec::new();
        for (place, old, (line, column)) in self.document.passwords() {
            if !self.stale.contains(&place) {
                continue;
            }
            let at = if line == 0 { self.file.to_string() } else { format!("{}:{line}:{column}", self.file) };
            match self.again(old, identities) {
                Ok(new) => seals.push((place, new)),
                Err(Again::Open(e)) => problems.push(e.explain(&format!("{at}: {place}"))),
                Err(Again::Other(e)) => return Err(e),
            }
        }
        if !problems.is_empty() {
            return Err(Error::together(problems));
        }
        let text = match self.gone.is_empty() && self.new.is_empty() {
            true => self.text.to_string(),
            false => set_recipients(self.file, self.text, &self.gone, &self.new)?,
        };
        replace_seals(self.file, &text, &seals).map(Zeroizing::new)
    }

    fn again(&self, old: &str, identities: &Identities) -> std::result::Result<String, Again> {
        let content = decrypt(old.as_bytes(), identities).map_err(Again::Open)?;
        let new = encrypt_value(&content, &self.recipients).map_err(Again::Other)?;
        let opened = decrypt(new.as_bytes(), identities).map_err(|_| Again::Other(Error::internal("a new seal does not open; nothing was written")))?;
        if *opened != *content {
            return Err(Again::Other(Error::internal("a new seal holds something else; nothing was written")));
        }
        Ok(new)
    }

    /// The passwords that one of these could read, as far as can be told: the seal names them, or it does not say for whom it is.
    pub fn readable_by(&self, gone: &Recipients) -> Vec<SealPlace> {
        let readable = |sealed: &str| header(sealed.as_bytes()).is_ok_and(|header| gone.iter().any(|r| r.may_be_in(&header)));
        let left = |sealed: &str| header(sealed.as_bytes()).is_ok_and(|header| self.recipients.fit(&header) == Fit::Same);
        self.document
            .passwords()
            .into_iter()
            .filter(|(_, sealed, _)| !is_age_file(sealed.as_bytes()) || readable(sealed) && !left(sealed))
            .map(|(p, ..)| p)
            .collect()
    }
}

enum Again {
    Open(OpenError),
    Other(Error),
}

#[cfg(test)]
mod tests {
    use super::super::testing::{alice, alice_recipient, bob, to_alice};
    use super::super::{identity, open_become, open_login, seal, seal_become};
    use super::*;
    use crate::model::{PasswordText, Registry, Secret, Username};
    use crate::vault::SealedValue;

    fn sealed(password: &str, recipients: &Recipients) -> String {
        let value = SealedValue {
            registry: Registry::parse("nvcr.io").unwrap().0,
            username: Username::parse("$oauthtoken").unwrap(),
            auth_hosts: vec!["authn.nvidia.com".into()],
            password: Secret::new(password.to_string()),
        };
        seal(&value, recipients).unwrap()
    }

    fn block(indent: usize, armored: &str) -> String {
        armored.lines().map(|l| format!("{:indent$}{l}\n", "")).collect()
    }

    /// A vault for alice: a login under rotation, the password of sudo, one login in the clear.
    fn vault(a: &str, previous: &str, sudo: &str) -> String {
        format!(
            "version: 1\nrecipients:\n  - {} # alice\nbecome_password: | # sudo\n{}logins:\n  ngc:\n    registry: nvcr.io\n    username: $oauthtoken\n    password: |\n{}    previous:\n      username: $oauthtoken\n      password: |\n{}  clear: {{registry: docker.io, username: u, password: hunter2}}\n",
            alice_recipient(),
            block(2, sudo),
            block(6, a),
            block(8, previous)
        )
    }

    struct Rekeyed {
        text: Zeroizing<String>,
        stale: Vec<SealPlace>,
        kept: usize,
    }

    fn rekey(text: &str, remove: &Recipients, add: &Recipients, identities: &Identities) -> Result<Rekeyed> {
        let document = VaultDocument::parse("v", text).unwrap();
        let listed = Recipients::parse(document.recipients.as_deref().unwrap().iter().map(String::as_str)).unwrap();
        let plan = Plan::new("v", text, &document, &listed, remove, add)?;
        Ok(Rekeyed { text: plan.carry_out(identities)?, stale: plan.stale.clone(), kept: plan.kept })
    }

    #[test]
    fn all_seals_follow_the_list_and_hold_what_they_held() {
        let (key, recipient) = identity::generate();
        let carol = Recipients::parse([recipient.as_str()]).unwrap();
        let mut as_carol = Identities::default();
        as_carol.add("carol", key.as_bytes(), &mut |_| Err(Error::vault("nobody"))).unwrap();
        let text =
            vault(&sealed("hunter3", &to_alice()), &sealed("hunter4", &to_alice()), &seal_become(&Secret::new("hunter5".to_string()), &to_alice()).unwrap());
        let none = Recipients::default();

        let with = rekey(&text, &none, &carol, &alice()).unwrap();
        assert_eq!((with.stale.len(), with.kept), (3, 0));
        for ids in [&alice(), &as_carol] {
            let document = VaultDocument::parse("v", &with.text).unwrap();
            let passwords: Vec<_> = document.passwords().into_iter().filter(|(_, s, _)| is_age_file(s.as_bytes())).collect();
            let texts: Vec<_> = passwords.iter().map(|(_, s, _)| decrypt(s.as_bytes(), ids).unwrap().to_vec()).collect();
            let old = VaultDocument::parse("v", &text).unwrap();
            let before: Vec<_> = old
                .passwords()
                .iter()
                .filter(|(_, s, _)| is_age_file(s.as_bytes()))
                .map(|(_, s, _)| decrypt(s.as_bytes(), &alice()).unwrap().to_vec())
                .collect();
            assert_eq!(texts, before);
            let sudo = PasswordText::Sealed(document.become_password.clone().unwrap());
            assert_eq!(open_become(&sudo, "v:1:1", ids, false).unwrap().expose(), "hunter5");
            let entry = crate::model::LoginEntry {
                name: "ngc".into(),
                registry: Registry::parse("nvcr.io").unwrap().0,
                username: Username::parse("$oauthtoken").unwrap(),
                password: PasswordText::Sealed(document.login("ngc").unwrap().password.clone().unwrap()),
                expires: None,
                fingerprint: None,
                canary: None,
                previous: None,
                place: "v:1:1".into(),
            };
            let login = open_login(&entry, ids, false).unwrap();
            assert_eq!((login.password.expose(), &login.auth_hosts[..]), ("hunter3", &["authn.nvidia.com".to_string()][..]));
        }
        // Nothing but seals and the list is another.
        let without =
            |text: &str| text.lines().filter(|l| l.contains(':') || l.contains("- ")).filter(|l| !l.contains("-----")).map(str::to_string).collect::<Vec<_>>();
        let mut want = without(&text);
        want.insert(3, format!("  - {recipient}"));
        assert_eq!(without(&with.text), want);

        // Once more changes nothing, byte for byte.
        let again = rekey(&with.text, &none, &carol, &alice()).unwrap();
        assert_eq!((again.stale.len(), again.kept), (0, 3));
        assert_eq!(*again.text, *with.text);

        // And alice goes, by carol's hand: hers cannot do it.
        let locked = rekey(&with.text, &to_alice(), &none, &alice()).err().unwrap().to_string();
        assert!(locked.contains("would open it any more"), "{locked}");
        let gone = rekey(&with.text, &to_alice(), &none, &as_carol).unwrap();
        assert_eq!(gone.stale.len(), 3);
        let document = VaultDocument::parse("v", &gone.text).unwrap();
        for (place, sealed, _) in document.passwords().into_iter().filter(|(_, s, _)| is_age_file(s.as_bytes())) {
            assert_eq!(decrypt(sealed.as_bytes(), &alice()).unwrap_err(), OpenError::NoMatch, "{place}");
        }
    }

    #[test]
    fn only_seals_that_are_for_others_are_made_anew() {
        let (_, recipient) = identity::generate();
        let both = Recipients::parse([alice_recipient().as_str(), recipient.as_str()]).unwrap();
        let right = sealed("hunter3", &to_alice());
        let (other, unsaid) = (sealed("hunter4", &both), super::super::encrypt(br#"{"v":1,"use":"become","password":"hunter5"}"#, &to_alice()).unwrap());
        let text = vault(&right, &other, &unsaid);
        let none = Recipients::default();
        let new = rekey(&text, &none, &none, &alice()).unwrap();
        assert_eq!((new.stale, new.kept), (vec![SealPlace::Become, SealPlace::Previous("ngc".into())], 1));
        assert!(new.text.contains(&block(6, &right)) && !new.text.contains(&block(8, &other)) && !new.text.contains(&block(2, &unsaid)));
    }

    #[test]
    fn what_does_not_open_is_told_and_nothing_changes() {
        let (_, recipient) = identity::generate();
        let other = Recipients::parse([recipient.as_str()]).unwrap();
        let text = vault(&sealed("hunter3", &other), &sealed("hunter4", &to_alice()), &sealed("hunter5", &other));
        let none = Recipients::default();
        let error = rekey(&text, &none, &other, &alice()).err().unwrap().to_string();
        assert!(error.contains("login `ngc` is not sealed for any") && error.contains("become_password") && !error.contains("previous"), "{error}");
        assert!(rekey(&text, &to_alice(), &none, &alice()).err().unwrap().to_string().contains("no recipient left"));
        let locked = rekey(&text, &none, &none, &bob()).err().unwrap().to_string();
        assert!(locked.contains("none of the identities given"), "{locked}");
    }

    #[test]
    fn who_is_taken_out_could_read() {
        const SSH: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";
        let ssh = Recipients::parse([SSH]).unwrap();
        let both = Recipients::parse([alice_recipient().as_str(), SSH]).unwrap();
        let text = vault(&sealed("hunter3", &both), &sealed("hunter4", &to_alice()), &sealed("hunter5", &both));
        let document = VaultDocument::parse("v", &text).unwrap();
        let none = Recipients::default();
        let plan = Plan::new("v", &text, &document, &both, &ssh, &none).unwrap();
        // The seal of `previous` has no stanza for that key; what stands in the clear everybody can read.
        let (sudo, ngc, clear) = (SealPlace::Become, SealPlace::Login("ngc".into()), SealPlace::Login("clear".into()));
        assert_eq!(plan.readable_by(&ssh), [sudo.clone(), clear.clone(), ngc.clone()]);
        assert_eq!(plan.stale, [sudo.clone(), ngc.clone()]);
        // Keys of age leave no trace, so that alice may be in each.
        let plan = Plan::new("v", &text, &document, &both, &to_alice(), &none).unwrap();
        assert_eq!(plan.readable_by(&to_alice()), [sudo, clear, ngc, SealPlace::Previous("ngc".into())]);
    }
}
