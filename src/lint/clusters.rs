//! Rules on blocks of `kubernetes:`: what Run:ai makes of a Secret, which cluster it goes to, and logins that end before anybody renews them.

use std::collections::BTreeSet;

use super::rules::id;
use super::{Look, Subject, values};
use crate::model::kubernetes::{RUNAI_LABEL, RUNAI_NAMESPACE};
use crate::model::{LoginEntry, Namespace, PullSecret};

/// How a project's namespace begins (Run:ai, "Using a Docker Registry with Credentials").
const RUNAI_PROJECT: &str = "runai-";

/// Looks at each block once, however many namespaces it is for.
pub(super) fn look(subject: &Subject<'_>, look: &mut Look<'_>) {
    let mut told: BTreeSet<(&str, &str, String)> = BTreeSet::new();
    for namespace in &subject.namespaces {
        for secret in &namespace.secrets {
            for (id, message) in block(namespace, secret) {
                if told.insert((id, &secret.block, String::new())) {
                    look.find(id, &namespace.place, message);
                }
            }
            for login in secret.logins.iter().filter_map(|name| subject.survey.inventory.logins.iter().find(|l| l.name == *name)) {
                let opened = subject.opened.get(&login.name).map(|l| l.password.expose());
                if let Some((id, message)) = ends_early(login, opened).filter(|(id, _)| told.insert((id, "", login.name.clone()))) {
                    look.find(id, &login.place, message);
                }
            }
        }
    }
}

/// What is to be said of a block, by its first namespace that gives reason for it.
fn block(namespace: &Namespace, secret: &PullSecret) -> Vec<(&'static str, String)> {
    let what = format!("block `{}` of `kubernetes`", secret.block);
    let mut found = Vec::new();
    let cluster_wide = secret.labels.get(RUNAI_LABEL).is_some_and(|value| value == "true");
    let is_runai = namespace.name() == Some(RUNAI_NAMESPACE);
    if cluster_wide && !is_runai {
        let where_to = namespace.name().map_or_else(|| "the namespaces of a selector".to_string(), |name| format!("namespace `{name}`"));
        found.push((id::RUNAI_NAMESPACE, format!("{what} gives Run:ai's label `{RUNAI_LABEL}` to a Secret in {where_to}, where Run:ai does not look for it")));
    }
    if cluster_wide && is_runai && !secret.service_accounts.is_empty() {
        found.push((id::RUNAI_ACCOUNTS, format!("{what} names service accounts beside Run:ai's label, by which all projects get the Secret without them")));
    }
    if let Some(name) = namespace.name().filter(|name| name.starts_with(RUNAI_PROJECT) && secret.service_accounts.is_empty()) {
        found.push((id::RUNAI_PROJECT, format!("{what} names no service account for `{name}`, by its name the namespace of a Run:ai project")));
    }
    if namespace.context.is_none() {
        found.push((id::NO_CONTEXT, format!("{what} names no context, so it goes to whatever cluster is the current one of who applies it")));
    }
    found
}

/// Why a login in a Secret ends before anybody thinks of it, by its registry, its account or the form of its password.
fn ends_early(login: &LoginEntry, password: Option<&str>) -> Option<(&'static str, String)> {
    let what = format!("login `{}` for {}", login.name, login.registry);
    let lives = match login.username.as_str() {
        _ if login.registry.is_ecr() => "12 hours",
        "oauth2accesstoken" => "an hour",
        "00000000-0000-0000-0000-000000000000" => "3 hours",
        username => {
            // With an `expires:` somebody knows that it ends.
            let is_persons = !username.starts_with("robot$") && login.expires.is_none() && !login.registry.is_hub();
            let message = || format!("{what}: its password has the form of the secret that Harbor makes for a person's session, and its account is no robot");
            return password.filter(|p| is_persons && values::is_harbor_secret(p)).map(|_| (id::SESSION_SECRET, message()));
        }
    };
    Some((id::SHORT_LIVED, format!("{what} stands in a Secret, which nobody renews between two runs, and its tokens end after {lives}")))
}
