//! Slurm's nodes, as `sinfo` lists them.

use std::collections::{BTreeSet, HashMap};

use super::{Fault, Found, Settings};
use crate::inventory::fields::hint_for;
use crate::inventory::hostlist;
use crate::model::text::sanitize;

/// The command that lists every node once for each of its partitions: name, partition, state with its flags, reason. The reason comes last:
/// it may hold anything. The letters mean the same from Slurm 20.11 to 24.11 (sinfo(1)).
pub(super) const SINFO: [&str; 6] = ["sinfo", "--noheader", "--all", "--Node", "--format", "%N|%R|%T|%E"];

/// A node, with what of all its partitions is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    name: String,
    partitions: Vec<String>,
    state: State,
    reason: String,
}

/// A node's state: the word, the marks behind it (`*`, `~`, ...), and flags after `+` (sinfo(1), NODE STATE CODES).
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    base: String,
    marks: String,
    flags: Vec<String>,
}

/// Every state that sinfo writes or takes: long form, compact form.
const STATES: [(&str, &str); 24] = [
    ("allocated", "alloc"),
    ("blocked", "block"),
    ("completing", "comp"),
    ("down", "down"),
    ("drained", "drain"),
    ("draining", "drng"),
    ("error", "err"),
    ("fail", "fail"),
    ("failing", "failg"),
    ("future", "futr"),
    ("idle", "idle"),
    ("inval", "inval"),
    ("maint", "maint"),
    ("mixed", "mix"),
    ("perfctrs", "npc"),
    ("planned", "plnd"),
    ("power_down", "pow_dn"),
    ("powered_down", "powered_down"),
    ("powering_down", "powering_down"),
    ("powering_up", "pow_up"),
    ("reboot_issued", "boot^"),
    ("reboot_requested", "boot"),
    ("reserved", "resv"),
    ("unknown", "unk"),
];

/// A state as the inventory names it, in its long form. `drain` means `drained` and `draining`, as with `sinfo -t`.
pub(super) fn parse_state(word: &str) -> Result<Vec<String>, String> {
    let lower = word.to_ascii_lowercase();
    match lower.as_str() {
        "drain" => return Ok(vec!["drained".into(), "draining".into()]),
        "fail" => return Ok(vec!["fail".into(), "failing".into()]),
        "power_up" => return Ok(vec!["powering_up".into()]),
        "power_down" | "pow_dn" => return Ok(["power_down", "powered_down", "powering_down"].map(Into::into).to_vec()),
        _ => {}
    }
    match STATES.iter().find(|(long, compact)| *long == lower || *compact == lower) {
        Some((long, _)) => Ok(vec![(*long).to_string()]),
        None => {
            let meant = crate::inventory::fields::suggest(&lower, STATES.iter().flat_map(|(long, compact)| [*long, *compact]));
            Err(meant.map_or_else(
                || "is no state of sinfo, such as idle, alloc, mix or drain".to_string(),
                |m| format!("is no state of sinfo; did you mean `{m}`?"),
            ))
        }
    }
}

impl State {
    fn parse(text: &str) -> State {
        let (word, flags) = text.split_once('+').unwrap_or((text, ""));
        let end = word.find(|c: char| !c.is_ascii_alphabetic() && c != '_').unwrap_or(word.len());
        let lower = word[..end].to_ascii_lowercase();
        let base = STATES.iter().find(|(long, compact)| *long == lower || *compact == lower).map_or(lower.clone(), |(long, _)| (*long).to_string());
        let flags = flags.split('+').filter(|f| !f.is_empty()).map(str::to_ascii_lowercase).collect();
        State { base, marks: word[end..].to_string(), flags }
    }

