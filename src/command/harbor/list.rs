//! `harbor robot list`: which robots there are.

use super::{admin, registry, told};
use crate::cli::RobotListArgs;
use crate::command::load::{Opener, now};
use crate::command::verify::client;
use crate::error::{Error, Result};
use crate::registry::harbor::{Harbor, Of};
use crate::ui;

/// Lists the robots of the projects that are named, or of system level.
pub(super) async fn list(args: &RobotListArgs) -> Result<()> {
    let registry = registry(&args.harbor)?;
    let admin = admin(&args.admin, &registry, None, &mut Opener::of_process(&args.admin.identity)?)?;
    let client = client(&args.admin.cas)?;
    let harbor = Harbor::of(&client, &admin).await.map_err(told)?;
    let mut robots = Vec::new();
    if args.projects.is_empty() {
        robots = harbor.robots(Of::System).await.map_err(told)?;
    }
    for project in &args.projects {
        robots.extend(harbor.robots(Of::Project(project)).await.map_err(told)?);
    }
    robots.sort_by_key(|robot| robot.id);
    robots.dedup_by_key(|robot| robot.id);
    let text = if args.json { ui::robots::json(&registry, &robots, now()) } else { ui::robots::table(&robots, now()) };
    ui::out(&text).map_err(|e| Error::internal(format!("the result cannot be written to stdout: {e}")))
}
