//! Ansible's inventories that are maps: YAML files (plugins/inventory/yaml.py), and the JSON that inventory scripts and
//! `ansible-inventory --list` print (plugins/inventory/script.py).

use super::data::Data;
use super::pattern;
use super::value::Value;

/// Adds the groups and hosts of a YAML inventory.
pub(super) fn read_yaml(root: &Value, data: &mut Data) -> Result<(), String> {
    let Value::Map(groups) = root else { return Err(format!("an inventory in YAML is a map of groups, not {}", root.word())) };
    for (name, value) in groups {
        group(name, value, data, 0)?;
    }
    Ok(())
}

/// Groups inside each other, as `children` of `children`.
const DEPTH_MAX: usize = 64;

fn group(name: &Value, value: &Value, data: &mut Data, depth: usize) -> Result<Option<usize>, String> {
    if depth > DEPTH_MAX {
        return Err(format!("groups are nested more than {DEPTH_MAX} deep"));
    }
    if !matches!(value, Value::Map(_) | Value::Null) {
        // Ansible warns and goes on.
        return Ok(None);
    }
    let Value::Text(name) = name else { return Err(format!("a group's name is {}; put it into quotes", name.word())) };
    let name = name.as_str();
    let at = data.group(name)?;
    // `hosts: name` is short for a map with one key.
    let section = |key: &str| match value.get(key) {
        Some(Value::Text(only)) => Ok(vec![(Value::Text(only.clone()), Value::Null)]),
        Some(Value::Map(entries)) => Ok(entries.clone()),
        Some(Value::Null) | None => Ok(Vec::new()),
        Some(other) => Err(format!("`{key}` of group `{name}` must be a map, not {}", other.word())),
    };
    let (vars, children, hosts) = (section("vars")?, section("children")?, section("hosts")?);
    for (key, value) in &vars {
        if let Value::Text(key) = key {
            data.set_of_group(at, key, value)?;
        }
    }
    for (key, value) in &children {
        if let Some(child) = group(key, value, data, depth + 1)? {
            data.add_child(at, child)?;
        }
    }
    for (key, value) in &hosts {
        let Value::Text(pattern) = key else { return Err(format!("a host of group `{name}` is {}; put it into quotes", key.word())) };
        let (names, port) = pattern::expand(pattern)?;
        for host in &names {
            data.host(host, at, port)?;
            set_all(host, value, data)?;
        }
    }
    Ok(Some(at))
}

/// The variables of a host that are used.
fn set_all(host: &str, value: &Value, data: &mut Data) -> Result<(), String> {
    let Value::Map(vars) = value else { return Ok(()) };
    for (key, value) in vars {
        if let Value::Text(key) = key {
            data.set(host, key, value)?;
        }
    }
    Ok(())
}

/// Adds what an inventory script prints: groups as maps of `hosts`, `vars` and `children` or as lists of hosts, and the hosts' variables
/// under `_meta`.
pub(super) fn read_script(root: &Value, data: &mut Data) -> Result<(), String> {
    let Value::Map(groups) = root else { return Err(format!("must be a map of groups, not {}", root.word())) };
    let meta = root.get("_meta").and_then(|m| m.get("hostvars"));
    for (name, value) in groups {
        let Value::Text(name) = name else { continue };
        let name = name.as_str();
        if name == "_meta" {
            continue;
        }
        let at = data.group(name)?;
        let whole = Value::List(Vec::new());
        let (hosts, children) = match value {
            Value::List(_) => (value, &whole),
            Value::Map(_) => (value.get("hosts").unwrap_or(&whole), value.get("children").unwrap_or(&whole)),
            other => return Err(format!("group `{name}` must be a map or a list, not {}", other.word())),
        };
        for host in names(hosts, "hosts", name)? {
            data.host(host, at, None)?;
        }
        for child in names(children, "children", name)? {
            let child = data.group(child)?;
            data.add_child(at, child)?;
        }
        if let Some(Value::Map(vars)) = value.get("vars") {
            for (key, value) in vars {
                if let Value::Text(key) = key {
                    data.set_of_group(at, key, value)?;
                }
            }
        }
    }
    if let Some(Value::Map(hosts)) = meta {
        for (host, vars) in hosts {
            if let Value::Text(host) = host {
                set_all(host, vars, data)?;
            }
        }
    }
    Ok(())
}

fn names<'v>(value: &'v Value, what: &str, group: &str) -> Result<Vec<&'v str>, String> {
    let wrong = |v: &Value| format!("`{what}` of group `{group}` must be a list of names, not {}", v.word());
    let Value::List(items) = value else { return Err(wrong(value)) };
    items.iter().map(|v| if let Value::Text(t) = v { Ok(t.as_str()) } else { Err(wrong(v)) }).collect()
}
