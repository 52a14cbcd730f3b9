//! `regprov harbor`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::{AuditArgs, IdentityArgs};
use crate::model::{HarborName, Lifetime, Repository};

/// `regprov harbor ...`.
#[derive(Debug, Subcommand)]
pub enum HarborVerb {
    /// Make, list, rotate and delete robot accounts; their secrets go into a vault and are shown to nobody
    #[command(subcommand)]
    Robot(RobotVerb),
}

/// `regprov harbor robot ...`.
#[derive(Debug, Subcommand)]
pub enum RobotVerb {
    /// Make a robot that can pull from these projects, and put it into a vault as a new login
    Create(Box<RobotCreateArgs>),
    /// Show the robots of a project, or those of system level
    List(RobotListArgs),
    /// Make another robot with the rights of a login's, and begin a rotation in the vault: both work until the old one is deleted
    Rotate(Box<RobotRotateArgs>),
    /// Delete a login's robot, and take the login out of the vault
    Delete(RobotDeleteArgs),
}

/// `regprov harbor robot create`.
#[derive(Args, Debug)]
pub struct RobotCreateArgs {
    /// The vault that gets the login
    pub vault: PathBuf,
    /// The name of the new login
    pub login: String,
    /// The Harbor, `host` or `host:port`; it is the login's registry too
    #[arg(long, value_name = "HOST", help_heading = "What")]
    pub harbor: String,
    /// A project that the robot may pull from (repeatable; several make it a robot of system level)
    #[arg(long = "project", value_name = "NAME", required = true, value_parser = harbor_name, help_heading = "What")]
    pub projects: Vec<HarborName>,
    /// The robot's name, without Harbor's prefix [default: the login's]
    #[arg(long, value_name = "NAME", value_parser = harbor_name, help_heading = "What")]
    pub name: Option<HarborName>,
    /// Days that it lives, or `never`
    #[arg(long, value_name = "DAYS", default_value = "365", help_heading = "What")]
    pub duration: Lifetime,
    /// Let it push too
    #[arg(long, help_heading = "What")]
    pub push: bool,
    /// Make it a robot of system level for one project too
    #[arg(long, help_heading = "What")]
    pub system: bool,
    /// A repository that it is to pull, such as base/cuda: `verify` asks whether it may
    #[arg(long, value_name = "REPO", value_parser = repository, help_heading = "What")]
    pub canary: Option<Repository>,
    /// How Harbor is asked.
    #[command(flatten)]
    pub admin: HarborArgs,
    /// What makes the password's fingerprint.
    #[command(flatten)]
    pub audit: AuditArgs,
}

/// `regprov harbor robot list`.
#[derive(Args, Debug)]
pub struct RobotListArgs {
    /// The Harbor, `host` or `host:port`
    #[arg(long, value_name = "HOST", help_heading = "What")]
    pub harbor: String,
    /// A project whose robots are shown (repeatable) [default: the robots of system level]
    #[arg(long = "project", value_name = "NAME", value_parser = harbor_name, help_heading = "What")]
    pub projects: Vec<HarborName>,
    /// How Harbor is asked.
    #[command(flatten)]
    pub admin: HarborArgs,
    /// One JSON document on stdout (schema regprov.robots/1)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `regprov harbor robot rotate`.
#[derive(Args, Debug)]
pub struct RobotRotateArgs {
    /// The vault
    pub vault: PathBuf,
    /// The login
    pub login: String,
    /// The new robot's name [default: the old one's with a number: gpu, gpu-2, gpu-3]
    #[arg(long, value_name = "NAME", value_parser = harbor_name, conflicts_with = "in_place", help_heading = "What")]
    pub name: Option<HarborName>,
    /// Days that the new robot lives, or `never` [default: as long as the old one was to]
    #[arg(long, value_name = "DAYS", conflicts_with = "in_place", help_heading = "What")]
    pub duration: Option<Lifetime>,
    /// The project of the old robot, where its account does not tell
    #[arg(long, value_name = "NAME", value_parser = harbor_name, help_heading = "What")]
    pub project: Option<HarborName>,
    /// Give the same robot a new secret instead: the old one ends at once, and nodes cannot pull until `apply`
    #[arg(long, help_heading = "What")]
    pub in_place: bool,
    /// How Harbor is asked.
    #[command(flatten)]
    pub admin: HarborArgs,
    /// What makes the password's fingerprint.
    #[command(flatten)]
    pub audit: AuditArgs,
}

/// `regprov harbor robot delete`.
#[derive(Args, Debug)]
pub struct RobotDeleteArgs {
    /// The vault
    #[arg(required_unless_present = "id", conflicts_with = "id", requires = "login")]
    pub vault: Option<PathBuf>,
    /// The login
    pub login: Option<String>,
    /// Delete the robot that the login's rotation replaces, and leave the vault as it is
    #[arg(long, conflicts_with_all = ["id", "keep"], help_heading = "What")]
    pub previous: bool,
    /// Leave the login in the vault
    #[arg(long, conflicts_with = "id", help_heading = "What")]
    pub keep: bool,
    /// The project of the robot, where its account does not tell
    #[arg(long, value_name = "NAME", value_parser = harbor_name, conflicts_with = "id", help_heading = "What")]
    pub project: Option<HarborName>,
    /// A robot by its number, whatever vaults have; with --harbor
    #[arg(long, value_name = "NUMBER", requires = "harbor", value_parser = clap::value_parser!(i64).range(1..), help_heading = "What")]
    pub id: Option<i64>,
    /// The Harbor of --id, `host` or `host:port`
    #[arg(long, value_name = "HOST", requires = "id", help_heading = "What")]
    pub harbor: Option<String>,
    /// Do not ask whether it is meant
    #[arg(long, help_heading = "What")]
    pub yes: bool,
    /// How Harbor is asked.
    #[command(flatten)]
    pub admin: HarborArgs,
}

/// How Harbor's API is asked.
#[derive(Args, Debug)]
#[command(next_help_heading = "Harbor", group = ArgGroup::new("admin").required(true).args(["admin_login", "admin_username"]))]
pub struct HarborArgs {
    /// Log in with this login of the vault; it must be one of this Harbor, and goes nowhere else
    #[arg(long, value_name = "LOGIN")]
    pub admin_login: Option<String>,
    /// The vault that has --admin-login [default: the vault that is worked on]
    #[arg(long, value_name = "FILE", requires = "admin_login")]
    pub admin_vault: Option<PathBuf>,
    /// Log in as this user; the password comes from stdin, or from a prompt without echo
    #[arg(long, value_name = "NAME")]
    pub admin_username: Option<String>,
    /// Trust the CAs in this PEM file too (repeatable)
    #[arg(long = "ca", value_name = "FILE")]
    pub cas: Vec<PathBuf>,
    /// What opens the vaults.
    #[command(flatten)]
    pub identity: IdentityArgs,
}

fn harbor_name(text: &str) -> Result<HarborName, String> {
    HarborName::parse(text).map_err(|why| format!("it {why}"))
}

fn repository(text: &str) -> Result<Repository, String> {
    Repository::parse(text)
}
