//! What the pages say can be typed: every command line of regprov in them is understood, every link leads somewhere, every YAML
//! block of the README loads as the inventory or vault that it is.

use std::path::Path;

use clap::Parser;
use regprov::cli::Cli;
use regprov::error::{Error, Result};
use regprov::inventory::{self, Entry, LoadOptions, Program, World};
use zeroize::Zeroizing;

const PAGES: [&str; 3] = ["README.md", "CONTRIBUTING.md", "inventories/README.md"];

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The fenced blocks of a language, without the indentation of the list they stand in.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(lang) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let block: Vec<&str> = lines.by_ref().take_while(|l| l.trim_start() != "```").map(|l| l.get(indent..).unwrap_or("")).collect();
        if lang == language {
            found.push(block.join("\n"));
        }
    }
    found
}

/// The words of a command line as these pages write them: single quotes, comments, redirections, pipes.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" #").next().unwrap().split(" < ").next().unwrap().split(" > ").next().unwrap().split(" | ").next().unwrap();
    regprov::model::text::words(line).unwrap_or_else(|why| panic!("{line} {why}"))
}

#[test]
fn every_command_line_is_understood() {
    let mut count = 0;
    for name in PAGES {
        let page = page(name);
        for block in blocks(&page, "sh").iter().chain(&blocks(&page, "console")) {
            let typed = |l: &str| l.find("regprov ").filter(|at| *at == 0 || l.starts_with("REGPROV_IDENTITY=")).map(|at| l[at..].to_string());
            for line in block.lines().map(|l| l.trim_start_matches("$ ")).filter_map(typed).filter(|l| !l.ends_with("--version")) {
                Cli::try_parse_from(words(&line)).unwrap_or_else(|e| panic!("{name}: {line}: {e}"));
                count += 1;
            }
        }
    }
    assert!(count >= 15, "{count} command lines: they are not found any more");
}

#[test]
fn every_long_flag_that_is_named_exists() {
    use clap::CommandFactory;
    fn flags(command: &clap::Command, found: &mut Vec<String>) {
        found.extend(command.get_arguments().filter_map(|a| a.get_long()).map(|l| format!("--{l}")));
        command.get_subcommands().for_each(|c| flags(c, found));
    }
    let mut known = Vec::new();
    flags(&Cli::command(), &mut known);
    // Flags of cargo, of the quickstart, of ansible-inventory, of .ci/run and of docker; they stand in the same text.
    known.extend(
        ["--list", "--stay", "--version", "--release", "--locked", "--example", "--path", "--test", "--bench", "--full", "--password-stdin"]
            // Flags of kubectl and Apptainer.
            .into_iter()
            .chain(["--context", "--docker-login", "--docker-password", "--field-manager", "--from-file", "--nohttps", "--server-side", "--type"])
            .map(str::to_string),
    );
    let text = page("README.md");
    for (at, _) in text.match_indices("--") {
        let flag: String = text[at..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        let starts = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '|');
        assert!(!starts || flag.trim_matches('-').is_empty() || known.contains(&flag), "README.md names {flag}, which does not exist");
    }
}

#[test]
fn every_long_flag_is_named() {
    use clap::CommandFactory;
    fn flags(command: &clap::Command, found: &mut Vec<String>) {
        found.extend(command.get_arguments().filter(|a| !a.is_global_set()).filter_map(|a| a.get_long()).map(|l| format!("--{l}")));
        command.get_subcommands().for_each(|c| flags(c, found));
    }
    let (mut known, text) = (Vec::new(), page("README.md"));
    flags(&Cli::command(), &mut known);
    assert!(known.len() > 40, "{known:?}");
    // The short form stands in the examples; the others need no words.
    known.retain(|flag| !["--output", "--recipient", "--help", "--version"].contains(&flag.as_str()));
    let named = |flag: &str| text.match_indices(flag).any(|(at, _)| !text[at + flag.len()..].starts_with(|c: char| c.is_ascii_lowercase() || c == '-'));
    let missing: Vec<&String> = known.iter().filter(|flag| !named(flag)).collect();
    assert!(missing.is_empty(), "README.md says nothing of {missing:?}");
}

