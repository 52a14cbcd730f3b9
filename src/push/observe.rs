//! Looking at a node: which paths to ask for, and what the answers say.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::job::Item;
use crate::format::{NodeFacts, Wants};
use crate::model::{Host, ObservedFile, RemotePath, StatKind};
use crate::node::protocol::{Observe, Reply, staging_pattern};
use crate::plan::{Known, View};

/// What was asked of a node so far, and what it answered.
#[derive(Default)]
pub(super) struct Seen {
    asked: BTreeSet<String>,
    /// The answers, joined.
    pub(super) reply: Reply,
}

impl Seen {
    /// Takes a further answer in. What was not asked for is left out.
    pub(super) fn add(&mut self, request: &Observe, reply: Reply) {
        let wanted = |path: &str| request.paths.iter().any(|asked| matches(asked, path));
        let all = &mut self.reply;
        all.stats.extend(reply.stats.into_iter().filter(|(path, _)| wanted(path)));
        all.files.extend(reply.files.into_iter().filter(|(path, _)| wanted(path)));
        all.inodes.extend(reply.inodes.into_iter().filter(|(path, _)| wanted(path)));
        all.mounts.extend(reply.mounts);
        all.boot = reply.boot.or(all.boot.take());
        all.ids.extend(reply.ids);
        all.me = reply.me.or(all.me);
        all.home = reply.home.or(all.home.take());
        all.curl = reply.curl.or(all.curl);
        all.tar |= reply.tar;
        all.busy |= reply.busy;
        all.torn |= reply.torn;
        self.asked.extend(request.paths.iter().cloned());
    }

    /// Whether this path or pattern was asked for.
    pub(super) fn asked(&self, path: &str) -> bool {
        self.asked.contains(path)
    }

    /// User and group of the program.
    pub(super) fn me(&self) -> (u32, u32) {
        self.reply.me.expect("observe asks until it knows")
    }

    /// Staging directories that an earlier run left in `dir`. Where hosts share it, those of this run are not stale.
    pub(super) fn has_stale_staging(&self, dir: &RemotePath, is_at_work: impl Fn(&str) -> bool) -> bool {
        let prefix = staging_pattern(dir);
        let prefix = prefix.trim_end_matches('*');
        self.reply.stats.iter().any(|(path, stat)| path.starts_with(prefix) && stat.kind == StatKind::Dir && !is_at_work(path))
    }
}

impl View for Seen {
    fn at(&self, path: &RemotePath) -> Known<'_> {
        match self.reply.stats.get(path.as_str()) {
            Some(stat) => Known::Is(stat),
            None if self.asked(path.as_str()) => Known::Absent,
            None => Known::Nothing,
        }
    }

    fn file(&self, path: &RemotePath) -> Option<&ObservedFile> {
        self.reply.files.get(path.as_str())
    }
}

/// Whether `path` is what a path or pattern asks for; `*` stands in the last component only, and for no slash.
fn matches(asked: &str, path: &str) -> bool {
    match asked.split_once('*') {
        None => asked == path,
        Some((start, end)) => path.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)).is_some_and(|between| !between.contains('/')),
    }
}

/// The first request: every file with the directories that lead to it, our record, what the formats want to know.
pub(super) fn first_request(host: &Host, items: &[Item<'_>], record: &RemotePath, backups: bool) -> Observe {
    let mut paths = BTreeSet::new();
    let mut patterns = BTreeSet::new();
    let mut request = Observe::default();
    for file in items.iter().map(|i| &i.wanted).chain([record]) {
        paths.extend(file.chain_from(&host.root));
        paths.insert(file.clone());
        patterns.insert(staging_pattern(&file.parent()));
        if backups && file != record {
            paths.insert(backup_path(file));
        }
    }
    let wants: Vec<&Wants> = items.iter().map(Item::wants).collect();
    request.curl = host.curl.is_none() && wants.iter().any(|w| w.curl);
    patterns.extend(wants.iter().flat_map(|w| w.conf.iter().chain(&w.paths)).map(|c| below(c, &host.root)));
    request.users = names(items.iter().filter_map(|i| i.target.owner.as_ref()));
    request.groups = names(items.iter().filter_map(|i| i.target.group.as_ref()));
    request.paths = paths.iter().map(ToString::to_string).chain(patterns).collect();
    request
}

/// Those that are no numbers, each once.
fn names<'a>(wanted: impl Iterator<Item = &'a String>) -> Vec<String> {
    wanted.filter(|n| n.parse::<u32>().is_err()).collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// The files of these patterns that the node told of, pattern by pattern, without the host's `root:`.
pub(super) fn conf(host: &Host, patterns: &[String], reply: &Reply) -> Vec<(String, Zeroizing<Vec<u8>>)> {
    let mut conf = Vec::new();
    for pattern in patterns {
        let full = below(pattern, &host.root);
        for (path, file) in reply.files.iter().filter(|(path, _)| matches(&full, path)) {
            let inside = if host.root.as_str() == "/" { path.as_str() } else { &path[host.root.as_str().len()..] };
            conf.push((inside.to_string(), file.content.clone()));
        }
    }
    conf
}

/// What the formats are told of the node.
pub(super) fn facts(host: &Host, item: &Item<'_>, reply: &Reply) -> NodeFacts {
    let wants = item.wants();
    let conf = conf(host, &wants.conf, reply);
    let there = wants.paths.iter().filter(|path| reply.stats.contains_key(&below(path, &host.root))).cloned().collect();
    NodeFacts { curl: host.curl.or(reply.curl), conf, there, helpers: item.answers().to_vec() }
}

/// Where a file that could not be read is kept when it is replaced.
pub(super) fn backup_path(file: &RemotePath) -> RemotePath {
    file.parent().join(&format!("{}.regprov-backup", file.file_name()))
}

/// A path or pattern below the host's root.
pub(super) fn below(pattern: &str, root: &RemotePath) -> String {
    if root.as_str() == "/" { pattern.to_string() } else { format!("{root}{pattern}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_taken() {
        for (asked, path, want) in [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/bc", false),
            ("/e/*.conf", "/e/x.conf", true),
            ("/e/*.conf", "/e/.conf", true),
            ("/e/*.conf", "/e/d/x.conf", false),
            ("/e/*.conf", "/etc/shadow", false),
            ("/e/x*x", "/e/x", false),
        ] {
            assert_eq!(matches(asked, path), want, "{asked} {path}");
        }
    }
}
