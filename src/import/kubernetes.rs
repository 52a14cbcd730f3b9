//! Pull Secrets of Kubernetes, in YAML or JSON, as `kubectl get secret -o yaml` prints them and as people write them by hand. What is wrong
//! with one is told; where the login is plain all the same, it is taken.

use super::{Found, Left};
use crate::format::kubernetes::{Fault, SecretSeen, Weight, manifest, rule};
use crate::format::{Holding, Holds};
use crate::model::registry::without_user;
use crate::model::text::escape;

/// What lint says of a file that is going to stay, and nobody needs to know who takes its logins out.
const NOT_TOLD: [&str; 3] = [rule::PLAINTEXT, rule::NO_AUTH, rule::LAST_APPLIED];

/// The logins of a file; `Err` goes on from the file's name.
pub fn read(text: &str) -> Result<Found, String> {
    let manifest = manifest(text).map_err(|unread| unread.message)?;
    let mut found = Found::default();
    for secret in manifest.secrets {
        take(secret, &mut found);
    }
    if found.logins.is_empty() && found.left.is_empty() {
        let there = if manifest.others.is_empty() { "nothing".to_string() } else { manifest.others.join(", ") };
        return Err(format!("holds no pull Secret; what is there: {there}"));
    }
    match manifest.others.len() {
        0 => {}
        1 => found.notes.push("1 other object holds no registry login and was passed over".to_string()),
        n => found.notes.push(format!("{n} other objects hold no registry login and were passed over")),
    }
    Ok(found)
}

/// The logins of one Secret; what cannot be read is left with the reason, and what is wrong otherwise is a note.
fn take(secret: SecretSeen, found: &mut Found) {
    for (_, Fault { rule, weight, entry, message }) in secret.faults {
        let place = entry.map_or_else(|| secret.name.clone(), |key| format!("{} \"{key}\"", secret.name));
        match weight {
            Weight::Lost => found.left.push(Left::new(place, message)),
            Weight::Broken | Weight::Hint if NOT_TOLD.contains(&rule) => {}
            Weight::Broken | Weight::Hint => found.notes.push(format!("{place}: {message}")),
        }
    }
    for Holding { key, registry, holds } in secret.holdings {
        let place = format!("{} \"{}\"", secret.name, escape(&without_user(&key)));
        match (registry, holds) {
            (Ok(registry), Holds::Login(account)) => found.take_of(registry, &account.username, account.password, &place),
            // What keeps a key from being a registry's is a fault already, but for a pattern.
            (Err(why), Holds::Login(_)) if !found.left.iter().any(|left| left.what == place) => found.left.push(Left::new(place, escape(&why))),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