    /// What it is, in one word of [`STATES`]: a flag or a mark may say more than the base.
    fn word(&self) -> &str {
        let flag = |name: &str| self.flags.iter().any(|f| f == name);
        let busy = ["allocated", "mixed", "completing"].contains(&self.base.as_str());
        match self.base.as_str() {
            "down" => "down",
            _ if flag("drain") => {
                if busy {
                    "draining"
                } else {
                    "drained"
                }
            }
            _ if flag("fail") => {
                if busy {
                    "failing"
                } else {
                    "fail"
                }
            }
            _ if flag("powered_down") || self.marks.contains('~') => "powered_down",
            _ if flag("powering_down") || self.marks.contains('%') => "powering_down",
            _ if flag("powering_up") || self.marks.contains('#') => "powering_up",
            _ if flag("reboot_issued") || self.marks.contains('^') => "reboot_issued",
            base => base,
        }
    }

    /// Whether nobody would expect the node to answer, or the admin took it out of service.
    fn is_down(word: &str) -> bool {
        ["down", "drained", "error", "fail", "future", "power_down", "powered_down", "powering_down", "powering_up", "reboot_issued"].contains(&word)
    }

    /// Whether a wish for `state` means it: by the whole word, or by the base (`idle` is also `idle~` only when that is not down).
    fn is_wanted(&self, wanted: &[String]) -> bool {
        let word = self.word();
        if wanted.is_empty() { !Self::is_down(word) } else { wanted.iter().any(|w| w == word) }
    }
}

/// Reads what [`SINFO`] printed: every node once, in sinfo's order.
pub(super) fn parse(output: &str) -> Result<Vec<Node>, String> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut at: HashMap<&str, usize> = HashMap::new();
    for line in output.lines().filter(|l| !l.trim().is_empty()) {
        let mut fields = line.splitn(4, '|');
        let (Some(name), Some(partition), Some(state), Some(reason)) = (fields.next(), fields.next(), fields.next(), fields.next()) else {
            return Err(format!("sinfo printed what is no node: {}", sanitize(line)));
        };
        hostlist::check_name(name.trim()).map_err(|why| format!("sinfo's output {why}"))?;
        let (name, partition) = (name.trim(), partition.trim());
        let index = *at.entry(name).or_insert_with(|| {
            let reason = sanitize(reason.trim());
            nodes.push(Node { name: name.to_string(), partitions: Vec::new(), state: State::parse(state.trim()), reason });
            nodes.len() - 1
        });
        nodes[index].partitions.push(partition.to_string());
    }
    Ok(nodes)
}

/// The nodes of these partitions (of all without any) in these states (see [`State::is_wanted`]); those that are down stay, to be skipped.
pub(super) fn choose(nodes: &[Node], partitions: &[String], states: &[String]) -> Result<Vec<Found>, Fault> {
    let known: BTreeSet<&str> = nodes.iter().flat_map(|n| &n.partitions).map(String::as_str).collect();
    if let Some(unknown) = partitions.iter().find(|p| !known.contains(p.as_str())) {
        return Err(Fault { message: format!("Slurm has no partition `{unknown}` with nodes in it"), hint: hint_for(unknown, known, "partitions") });
    }
    let inside = |n: &&Node| partitions.is_empty() || n.partitions.iter().any(|p| partitions.contains(p));
    let mut found = Vec::new();
    for node in nodes.iter().filter(inside) {
        let word = node.state.word();
        let skip = match (node.state.is_wanted(states), State::is_down(word)) {
            (true, _) => None,
            // What is to come some day is no node yet.
            (false, true) if word != "future" => Some(reason(word, &node.reason)),
            _ => continue,
        };
        found.push(Found { name: node.name.clone(), settings: Settings::default(), skip });
    }
    Ok(found)
}

