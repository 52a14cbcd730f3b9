//! The files of hosts of which nothing is known but what the inventory says: no file is there, and no configuration was read. Pure.

use zeroize::Zeroizing;

use super::Logins;
use super::job::{Item, items, shown};
use super::memo::Memos;
use crate::format::{MergeOptions, NodeFacts};
use crate::model::{Host, RemotePath, Target, TargetKind};

/// A file as [`push_all`](super::push_all) would write it to a host that has none there.
pub struct RenderedFile {
    /// Whose it is.
    pub target: TargetKind,
    /// Its path as reports show it.
    pub shown: String,
    /// The file, or why it does not follow from the inventory alone.
    pub file: Result<HostFile, String>,
}

/// A file of a host.
pub struct HostFile {
    /// Where it lies there.
    pub path: RemotePath,
    /// What it holds.
    pub content: Zeroizing<Vec<u8>>,
    /// Its mode and owner there, unless they are 0600 and whoever writes: `0640 root:gpu`.
    pub differs: Option<String>,
}

/// The files of these hosts, in the order in which reports name them.
pub fn render_all(hosts: &[Host], logins: &Logins) -> Vec<Vec<RenderedFile>> {
    let memos = Memos::default();
    hosts.iter().map(|host| items(host, logins, 0).iter().map(|item| rendered(host, item, &memos)).collect()).collect()
}

fn rendered(host: &Host, item: &Item<'_>, memos: &Memos) -> RenderedFile {
    let shown = shown(host, item.target, &item.spec.path);
    let file = match node_tells(item.target) {
        Some(why) => Err(why),
        None => content(host, item, memos).map(|content| HostFile { path: item.wanted.clone(), content, differs: differs(item) }),
    };
    RenderedFile { target: item.target.kind, shown, file }
}

/// What of a target only the node tells.
fn node_tells(target: &Target) -> Option<String> {
    if target.is_auto() {
        return Some("it lies where the node's enroot.conf says; name the file with `path:` instead of `auto`".to_string());
    }
    if let (Some(user), Some(_)) = (&target.user, Target::below_home(&target.path)) {
        return Some(format!("where the home of {user} is, the node tells; `regprov apply` writes it there"));
    }
    (target.kind == TargetKind::Containerd).then(|| {
        "the version that it must have stands in the node's /etc/containerd/config.toml; `regprov apply` reads it there, or use the target `kubelet`"
            .to_string()
    })
}

/// The content, read back by its consumer's own rules.
fn content(host: &Host, item: &Item<'_>, memos: &Memos) -> Result<Zeroizing<Vec<u8>>, String> {
    let facts = NodeFacts { curl: host.curl, ..NodeFacts::default() };
    let merge = item.merge(None, &facts, MergeOptions::default());
    let merged = memos.merged.get(&merge, || (item.consumer.merge)(&merge))?;
    let content = merged.write.ok_or("there is nothing to write")?;
    (item.consumer.read_back)(&merge, &content)?;
    Ok(content)
}

fn differs(item: &Item<'_>) -> Option<String> {
    let (owner, group) = if item.spec.secret { (item.target.owner.as_ref(), item.target.group.as_ref()) } else { (None, None) };
    let owned = match (owner.or(item.target.user.as_ref()), group) {
        (None, None) => String::new(),
        (owner, group) => format!(" {}:{}", owner.map_or("", String::as_str), group.map_or("", String::as_str)),
    };
    (item.spec.mode.bits() != 0o600 || !owned.is_empty()).then(|| format!("{}{owned}", item.spec.mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::consumer;
    use crate::model::{CurlVersion, FileMode, Login, Registry, Secret, Username};

    fn login(password: &str) -> Logins {
        let login = Login {
            name: "ngc".into(),
            registry: Registry::parse("nvcr.io").unwrap().0,
            username: Username::parse("$oauthtoken").unwrap(),
            password: Secret::new(password.to_string()),
            auth_hosts: Vec::new(),
            expires: None,
        };
        Logins::from([(login.name.clone(), login)])
    }

    fn target(kind: TargetKind) -> Target {
        Target { logins: vec!["ngc".into()], ..Target::at(kind, RemotePath::parse(consumer(kind).default_path).unwrap()) }
    }

    /// `PATH (what differs) CONTENT`, or `PATH: why`.
    fn told(host: Host, password: &str) -> Vec<String> {
        let files = render_all(std::slice::from_ref(&host), &login(password)).remove(0);
        let told = |f: RenderedFile| match f.file {
            Ok(HostFile { path, content, differs }) => {
                let differs = differs.map(|d| format!(" ({d})")).unwrap_or_default();
                format!("{path}{differs} {}", String::from_utf8_lossy(&content).split_whitespace().collect::<String>())
            }
            Err(why) => format!("{}: {why}", f.shown),
        };
        files.into_iter().map(told).collect()
    }

    #[test]
    fn files_lie_below_the_root_of_their_host() {
        let docker = Host { targets: vec![target(TargetKind::Docker)], ..Host::named("gpu1") };
        let content = r#"{"auths":{"nvcr.io":{"auth":"JG9hdXRodG9rZW46aHVudGVyMg=="}}}"#;
        assert_eq!(told(docker.clone(), "hunter2"), [format!("/root/.docker/config.json {content}")]);
        let root = RemotePath::parse("/srv/images/gpu").unwrap();
        assert_eq!(told(Host { root, ..docker }, "hunter2"), [format!("/srv/images/gpu/root/.docker/config.json {content}")]);
    }

    #[test]
    fn mode_and_owner_are_told_where_the_folder_has_others() {
        let shared = Target { group: Some("gpu".into()), mode: FileMode::secret(0o640).unwrap(), ..target(TargetKind::Docker) };
        let host = Host { targets: vec![shared, target(TargetKind::Singularity)], ..Host::named("gpu1") };
        let heads: Vec<String> = told(host, "hunter2").iter().map(|line| line.split(')').next().unwrap().to_string()).collect();
        assert_eq!(heads[0], "/root/.docker/config.json (0640 :gpu");
        assert!(heads[1].starts_with("/etc/regprov/singularity.sh export"), "{heads:?}");
        assert_eq!(heads[4], "/etc/profile.d/regprov-singularity.sh (0644");
    }

    #[test]
    fn what_a_node_would_tell_is_refused() {
        #[track_caller]
        fn check(host: Host, password: &str, want: &str) {
            let told = told(host, password);
            assert!(told.len() == 1 && told[0].contains(want), "{told:?}\nwanted {want}");
        }
        let of = |target: Target| Host { targets: vec![target], ..Host::named("gpu1") };
        check(
            of(Target { path: RemotePath::parse(Target::AUTO).unwrap(), ..target(TargetKind::Enroot) }),
            "x",
            "auto: it lies where the node's enroot.conf says",
        );
        let home = RemotePath::parse("/~/.docker/config.json").unwrap();
        check(
            of(Target { user: Some("alice".into()), path: home, ..target(TargetKind::Docker) }),
            "x",
            "~alice/.docker/config.json: where the home of alice is, the node tells",
        );
        check(of(target(TargetKind::Containerd)), "x", "/etc/containerd/config.toml; `regprov apply` reads it");
        // What every curl reads is written, what some read only where the inventory names the node's.
        check(of(target(TargetKind::Enroot)), "hunter2", "/root/.config/enroot/.credentials machine");
        check(of(target(TargetKind::Enroot)), "hunter 2", "curl");
        check(Host { curl: Some(CurlVersion(8, 14, 1)), ..of(target(TargetKind::Enroot)) }, "hunter 2", "/root/.config/enroot/.credentials machine");
    }
}
