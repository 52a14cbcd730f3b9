//! Robots of a Harbor, for people and for programs. Equal robots give equal bytes.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::line;
use crate::model::{Expiry, Registry, Robot};

/// The schema of [`json`].
pub const SCHEMA: &str = "regprov.robots/1";

/// A row for each robot, in the order of their numbers.
pub fn table(robots: &[Robot], now: i64) -> String {
    if robots.is_empty() {
        return "no robots\n".to_string();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["id", "account", "level", "may", "expires", "state"]);
    for robot in robots {
        let level = robot.level.map_or("-", |level| level.name()).to_string();
        table.add_row([robot.id.to_string(), line(&robot.name), level, may(robot), end(robot), state(robot, now).to_string()]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n", table.trim_fmt())
}

/// What a robot may do, on one line: `pull from base`, `pull+push in base, pull in team`.
pub fn may(robot: &Robot) -> String {
    let places: Vec<String> = robot.permissions.iter().map(|p| format!("{} in {}", line(&p.actions()), line(&p.namespace))).collect();
    if places.is_empty() { "nothing".to_string() } else { places.join(", ") }
}

/// When a robot ends.
pub fn end(robot: &Robot) -> String {
    robot.expires.map_or("never".to_string(), |at| Expiry::of_unix(at).map_or("-".to_string(), |e| e.text))
}

/// Harbor answers a robot that is disabled or has expired as it answers a wrong password, so this is where that is seen.
fn state(robot: &Robot, now: i64) -> &'static str {
    match robot.expires {
        _ if robot.disabled => "disabled",
        Some(at) if at <= now => "expired",
        _ => "active",
    }
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    registry: String,
    robots: Vec<RobotJson>,
}

#[derive(Serialize)]
struct RobotJson {
    id: i64,
    account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    permissions: Vec<PermissionJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    state: &'static str,
}

#[derive(Serialize)]
struct PermissionJson {
    kind: String,
    namespace: String,
    access: Vec<AccessJson>,
}

#[derive(Serialize)]
struct AccessJson {
    resource: String,
    action: String,
}

/// The same as one JSON document with a final line feed; a robot without `expires` never ends.
pub fn json(registry: &Registry, robots: &[Robot], now: i64) -> String {
    let robots = robots.iter().map(|robot| RobotJson {
        id: robot.id,
        account: line(&robot.name),
        level: robot.level.map(|level| level.name()),
        permissions: robot
            .permissions
            .iter()
            .map(|p| PermissionJson {
                kind: line(&p.kind),
                namespace: line(&p.namespace),
                access: p.access.iter().map(|a| AccessJson { resource: line(&a.resource), action: line(&a.action) }).collect(),
            })
            .collect(),
        expires: robot.expires.map(|_| end(robot)),
        state: state(robot, now),
    });
    let document = Document { schema: SCHEMA, registry: registry.to_string(), robots: robots.collect() };
    serde_json::to_string_pretty(&document).expect("strings, numbers and lists are JSON") + "\n"
}
