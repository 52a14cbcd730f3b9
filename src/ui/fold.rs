//! Many host names in few words: `gpu[001-117]`.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use nodeset::NodeSet;

use crate::model::kubernetes::is_namespace;

/// The names as a Slurm host list, those of namespaces context by context. What is folded expands to exactly these names; where it would not
/// (mixed padding, numbers too large, names that are no host names), they stand side by side, in order.
pub fn fold(names: &[&str]) -> String {
    if !names.iter().any(|name| is_namespace(name)) {
        return fold_alike(names);
    }
    let mut contexts = Groups::new();
    for name in names {
        let (context, own) = name.split_at(name.rfind('/').map_or(0, |slash| slash + 1));
        contexts.add(context, own);
    }
    let prefixed = |(context, own): (&str, Vec<&str>)| {
        let (context, folded) = (super::line(context), fold_alike(&own));
        let mut inside = false;
        let items = folded.split(|c| {
            inside = (inside || c == '[') && c != ']';
            c == ',' && !inside
        });
        items.map(|item| format!("{context}{item}")).collect::<Vec<_>>().join(",")
    };
    contexts.into_rows().into_iter().map(prefixed).collect::<Vec<_>>().join(",")
}

/// [`fold`] for names of one kind.
fn fold_alike(names: &[&str]) -> String {
    // Without this, `@group` and the operators of nodeset would be read as such.
    let plain = |n: &&str| n.starts_with(|c: char| c.is_ascii_alphanumeric()) && n.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if names.iter().all(plain)
        && let Ok(set) = names.join(",").parse::<NodeSet>()
    {
        let folded = set.to_string();
        let expanded: Option<BTreeSet<String>> = folded.parse::<NodeSet>().ok().map(|again| again.iter().collect());
        if expanded.is_some_and(|e| e.iter().map(String::as_str).eq(names.iter().copied().collect::<BTreeSet<_>>())) {
            return folded;
        }
    }
    let shown: Vec<String> = names.iter().map(|n| super::line(n)).collect();
    shown.join(",")
}

/// How many destinations there are, of each kind: `120 hosts and 1 namespace`.
pub fn destinations<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let (mut hosts, mut namespaces) = (0, 0);
    for name in names {
        *(if is_namespace(name) { &mut namespaces } else { &mut hosts }) += 1;
    }
    let counted = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (hosts, namespaces) {
        (hosts, 0) => counted(hosts, "host"),
        (0, namespaces) => counted(namespaces, "namespace"),
        (hosts, namespaces) => format!("{} and {}", counted(hosts, "host"), counted(namespaces, "namespace")),
    }
}

/// [`fold`], and how many there are: `gpu[001-117] (117)`.
pub fn fold_counted(names: &[&str]) -> String {
    format!("{} ({})", fold(names), names.len())
}

/// Things that belong together, in the order in which each kind came first.
pub(super) struct Groups<K, V> {
    rows: Vec<(K, Vec<V>)>,
    at: HashMap<K, usize>,
}

impl<K: Clone + Eq + Hash, V> Groups<K, V> {
    /// None yet.
    pub(super) fn new() -> Self {
        Groups { rows: Vec::new(), at: HashMap::new() }
    }

    /// Adds one.
    pub(super) fn add(&mut self, key: K, value: V) {
        let at = *self.at.entry(key.clone()).or_insert(self.rows.len());
        if at == self.rows.len() {
            self.rows.push((key, Vec::new()));
        }
        self.rows[at].1.push(value);
    }

    /// The groups.
    pub(super) fn into_rows(self) -> Vec<(K, Vec<V>)> {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &str, want: &str) {
        let names: Vec<&str> = names.split(' ').collect();
        assert_eq!(fold(&names), want);
    }

    #[test]
    fn names_fold_as_slurm_writes_them() {
        check("gpu001 gpu002 gpu003 login1", "gpu[001-003],login1");
        check("gpu002 gpu001", "gpu[001-002]");
        check("n9 n10 n11", "n[9-11]");
        check("gpu1.example.org gpu2.example.org", "gpu[1-2].example.org");
        check("r1-n1 r1-n2 r2-n1 r2-n2", "r[1-2]-n[1-2]");
        check("login", "login");
        check("prod/team-1 n1 prod/team-2 n2 test/a prod/ml", "prod/ml,prod/team-[1-2],n[1-2],test/a");
        check("arn:aws:eks:1:cluster/x/a1 arn:aws:eks:1:cluster/x/a2 (current)/(team=ml)", "arn:aws:eks:1:cluster/x/a[1-2],(current)/(team=ml)");
    }

    #[test]
    fn destinations_are_counted_by_their_kind() {
        for (names, want) in
            [(&["a"][..], "1 host"), (&["a", "b"], "2 hosts"), (&["p/a"], "1 namespace"), (&["a", "p/a", "p/b"], "1 host and 2 namespaces"), (&[], "0 hosts")]
        {
            assert_eq!(destinations(names.iter().copied()), want);
        }
    }

    #[test]
    fn what_would_not_expand_to_the_same_names_is_not_folded() {
        check("n99999999999999999999 n1", "n99999999999999999999,n1");
        check("@all n1", "@all,n1");
        check("fe80::1 fe80::2", "fe80::1,fe80::2");
        check("n\u{202e}1 n2", "n\\u{202e}1,n2");
    }

    #[test]
    fn every_fold_expands_to_its_names() {
        for names in [vec!["gpu1", "gpu2", "gpu03"], vec!["n1", "n01", "n001"], vec!["10.0.0.5", "10.0.1.5"], vec!["a1", "a1b1", "a1b2", "a"]] {
            let mut back: Vec<String> = fold(&names).parse::<NodeSet>().unwrap().iter().collect();
            back.sort();
            let mut want = names.clone();
            want.sort();
            assert_eq!(back, want);
        }
    }

    #[test]
    fn ten_thousand_names_with_gaps_are_counted() {
        let names: Vec<String> = (0..15_000).filter(|i| i % 3 != 0).map(|i| format!("gpu{i:05}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(fold_counted(&names).ends_with(" (10000)"));
    }
}
