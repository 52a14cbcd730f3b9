//! What it takes to bring 200 namespaces of a real kube-apiserver to their pull Secrets: `cargo bench --bench kubernetes [-- [--rounds R] [N]]`.
//!
//! The server (`tests/common/kube.rs`) shares the machine with the programs. Beside regprov stand kubectl's server-side apply of the same Secrets, which
//! names them in no service account, and the lines of shell that documentation tells people to type for each namespace; those are run for a tenth of the
//! namespaces. Each figure is that of one run of a program from its start to its end, the median of all rounds is told. The CPU time is that of the
//! program and what it starts, and not of the server. Requests are counted in the server's audit log. Every run's result is looked at.

#![allow(clippy::print_stdout, reason = "a benchmark tells its figures")]

#[path = "../tests/common/fleet.rs"]
mod fleet;
#[path = "../tests/common/kube.rs"]
mod kube;
#[path = "../tests/common/kube_site.rs"]
mod kube_site;
#[path = "../tests/common/peers.rs"]
mod peers;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kube_site::KubeSite;

/// What people are told to type: a Secret through `kubectl apply`, and the service account's list, which is replaced.
const LOOP: &str = r#"for ns in $NAMESPACES; do
kubectl create secret docker-registry $SECRET -n $ns --docker-server=https://index.docker.io/v1/ --docker-username=alice --docker-password="$PASSWORD" \
    --dry-run=client -o yaml | kubectl apply -f - && kubectl patch serviceaccount default -n $ns -p "{\"imagePullSecrets\": [{\"name\": \"$SECRET\"}]}" || exit 1
done >/dev/null"#;

fn main() {
    let (mut namespaces, mut rounds) = (200, 3);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // cargo bench adds it.
            "--bench" => {}
            "--rounds" => rounds = words.next().and_then(|r| r.parse().ok()).filter(|r| *r > 0).expect("--rounds needs a number"),
            n => namespaces = n.parse().ok().filter(|n| *n >= 10).expect("a number of namespaces, at least 10"),
        }
    }
    let names: Vec<String> = (0..namespaces).map(|i| format!("team-{i:03}")).collect();
    let Some(site) = KubeSite::start(&names.iter().map(String::as_str).collect::<Vec<_>>()) else { return };
    let bench = Bench { site, names };
    let mut figures: Vec<(&str, usize, Vec<Figure>)> = Vec::new();
    for round in 0..rounds {
        for (at, (what, count, figure)) in bench.round(round).into_iter().enumerate() {
            match figures.get_mut(at) {
                Some((_, _, all)) => all.push(figure),
                None => figures.push((what, count, vec![figure])),
            }
        }
    }
    println!("| median of {rounds} rounds | namespaces | wall s | CPU of the program s | requests a namespace |\n|---|---|---|---|---|");
    for (what, count, figures) in figures {
        let median = |of: fn(&Figure) -> f64| {
            let mut all: Vec<f64> = figures.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let (wall, cpu) = (median(|f| f.wall.as_secs_f64()), median(|f| f.cpu.as_secs_f64()));
        println!("| {what} | {count} | {wall:.2} | {cpu:.2} | {:.2} |", median(|f| f.requests as f64) / count as f64);
    }
}

/// One run.
struct Figure {
    wall: Duration,
    /// User and system time of the program and of what it waited for.
    cpu: Duration,
    requests: usize,
}

struct Bench {
    site: KubeSite,
    names: Vec<String>,
}

impl Bench {
    /// Every program once, each on Secrets of names of its own.
    fn round(&self, round: usize) -> Vec<(&'static str, usize, Figure)> {
        let all = self.names.len();
        let mut figures = Vec::new();
        self.inventory(&format!("ours-{round}"), true);
        figures.push(("regprov, first run", all, self.regprov("changed")));
        figures.push(("regprov, second run", all, self.regprov("unchanged")));
        assert_eq!(self.site.kube.pull_secrets(&self.names[all - 1], "default").last(), Some(&format!("ours-{round}")));
        self.inventory(&format!("alone-{round}"), false);
        figures.push(("regprov, Secrets alone, first run", all, self.regprov("changed")));
        figures.push(("regprov, Secrets alone, second run", all, self.regprov("unchanged")));
        let manifests = self.manifests(&format!("theirs-{round}"));
        for what in ["kubectl apply --server-side, Secrets alone, first run", "kubectl apply --server-side, Secrets alone, second run"] {
            figures.push((what, all, self.kubectl(&manifests)));
        }
        assert!(self.site.kube.get("secrets", &self.names[all - 1], &format!("theirs-{round}")).is_some());
        let some = &self.names[..all / 10];
        figures.push(("kubectl create, apply and patch in a loop", some.len(), self.shell(some, &format!("typed-{round}"))));
        assert_eq!(self.site.kube.pull_secrets(&some[some.len() - 1], "default"), [format!("typed-{round}")]);
        figures
    }

