//! `regprov lint`: the traps of an inventory, or of pull Secrets in a file, before anyone connects. Contacts nobody; what is sealed is opened when an identity is at hand.

use std::path::Path;

use zeroize::Zeroizing;

use super::files;
use super::load::{Opener, now};
use crate::cli::LintArgs;
use crate::error::{Error, Kind, Result};
use crate::format::kubernetes::is_manifest;
use crate::lint::{self, MANIFEST_RULES, RULES, Subject};
use crate::model::finding::{Findings, Rule};
use crate::ui;

/// The largest file of Kubernetes objects that comes over stdin, in bytes.
const MANIFEST_BYTES_MAX: u64 = 32 << 20;

/// Looks at a file of Kubernetes objects where it is one, else at an inventory. Prints what was found and returns 10 when an error is among it. An inventory that cannot be read at all is no finding.
pub fn lint(args: &LintArgs) -> Result<u8> {
    if let Some(text) = manifest(args)? {
        let findings = lint::manifest(&args.inventory.display().to_string(), &text);
        return print(args, &findings, &MANIFEST_RULES);
    }
    let mut opener = Opener::of_process(&args.vault.identity)?.allow_commands(args.sources.allow_commands);
    let survey = opener.survey(&args.inventory, args.vault.allow_plaintext, args.allow_expired)?;
    // Where faults left no host to choose from, they are what there is to tell.
    let limit = args.limit.as_deref().filter(|_| survey.faults.is_empty() || !survey.inventory.hosts.is_empty());
    let chosen = limit.map(|pattern| opener.limit(&survey.inventory, Some(pattern))).transpose()?;
    let mut subject = Subject::new(&survey, chosen.as_ref(), now());
    for (name, opened) in opener.open_each(&subject.entries().collect::<Vec<_>>())? {
        match opened {
            Ok(login) => drop(subject.opened.insert(name, login)),
            Err(error) => drop(subject.shut.insert(name, error)),
        }
    }
    print(args, &lint::lint(&subject), &RULES)
}

/// The text of a file of Kubernetes objects, which is no inventory. A pipe that is named as a file is left to who reads inventories.
fn manifest(args: &LintArgs) -> Result<Option<Zeroizing<String>>> {
    let stdin = args.inventory == Path::new("-");
    if !stdin && !args.inventory.metadata().is_ok_and(|m| m.is_file()) {
        return Ok(None);
    }
    let bytes = if stdin { files::read(Path::new("/dev/stdin"), MANIFEST_BYTES_MAX) } else { files::read(&args.inventory, files::FILE_BYTES_MAX) };
    let bytes = bytes.map_err(|e| Error { kind: Kind::Usage, ..e })?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if is_manifest(text) && args.limit.is_some() => {
            Err(Error::usage("--limit chooses hosts of an inventory, and this file holds Kubernetes objects"))
        }
        Ok(text) if is_manifest(text) => Ok(Some(Zeroizing::new(text.to_string()))),
        _ if stdin => {
            Err(Error::usage("what comes over stdin holds no Kubernetes objects").hint("an inventory is named as a file, since it names others beside it"))
        }
        _ => Ok(None),
    }
}

fn print(args: &LintArgs, findings: &Findings, rules: &[Rule]) -> Result<u8> {
    let text = if args.sarif {
        let root = std::env::current_dir().map_err(|e| Error::internal(format!("the current directory is not known: {e}")))?;
        ui::sarif::sarif(findings, rules, &root)
    } else if args.json {
        ui::lint::json(findings)
    } else {
        ui::lint::text(findings, ui::stdout_has_colors())
    };
    ui::out(&text).map_err(|e| Error::internal(format!("the findings cannot be written to stdout: {e}")))?;
    Ok(findings.exit_code())
}
