//! regprov on a fleet of its own, on a machine with nothing but Rust:
//!
//! ```sh
//! cargo run --release --locked --example quickstart
//! ```
//!
//! Eight SSH nodes live in this process: a russh server that runs the real sh and the real node program, each node a folder
//! (`root:` in the inventory). Against them the real commands run as they would be typed. Everything is below one new folder,
//! which stays. The program ends with 1 if anything is not as it says.
//!
//! With `-- --stay` the nodes stay up until Ctrl-C, so that commands can be tried from another terminal.

// This program talks to whoever started it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/fleet/embedded.rs"]
mod embedded;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use embedded::Fault;
use regprov::cli::{Cli, Verb};
use regprov::command::{self, console::Console};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;

use clap::Parser as _;

/// Nodes of the fleet.
const NODES: usize = 8;
/// How `apply` reaches and opens everything here.
const APPLY: &str = "regprov apply inventory.yml --ssh-key ssh_key --known-hosts known_hosts --identity identity.txt";
/// The files that each node gets.
const FILES: [&str; 8] = [
    "root/.docker/config.json",
    "root/.config/enroot/.credentials",
    "etc/regprov/singularity.sh",
    "etc/regprov/singularity.csh",
    "etc/regprov/singularity.env",
    "etc/profile.d/regprov-singularity.sh",
    "etc/profile.d/regprov-singularity.csh",
    "var/lib/regprov/owned.json",
];

type Result<T> = std::result::Result<T, String>;

#[cfg_attr(test, allow(dead_code))]
fn main() -> ExitCode {
    let stay = std::env::args().skip(1).any(|a| a == "--stay");
    match run(stay) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("\nquickstart: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The whole tour. `stay` keeps the nodes up afterwards.
pub(crate) fn run(stay: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| format!("the runtime does not start: {e}"))?.block_on(tour(stay))
}

async fn tour(stay: bool) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("regprov-quickstart-").tempdir().map_err(|e| format!("no new folder: {e}"))?.keep();
    let shown = dir.display();
    println!("# {NODES} SSH nodes run inside this process. Each is a folder below {shown}/nodes");
    fleet(&dir).await?;
    println!("\n$ cd {shown}");
    std::env::set_current_dir(&dir).map_err(|e| format!("cd {shown}: {e}"))?;

    println!("\n# An identity opens vaults; its recipient seals for it.");
    let recipient = vault("regprov vault keygen -o identity.txt", None).await?;
    vault(&format!("regprov vault init vault.yml -r {}", recipient.trim()), None).await?;
    println!("\n# Two logins. Passwords come over stdin or from a prompt, never as an argument.");
    vault("regprov vault set vault.yml ngc --registry nvcr.io --username '$oauthtoken'", Some("ngc-token.txt")).await?;
    vault("regprov vault set vault.yml hub --registry docker.io --username acme", Some("hub-token.txt")).await?;

    println!("\n# The first run writes to all {NODES} nodes.");
    expect(regprov(APPLY).await?, 0, "the first run")?;
    let first = files(&dir.join("nodes"))?;
    if first.len() != NODES * FILES.len() {
        return Err(format!("{} files are on the nodes instead of {}", first.len(), NODES * FILES.len()));
    }

    println!("\n# The second run finds everything as wanted and writes nothing.");
    expect(regprov(APPLY).await?, 0, "the second run")?;
    same(&first, &files(&dir.join("nodes"))?, "the second run")?;

    println!("\n# Somebody logs in with an account of their own on gpu5, and lets everyone read the file.");
    tamper(&dir.join("nodes/gpu5").join(FILES[0]))?;
    let tampered = files(&dir.join("nodes"))?;
    println!("# --check --diff shows what would be put right, without values, and writes nothing. Exit code 10: something would change.");
    expect(regprov(&format!("{APPLY} --check --diff --detailed-exitcode")).await?, 10, "the check")?;
    same(&tampered, &files(&dir.join("nodes"))?, "the check")?;

    println!("{}", where_to_look(&dir, stay));
    if stay {
        tokio::signal::ctrl_c().await.map_err(|e| format!("Ctrl-C cannot be heard: {e}"))?;
    }
    Ok(())
}

/// Starts the nodes and writes what is needed to reach them: our key, known_hosts, the inventory, two made-up tokens.
async fn fleet(dir: &Path) -> Result<()> {
    let trouble = |e: std::io::Error| format!("{}: {e}", dir.display());
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| format!("no random numbers: {e}"))?;
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let fleet = embedded::start(key.public_key().clone(), &[Fault::None; NODES]).await.map_err(trouble)?;
    let text = key.to_openssh(LineEnding::LF).map_err(|e| format!("the SSH key cannot be written: {e}"))?;

    let (mut hosts, mut known) = (String::new(), String::new());
    for (i, address) in fleet.nodes.iter().enumerate() {
        let name = format!("gpu{}", i + 1);
        let root = dir.join("nodes").join(&name);
        for sub in ["root", "etc/profile.d", "var/lib"] {
            // regprov refuses directories that others can write, as a generous umask would make them.
            DirBuilder::new().recursive(true).mode(0o755).create(root.join(sub)).map_err(trouble)?;
        }
        hosts += &format!("  {name}: {{port: {}, root: {}}}\n", address.port(), root.display());
        known += &format!("[{}]:{} {}\n", address.ip(), address.port(), fleet.host_key_line());
    }
    let inventory = format!(
        "version: 1\nid: quickstart\nvault: vault.yml\ndefaults:\n  address: 127.0.0.1\ngroups:\n  gpu:\n    hosts: gpu[1-{NODES}]\n    logins: [ngc, hub]\n    \
         targets:\n      - docker\n      - enroot\n      - singularity: {{login: ngc}}\nhosts:\n{hosts}"
    );
    let own = [("ssh_key", text.as_str()), ("ngc-token.txt", "nvapi-made-up-token\n"), ("hub-token.txt", "dckr_pat_made-up-token\n")];
    for (name, text) in own.into_iter().chain([("known_hosts", known.as_str()), ("inventory.yml", &inventory)]) {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(name)).map_err(trouble)?;
        file.write_all(text.as_bytes()).map_err(trouble)?;
    }
    Ok(())
}