/// `drained: bad DIMM`, or the state alone.
fn reason(word: &str, reason: &str) -> String {
    let word = word.replace('_', " ");
    match reason {
        "" | "none" | "Not Set" => word,
        reason => format!("{word}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
gpu1|gpu|idle|none
gpu1|all|idle|none
gpu2|gpu|drained|bad DIMM | slot 3
gpu3|gpu|mixed|none
gpu4|gpu|down*|Not responding
gpu5|gpu|idle~|none
gpu6|gpu|draining|swap \u{1b}[31mPSU
cpu1|cpu|allocated+|none
cpu2|cpu|idle*|none
cpu3|cpu|idle+drain|kernel
cpu4|cpu|reserved|none
cpu5|cpu|future|none
";

    #[track_caller]
    fn check(partitions: &[&str], states: &[&str], want: &[&str]) {
        let nodes = parse(OUTPUT).unwrap();
        let states: Vec<String> = states.iter().flat_map(|s| parse_state(s).unwrap()).collect();
        let partitions: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        let found = choose(&nodes, &partitions, &states).unwrap();
        let got: Vec<String> = found.into_iter().map(|f| f.skip.map_or(f.name.clone(), |why| format!("{} ({why})", f.name))).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn what_is_down_is_skipped_with_slurm_s_reason() {
        let gpu = ["gpu1", "gpu2 (drained: bad DIMM | slot 3)", "gpu3", "gpu4 (down: Not responding)", "gpu5 (powered down)", "gpu6"];
        check(&["gpu"], &[], &gpu);
        check(&["cpu"], &[], &["cpu1", "cpu2", "cpu3 (drained: kernel)", "cpu4"]);
        check(&[], &[], &[&gpu[..], &["cpu1", "cpu2", "cpu3 (drained: kernel)", "cpu4"]].concat());
    }

    #[test]
    fn states_choose_and_may_name_what_is_down() {
        check(&["gpu"], &["idle"], &["gpu1", "gpu2 (drained: bad DIMM | slot 3)", "gpu4 (down: Not responding)", "gpu5 (powered down)"]);
        check(&["gpu"], &["mix", "drain"], &["gpu2", "gpu3", "gpu4 (down: Not responding)", "gpu5 (powered down)", "gpu6"]);
        check(&["cpu"], &["ALLOC", "resv"], &["cpu1", "cpu3 (drained: kernel)", "cpu4"]);
        check(&["all"], &["down"], &[]);
    }

    #[test]
    fn marks_and_flags_say_more_than_the_word() {
        for (text, want, down) in [
            ("idle", "idle", false),
            ("idle*", "idle", false),
            ("idle~", "powered_down", true),
            ("idle#", "powering_up", true),
            ("idle!", "idle", false),
            ("idle%", "powering_down", true),
            ("idle$", "idle", false),
            ("idle@", "idle", false),
            ("idle^", "reboot_issued", true),
            ("mixed-", "mixed", false),
            ("alloc+", "allocated", false),
            ("drng", "draining", false),
            ("drain*", "drained", true),
            ("DOWN*+DRAIN", "down", true),
            ("mixed+drain", "draining", false),
            ("idle+cloud+powered_down", "powered_down", true),
            ("fail", "fail", true),
            ("failing", "failing", false),
            ("unknown", "unknown", false),
            ("maint", "maint", false),
            ("brandnew", "brandnew", false),
        ] {
            let state = State::parse(text);
            assert_eq!((state.word(), State::is_down(state.word())), (want, down), "{text}");
        }
    }

    #[test]
    fn faults_are_named() {
        let nodes = parse(OUTPUT).unwrap();
        let fault = choose(&nodes, &["gpus".to_string()], &[]).unwrap_err();
        assert_eq!((fault.message.as_str(), fault.hint.as_deref()), ("Slurm has no partition `gpus` with nodes in it", Some("did you mean `gpu`?")));
        assert!(parse_state("idel").unwrap_err().contains("did you mean `idle`?"));
        assert!(parse_state("xyz").unwrap_err().contains("no state of sinfo"));
        assert!(parse("CLUSTER: x\n").unwrap_err().contains("CLUSTER: x"));
        assert!(parse("a b|c|d|e\n").unwrap_err().contains("no host name"));
        assert_eq!(parse("").unwrap(), []);
    }
}
