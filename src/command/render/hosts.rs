//! The files of hosts, to a folder: `DIR/HOST/PATH`.

use super::output::{NewFile, Output};
use crate::cli::RenderArgs;
use crate::command::console::Console;
use crate::command::load::Opener;
use crate::error::{Error, Result};
use crate::inventory::Inventory;
use crate::model::Host;
use crate::push::render::render_all;
use crate::ui;
use crate::ui::fold::fold_counted;

/// Writes the files of the hosts at these positions, and returns the exit code: 3 when one does not follow from the inventory.
pub(super) fn render(
    args: &RenderArgs,
    opener: &mut Opener,
    inventory: &Inventory,
    chosen: &[usize],
    output: &Output<'_>,
    console: &mut Console<'_>,
) -> Result<u8> {
    let folder = output.path.ok_or_else(|| Error::usage("the files of hosts go to a folder").hint("name it with -o DIR"))?;
    let (hosts, skipped): (Vec<Host>, Vec<Host>) =
        chosen.iter().map(|i| inventory.hosts[*i].clone()).filter(|h| !h.targets.is_empty()).partition(|h| h.skip.is_none());
    if hosts.is_empty() {
        return Err(Error::usage("no host is left that gets any of that").hint("`regprov hosts` shows who gets what; --limit, --login and --target narrow it"));
    }
    let logins = super::open(args, opener, inventory, &hosts, &[])?;

    let (mut files, mut refused, mut differ) = (Vec::new(), Groups::default(), Groups::default());
    for (host, rendered) in hosts.iter().zip(render_all(&hosts, &logins)) {
        for file in rendered {
            match file.file {
                Ok(file) => {
                    if let Some(differs) = file.differs {
                        differ.add(format!("{} is to be {differs}, and is 0600 here", file.path), &host.name);
                    }
                    files.push(NewFile { path: output.named(&folder.join(&host.name), file.path.as_str()), content: file.content });
                }
                Err(why) => refused.add(format!("{} {}: {why}", file.target, file.shown), &host.name),
            }
        }
    }
    output.only_ours(folder)?;
    let written = if files.is_empty() { None } else { Some(output.write_below(folder, &files, opener)?) };
    tell(&skipped, &refused, &differ);
    if let Some(written) = written {
        console.note(format_args!("{}: {written}", folder.display()));
    }
    Ok(if refused.0.is_empty() { 0 } else { 3 })
}

fn tell(skipped: &[Host], refused: &Groups<'_>, differ: &Groups<'_>) {
    if !skipped.is_empty() {
        let names: Vec<&str> = skipped.iter().map(|h| h.name.as_str()).collect();
        ui::note(&format!("left out, as `apply` skips them: {}", fold_counted(&names)));
    }
    for (what, hosts) in &differ.0 {
        ui::note(&format!("{}: {what}", fold_counted(hosts)));
    }
    for (what, hosts) in &refused.0 {
        ui::warning(&format!("not rendered for {}: {what}", fold_counted(hosts)));
    }
}

/// What is told of hosts, in the order in which it came first, each with those of which it is true.
#[derive(Default)]
struct Groups<'a>(Vec<(String, Vec<&'a str>)>);

impl<'a> Groups<'a> {
    fn add(&mut self, what: String, host: &'a str) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, hosts)) => hosts.push(host),
            None => self.0.push((what, vec![host])),
        }
    }
}
