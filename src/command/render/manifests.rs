//! The Secrets of namespaces as manifests: for stdout, a file, or a folder with one for each context.

use std::path::Path;

use serde_json::json;
use zeroize::Zeroizing;

use super::output::{NewFile, Output};
use crate::cli::RenderArgs;
use crate::command::clusters::must_have_id;
use crate::command::console::Console;
use crate::command::load::Opener;
use crate::error::{Error, Result};
use crate::format::kubernetes::{document, object};
use crate::inventory::Inventory;
use crate::model::kubernetes::MANAGER;
use crate::model::text::{escape, shell_word};
use crate::model::{Login, Namespace, PullSecret, Which};
use crate::push::Logins;

/// Writes the manifests of the namespaces at these positions, and returns the exit code.
pub(super) fn render(
    args: &RenderArgs,
    opener: &mut Opener,
    inventory: &Inventory,
    chosen: &[usize],
    output: &Output<'_>,
    console: &mut Console<'_>,
) -> Result<u8> {
    let namespaces: Vec<Namespace> = chosen.iter().map(|i| inventory.namespaces[*i].clone()).filter(|n| !n.secrets.is_empty()).collect();
    if namespaces.is_empty() {
        let hint = match inventory.namespaces.is_empty() {
            true => "they stand below `kubernetes:`",
            false => "`regprov hosts` shows who gets what; --limit and --login narrow it",
        };
        return Err(Error::usage("no namespace is left that gets any of that").hint(hint));
    }
    must_have_id(inventory)?;
    all_named(&namespaces)?;
    let contexts = contexts(&namespaces);
    let folder = output.path.filter(|path| path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/"));
    if folder.is_none() && contexts.len() > 1 {
        let names: Vec<&str> = contexts.iter().map(|(context, _)| context.unwrap_or(Namespace::CURRENT)).collect();
        let why =
            format!("these namespaces are in {} contexts ({}), and one stream of manifests cannot say which are for which", names.len(), names.join(", "));
        return Err(Error::usage(why).hint(format!("name one with --limit '{}/*', or a folder with -o DIR/, which gets a file for each", names[0])));
    }
    let logins = super::open(args, opener, inventory, &[], &namespaces)?;

    let id = inventory.id.as_deref().unwrap_or("default");
    let files = contexts.iter().map(|(context, namespaces)| (*context, manifests(*context, namespaces, &logins, id)));
    match (output.path, folder) {
        (None, _) => files.map(|(_, text)| output.sealed(text.as_bytes())).try_for_each(|bytes| console.print(&bytes?))?,
        (Some(path), folder) => {
            let name = |context: Option<&str>| match folder {
                Some(folder) => output.named(folder, &format!("{}.yaml", file_name(context.unwrap_or("current")))),
                None => path.to_path_buf(),
            };
            let files: Vec<NewFile> =
                files.map(|(context, mut text)| NewFile { path: name(context), content: Zeroizing::new(std::mem::take(&mut *text).into_bytes()) }).collect();
            if let Some(folder) = folder {
                output.only_ours(folder)?;
            }
            let beside = || path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let written = output.write_below(folder.unwrap_or_else(beside), &files, opener)?;
            console.note(format_args!("{}: {written}", path.display()));
        }
    }
    namespaces.iter().flat_map(|n| n.secrets.iter().flat_map(move |s| appends(n, s))).for_each(|line| console.note(line));
    Ok(0)
}

/// Refuses selectors.
fn all_named(namespaces: &[Namespace]) -> Result<()> {
    let selected = |n: &Namespace| match &n.which {
        Which::Selected(selector) => Some(format!("{}: what namespaces `{selector}` stands for, the cluster tells, and nobody is contacted here", n.place)),
        Which::Named(_) => None,
    };
    let refused: Vec<String> = namespaces.iter().filter_map(selected).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let blocks = namespaces.iter().filter(|n| n.name().is_none()).flat_map(|n| &n.secrets).map(|s| format!("!{}", s.block)).collect::<Vec<_>>().join(",");
    Err(Error::usage(refused.join("\n")).hint(format!("name them with `namespaces:`, leave them out (--limit '{blocks}'), or let `regprov apply` write them")))
}

/// The namespaces of each context, in the order in which these come first.
fn contexts(namespaces: &[Namespace]) -> Vec<(Option<&str>, Vec<&Namespace>)> {
    let mut contexts: Vec<(Option<&str>, Vec<&Namespace>)> = Vec::new();
    for namespace in namespaces {
        let context = namespace.context.as_deref();
        match contexts.iter_mut().find(|(known, _)| *known == context) {
            Some((_, members)) => members.push(namespace),
            None => contexts.push((context, vec![namespace])),
        }
    }
    contexts
}

/// The Secrets of one context, with what to do with them on top.
fn manifests(context: Option<&str>, namespaces: &[&Namespace], logins: &Logins, id: &str) -> Zeroizing<String> {
    let head = format!("{} apply --server-side --field-manager={MANAGER} -f FILE", kubectl(context));
    let head = format!("# Written by regprov, and to be applied with: {}\n# The data are passwords: base64 is no encryption.\n", escape(&head));
    let mut objects = Vec::new();
    for namespace in namespaces {
        for secret in &namespace.secrets {
            let logins: Vec<&Login> = secret.logins.iter().filter_map(|l| logins.get(l)).collect();
            objects.push(object(namespace.name().unwrap_or_default(), secret, &document(&logins), id));
        }
    }
    // Its room is there from the start: what grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(head.len() + objects.iter().map(|o| o.len() + 8).sum::<usize>()));
    text.push_str(&head);
    for (i, object) in objects.iter().enumerate() {
        text.push_str(if i > 0 { "---\n" } else { "" });
        text.push_str(object);
    }
    text
}

/// What is to be done for the service accounts of a Secret, a line each. A manifest of a service account would take from it what others
/// wrote there, and `imagePullSecrets` is a list that any other patch replaces (Kubernetes `pkg/api/core/v1/types.go`: it has no patchStrategy).
fn appends(namespace: &Namespace, secret: &PullSecret) -> Vec<String> {
    let reference = json!({"name": secret.name});
    let absent = json!([{"op": "test", "path": "/imagePullSecrets", "value": null}, {"op": "add", "path": "/imagePullSecrets", "value": [reference]}]);
    let there = json!([{"op": "add", "path": "/imagePullSecrets/-", "value": reference}]);
    let line = |account: &String| {
        let patch =
            format!("{} -n {} patch serviceaccount {account} --type=json -p", kubectl(namespace.context.as_deref()), namespace.name().unwrap_or_default());
        format!(
            "note: {namespace}: the service account {account} is to name {}; `regprov apply` appends it, and so does, once: {patch} {} || {patch} {}",
            secret.name,
            shell_word(&absent.to_string()),
            shell_word(&there.to_string())
        )
    };
    secret.service_accounts.iter().map(line).collect()
}

/// The command, for this context.
fn kubectl(context: Option<&str>) -> String {
    context.map_or_else(|| "kubectl".to_string(), |context| format!("kubectl --context {}", shell_word(context)))
}

/// The name of a context's file: what may not stand in every file's name, as `%XX`.
fn file_name(context: &str) -> String {
    let plain = |i: usize, b: u8| b.is_ascii_alphanumeric() || b"_@:+=-".contains(&b) || (b == b'.' && i > 0);
    context.bytes().enumerate().map(|(i, b)| if plain(i, b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_have_names_of_files() {
        for (context, name) in [
            ("prod", "prod"),
            ("gke_project_europe-west4_gpu", "gke_project_europe-west4_gpu"),
            ("arn:aws:eks:eu-west-1:1:cluster/prod", "arn:aws:eks:eu-west-1:1:cluster%2Fprod"),
            ("admin@prod", "admin@prod"),
            ("..", "%2E."),
            ("a%2Fb", "a%252Fb"),
            ("é \n", "%C3%A9%20%0A"),
        ] {
            assert_eq!(file_name(context), name);
        }
    }
}