/// The words of a line as a shell would split these ones.
fn parse(line: &str) -> Result<Cli> {
    Cli::try_parse_from(line.split(' ').map(|w| w.trim_matches('\''))).map_err(|e| e.to_string())
}

/// Runs a line and returns its exit code. What it says goes where it would go.
async fn regprov(line: &str) -> Result<u8> {
    println!("\n$ {line}");
    command::run(&parse(line)?).await.map_err(|e| e.to_string())
}

/// Runs a line of `regprov vault`, with a file as its stdin, and returns what it printed.
async fn vault(line: &str, stdin: Option<&str>) -> Result<String> {
    println!("\n$ {line}{}", stdin.map(|f| format!(" < {f}")).unwrap_or_default());
    let Verb::Vault(verb) = parse(line)?.verb else { return Err(format!("this is no vault command: {line}")) };
    let input = stdin.map_or(Ok(Vec::new()), fs::read).map_err(|e| format!("{stdin:?}: {e}"))?;
    let mut output = Vec::new();
    let mut console = Console {
        stdin: &mut &input[..],
        stdin_is_terminal: false,
        stdout: &mut output,
        stdout_is_terminal: false,
        stderr: &mut std::io::stdout(),
        ask: &mut command::console::ask_terminal,
    };
    command::run_vault(&verb, &mut console).await.map_err(|e| e.to_string())?;
    let output = String::from_utf8(output).map_err(|_| "what it prints is not text".to_string())?;
    print!("{output}");
    Ok(output)
}

fn expect(got: u8, want: u8, what: &str) -> Result<()> {
    if got == want { Ok(()) } else { Err(format!("{what} ended with {got} instead of {want}")) }
}

/// What there is of a file: inode, time of change in nanoseconds, mode, content.
type State = (u64, i64, u32, Vec<u8>);

/// All files below a directory.
fn files(dir: &Path) -> Result<BTreeMap<PathBuf, State>> {
    let trouble = |e: std::io::Error| format!("{}: {e}", dir.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(trouble)? {
        let path = entry.map_err(trouble)?.path();
        let meta = fs::symlink_metadata(&path).map_err(trouble)?;
        if meta.is_dir() {
            found.extend(files(&path)?);
        } else {
            let changed = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
            found.insert(path.clone(), (meta.ino(), changed, meta.mode(), fs::read(&path).map_err(trouble)?));
        }
    }
    Ok(found)
}

fn same(before: &BTreeMap<PathBuf, State>, after: &BTreeMap<PathBuf, State>, what: &str) -> Result<()> {
    match before.keys().chain(after.keys()).find(|path| before.get(*path) != after.get(*path)) {
        Some(path) => Err(format!("{what} changed {}", path.display())),
        None => Ok(()),
    }
}

/// What `docker login` leaves, in another's name, beside a login that is not ours.
fn tamper(file: &Path) -> Result<()> {
    let text = r#"{"auths": {"nvcr.io": {"auth": "bWFsbG9yeTpmb28=", "identitytoken": "old"}, "ghcr.io": {"auth": "Ym9iOmJhcg=="}}}"#;
    fs::write(file, text).and_then(|()| fs::set_permissions(file, fs::Permissions::from_mode(0o644))).map_err(|e| format!("{}: {e}", file.display()))
}

fn where_to_look(dir: &Path, stay: bool) -> String {
    let (dir, source) = (dir.display(), env!("CARGO_MANIFEST_DIR"));
    let up = if stay {
        "# The nodes stay up until you press Ctrl-C here; put the file right from another terminal, with the two lines above and:"
    } else {
        "# The nodes have ended. With `cargo run --release --locked --example quickstart -- --stay` they stay up, and you can put the\n\
         # file right from another terminal:"
    };
    format!(
        "
# Everything was as said. Look around:
cd {dir}
alias regprov='cargo run -q --release --locked --manifest-path {source}/Cargo.toml --'

cat inventory.yml vault.yml                     # only passwords are sealed
regprov hosts inventory.yml                     # who gets what
regprov vault show vault.yml --reveal --identity identity.txt
cat nodes/gpu1/{docker}
cat nodes/gpu1/{enroot}
ls -lR nodes/gpu1/etc
cat nodes/gpu1/var/lib/regprov/owned.json       # what regprov owns there

{up}
{APPLY} --diff",
        docker = FILES[0],
        enroot = FILES[1],
    )
}
