//! Slurm host lists: `gpu[001-128],login1`, expanded in the order in which they are written.
//!
//! The grammar of one name is ClusterShell's, as `nodeset` reads it. What `nodeset` would also take (set operators, blanks
//! between names, `@groups` that silently are empty) is kept away from it, and so is a list too long to expand.

use nodeset::NodeSet;

use super::HOSTS_MAX;

/// Expands a host list. The error says what is wrong, as the end of a sentence that names the list.
pub(crate) fn expand(list: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for item in split(list)? {
        if item.is_empty() {
            return Err("has an empty name between commas".into());
        }
        if item.contains('[') {
            let room = HOSTS_MAX - names.len();
            if count(item)? > room as u64 {
                return Err(format!("stands for more than {HOSTS_MAX} hosts"));
            }
            let set: NodeSet = item.parse().map_err(|_| format!("has `{item}`, which is no Slurm host list such as gpu[001-128]"))?;
            names.extend(set.iter());
        } else {
            names.push(item.to_string());
        }
        if names.len() > HOSTS_MAX {
            return Err(format!("stands for more than {HOSTS_MAX} hosts"));
        }
    }
    for name in &names {
        check_name(name)?;
    }
    Ok(names)
}

/// A host's name: letters, digits, `.`, `-`, `_`; not a number alone, which a resolver would take for an address.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let fits = !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !fits || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(format!("has `{name}`, which is no host name"));
    }
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("has `{name}`, which is a number and no host name"));
    }
    Ok(())
}

/// Splits at the commas that stand outside brackets.
pub(crate) fn split(list: &str) -> Result<Vec<&str>, String> {
    let (mut items, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in list.char_indices() {
        match c {
            '[' if inside => return Err("has a `[` inside brackets".into()),
            ']' if !inside => return Err("has a `]` without `[`".into()),
            '[' => inside = true,
            ']' => inside = false,
            ',' if !inside => {
                items.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err("has a `[` without `]`".into());
    }
    items.push(list[start..].trim());
    Ok(items)
}

/// How many names an item with brackets stands for, before any is made.
fn count(item: &str) -> Result<u64, String> {
    let mut total: u64 = 1;
    for (i, part) in item.split(['[', ']']).enumerate() {
        if i % 2 == 0 {
            if !part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
                return Err(format!("has `{item}`, which is no host name"));
            }
            continue;
        }
        let mut here: u64 = 0;
        for range in part.split(',') {
            here = here.saturating_add(count_range(range).ok_or_else(|| format!("has `[{part}]`, which is no list of numbers and ranges such as [1-3,7]"))?);
        }
        total = total.saturating_mul(here);
    }
    Ok(total)
}

/// `7`, `1-3` or `1-9/2`.
fn count_range(range: &str) -> Option<u64> {
    let number = |t: &str| if t.bytes().all(|b| b.is_ascii_digit()) { t.parse::<u64>().ok() } else { None };
    let (span, step) = match range.split_once('/') {
        Some((span, step)) => (span, number(step)?),
        None => (range, 1),
    };
    let (first, last) = match span.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None if step == 1 => (number(span)?, number(span)?),
        None => return None,
    };
    if first > last || step == 0 { None } else { Some(((last - first) / step).saturating_add(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, want: &[&str]) {
        assert_eq!(expand(list).as_deref(), Ok(want.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice()), "{list}");
    }

    #[track_caller]
    fn refused(list: &str, want: &str) {
        let why = expand(list).expect_err(list);
        assert!(why.contains(want), "{list}: {why}");
    }

    #[test]
    fn lists_expand_in_their_order() {
        check("login1", &["login1"]);
        check("gpu[001-003]", &["gpu001", "gpu002", "gpu003"]);
        check("gpu[8-11]", &["gpu8", "gpu9", "gpu10", "gpu11"]);
        check("gpu[1-3,7]", &["gpu1", "gpu2", "gpu3", "gpu7"]);
        check("z1,a[1-2], m", &["z1", "a1", "a2", "m"]);
        check("r[1-2]n[01-02]", &["r1n01", "r1n02", "r2n01", "r2n02"]);
        check("gpu[1-9/4]-ib", &["gpu1-ib", "gpu5-ib", "gpu9-ib"]);
        check("i-0123456789012345678", &["i-0123456789012345678"]);
        check("10.0.0.5", &["10.0.0.5"]);
    }

    #[test]
    fn faults_are_named() {
        refused("", "empty name");
        refused("a,,b", "empty name");
        refused("a,", "empty name");
        refused("gpu[5-1]", "`[5-1]`");
        refused("gpu[1", "without `]`");
        refused("gpu1]", "without `[`");
        refused("gpu[[1]]", "inside brackets");
        refused("gpu[]", "`[]`");
        refused("gpu[1-]", "`[1-]`");
        refused("gpu[a-c]", "`[a-c]`");
        refused("gpu[1-5/0]", "`[1-5/0]`");
        refused("gpu[+1]", "`[+1]`");
        refused("gpu[001-10]", "no Slurm host list");
        refused("gpu1 gpu2", "no host name");
        refused("gpu[1-2]!gpu1", "no host name");
        refused("@all", "no host name");
        refused("-x", "no host name");
        refused("ü", "no host name");
        refused("7", "is a number");
        refused("[1-3]", "is a number");
    }

    #[test]
    fn a_list_too_long_is_refused_before_it_is_made() {
        refused("n[1-100001]", "more than 100000");
        refused("n[0-4294967295]", "more than 100000");
        refused("n[0-18446744073709551615]", "more than 100000");
        refused("a[1-1000]b[1-1000]c[1-1000]d[1-1000]e[1-1000]f[1-1000]g[1-1000]", "more than 100000");
        refused("n[1-60000],m[1-60000]", "more than 100000");
        assert_eq!(expand("n[1-100000]").map(|n| n.len()), Ok(HOSTS_MAX));
    }
}
