//! `regprov lint`: the traps of an inventory, before anyone connects. Contacts nobody; what is sealed is opened when an identity is at hand.

use super::load::{Opener, now};
use crate::cli::LintArgs;
use crate::error::{Error, Result};
use crate::lint::{self, RULES, Subject};
use crate::ui;

/// Prints what was found and returns 10 when an error is among it. An inventory that cannot be read at all is no finding.
pub fn lint(args: &LintArgs) -> Result<u8> {
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
    let findings = lint::lint(&subject);
    let text = if args.sarif {
        let root = std::env::current_dir().map_err(|e| Error::internal(format!("the current directory is not known: {e}")))?;
        ui::sarif::sarif(&findings, &RULES, &root)
    } else if args.json {
        ui::lint::json(&findings)
    } else {
        ui::lint::text(&findings, ui::stdout_has_colors())
    };
    ui::out(&text).map_err(|e| Error::internal(format!("the findings cannot be written to stdout: {e}")))?;
    Ok(findings.exit_code())
}