/// The rows of the reference have every key that is read, by the lists that the reader itself goes by.
#[test]
fn every_key_has_a_row() {
    let rows: Vec<String> = page("README.md").lines().filter(|l| l.starts_with("| `")).map(|l| l.split('|').nth(1).unwrap().to_string()).collect();
    let mut count = 0;
    for file in ["src/inventory/schema/mod.rs", "src/inventory/schema/target.rs", "src/inventory/schema/kubernetes.rs", "src/inventory/document.rs"] {
        for list in page(file).split("Keys {").skip(1).filter_map(|rest| rest.trim_start().strip_prefix("known: &[")?.split(']').next().map(str::to_string)) {
            for key in list.split(',').map(|key| key.trim().trim_matches('"')).filter(|key| !key.is_empty()) {
                assert!(rows.iter().any(|row| row.contains(&format!("`{key}`"))), "README.md has no row of `{key}` ({file})");
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count} keys: the lists are not found any more");
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for name in PAGES {
        for link in page(name).split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_string()) {
            if let Some(anchor) = link.strip_prefix('#') {
                let anchors: Vec<String> = page(name)
                    .lines()
                    .filter_map(|l| l.strip_prefix("### ").or_else(|| l.strip_prefix("## ")))
                    .map(|h| h.to_lowercase().replace(' ', "-"))
                    .collect();
                assert!(anchors.iter().any(|a| a == anchor), "{name} links to #{anchor}");
            } else if !link.starts_with("https://") {
                let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
                assert!(page.with_file_name(&link).exists(), "{name} links to {link}");
                count += 1;
            }
        }
    }
    assert!(count >= 4);
}

/// The YAML blocks of the README: the first inventory, the sources of hosts, the first of a cluster, the namespaces of clusters, the reference inventory, its vault and the first's, and a vault
/// whose passwords come anew for each run.
fn yaml_blocks() -> [String; 7] {
    blocks(&page("README.md"), "yaml").try_into().unwrap_or_else(|found: Vec<String>| panic!("{} YAML blocks instead of 7", found.len()))
}

#[test]
fn every_yaml_block_loads() {
    let [first, _, cluster, clusters, reference, vault, anew] = yaml_blocks();
    // 2026-01-01, before anything in the README ends.
    let options = LoadOptions { now: 1_767_225_600, ..LoadOptions::default() };
    for (text, hosts, namespaces) in [(first, 4, 0), (cluster, 0, 1), (reference, 130, 0)] {
        let mut read = |path: &Path| match path.to_str() {
            Some("inventory.yml") => Ok(text.clone()),
            Some("vault.yml") => Ok(vault.clone()),
            _ => Err(Error::usage(format!("{}: there is no such file", path.display()))),
        };
        let inventory = inventory::load(Path::new("inventory.yml"), &mut read, options).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!((inventory.hosts.len(), inventory.namespaces.len()), (hosts, namespaces));
        assert!(inventory.notes.is_empty(), "{:?}", inventory.notes);
        assert_eq!(inventory.logins.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["hub", "ngc"]);
    }
    let text = anew.clone() + "\ngroups:\n  g: {hosts: gpu1, logins: [ecr, ci], targets: [docker]}\n";
    let inventory = inventory::load(Path::new("inventory.yml"), &mut |_: &Path| Ok(text.clone()), options).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert!(inventory.logins.len() == 2 && inventory.logins.iter().all(|l| l.password.dynamic().is_some()), "{:?}", inventory.notes);
    let login = |name: &str| format!("  {name}: {{registry: {name}.example, username: u, password: p}}\n");
    let text = format!("version: 1\n{clusters}\nlogins:\n{}{}{}", login("hub"), login("harbor"), login("ngc"));
    let options = LoadOptions { allow_plaintext: true, ..options };
    let inventory = inventory::load(Path::new("inventory.yml"), &mut |_: &Path| Ok(text.clone()), options).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let names: Vec<String> = inventory.namespaces.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["prod/runai", "prod/runai-team-a", "prod/runai-team-b", "prod/(team=ml)"]);
}

/// The sources of the README, with what they read and print.
struct Sources(String);

impl World for Sources {
    fn read(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        match path.to_str().unwrap() {
            "inventory.yml" => Ok(self.0.clone().into()),
            "config/inventory" => Ok("[slurm-node]\nnode[01:02]\n".to_string().into()),
            other => panic!("{other}"),
        }
    }

    fn list(&mut self, _path: &Path) -> Result<Option<Vec<Entry>>> {
        Ok(None)
    }

    fn run(&mut self, program: &Program) -> Result<Vec<u8>> {
        let output = if program.argv == ["./racks", "7"] { "r7n[1-3]\n" } else { "gpu1|gpu|idle|none\ngpu2|gpu|planned|none\ngpu3|gpu|down|fan\n" };
        Ok(output.into())
    }
}

#[test]
fn the_sources_of_hosts_load() {
    let [_, text, ..] = yaml_blocks();
    let inventory = inventory::load(Path::new("inventory.yml"), &mut Sources(text), LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<&str> = inventory.hosts.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names.join(" "), "gpu1 gpu3 node01 node02 login1 spare1 spare2 spare3 spare4 r7n1 r7n2 r7n3");
    assert_eq!(inventory.hosts[1].skip.as_deref(), Some("down: fan"));
}

/// The recaps shown are what regprov says of such runs; tests/recap has the runs.
#[test]
fn every_output_shown_is_a_real_one() {
    let shown = blocks(&page("README.md"), "console");
    let [look, check] = &shown[..] else { panic!("{} console blocks instead of 2", shown.len()) };
    for (block, case) in [(look, "the-first-look-of-the-readme"), (check, "the-check-of-the-readme")] {
        let (_, output) = block.split_once('\n').unwrap();
        assert_eq!(output.trim_end(), page(&format!("tests/recap/{case}/recap.txt")).trim_end());
    }
}

#[test]
fn the_first_inventory_is_the_sample() {
    assert_eq!(yaml_blocks()[0].trim_end(), page("inventories/quickstart/inventory.yml").trim_end());
}