    fn inventory(&self, secret: &str, accounts: bool) {
        let accounts = if accounts { ", service_accounts: [default]" } else { "" };
        self.site.inventory(&format!("a: {{context: prod, namespaces: [{}], logins: [hub], secret: {secret}{accounts}}}", self.names.join(", ")));
    }

    fn regprov(&self, ends: &str) -> Figure {
        let mut command = self.site.command(&["apply", "inventory.yml"]);
        let (figure, said) = self.time(&mut command, "", "regprov/");
        assert!(said.contains(&format!("{} {ends}", self.names.len())), "{said}");
        figure
    }

    /// The Secrets as regprov writes them, a document each.
    fn manifests(&self, name: &str) -> String {
        let secret = self.site.kube.get("secrets", &self.names[0], &name.replace("theirs", "alone")).expect("it was written just now");
        let data = secret["data"][".dockerconfigjson"].as_str().expect("a pull Secret has it");
        self.names.iter().fold(String::new(), |mut all, namespace| {
            let _ = writeln!(
                all,
                "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\ntype: kubernetes.io/dockerconfigjson\ndata: {{.dockerconfigjson: {data}}}"
            );
            all
        })
    }

    fn kubectl(&self, manifests: &str) -> Figure {
        let mut command = self.at_kube(&peers::need("kubectl").expect("the site has started with it"));
        self.time(command.args(["apply", "--server-side", "-f", "-"]), manifests, "kubectl/").0
    }

    fn shell(&self, namespaces: &[String], secret: &str) -> Figure {
        let kubectl = peers::need("kubectl").expect("the site has started with it");
        let mut command = self.at_kube("/bin/sh".as_ref());
        let path =
            std::env::join_paths([kubectl.parent().expect("a program lies in a directory"), "/usr/bin".as_ref(), "/bin".as_ref()]).expect("no colon in them");
        command.args(["-c", LOOP]).env("PATH", path).env("NAMESPACES", namespaces.join(" ")).env("SECRET", secret).env("PASSWORD", kube_site::LOGINS[0].3);
        self.time(&mut command, "", "kubectl/").0
    }

    /// A program that is the user who may do everything.
    fn at_kube(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.site.site.dir.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.site.site.path("home"));
        command
    }

    /// Runs it to its end, which must be a good one, and counts the requests of whoever calls itself so.
    fn time(&self, command: &mut Command, input: &str, agent: &str) -> (Figure, String) {
        let audited = self.site.kube.audited();
        let out = self.site.site.path("out");
        let file = std::fs::File::create(&out).expect("there is room");
        command.stdin(Stdio::piped()).stdout(file.try_clone().expect("there are descriptors")).stderr(file);
        let start = Instant::now();
        #[expect(clippy::zombie_processes, reason = "wait4 waits for it, and tells its CPU time")]
        let mut child = command.spawn().expect("the program starts");
        child.stdin.take().expect("it was piped").write_all(input.as_bytes()).expect("it reads all of it");
        let mut status = 0;
        // SAFETY: both pointers are to values of this function, and a zeroed rusage is one.
        let (waited, usage) = unsafe {
            let mut usage = std::mem::zeroed();
            (libc::wait4(child.id().cast_signed(), &raw mut status, 0, &raw mut usage), usage)
        };
        let wall = start.elapsed();
        let said = std::fs::read_to_string(out).expect("it was made above");
        assert!(waited == child.id().cast_signed() && status == 0, "{status}: {said}");
        let time = |t: libc::timeval| Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_usec).expect("less than a second") * 1000);
        let cpu = time(usage.ru_utime) + time(usage.ru_stime);
        (Figure { wall, cpu, requests: self.site.kube.audit(audited, agent).len() }, said)
    }
}
