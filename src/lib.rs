//! regprov provisions container registry logins on whole clusters over SSH.
//!
//! # The line
//!
//! `apply` is one straight line, and `src/command/apply.rs` shows it top to bottom:
//!
//! ```text
//! load -> resolve -> limit -> open -> check -> [ connect -> observe -> merge -> replace -> read back ] per host -> report
//! ```
//!
//! - Everything that can be wrong with the *input* is found before the first socket opens, all problems at once.
//! - After that nothing returns `Err`: every host ends in exactly one [`model::report::Outcome`], and the report has one
//!   row per host, always.
//! - Functional core, imperative shell: parsing, resolving, rendering, merging and the node protocol are pure (bytes in,
//!   bytes out). Only `transport`, `ui` and the commands touch the world; only `ui` and the commands print; only `main` exits.
//!
//! What flows along it: the texts of inventory and vaults become an [`inventory::Inventory`] of [`model::Host`]s (who gets which
//! login in which [`model::Target`]) and sealed [`model::LoginEntry`]s; those that the chosen hosts need are opened to
//! [`model::Login`]s. On each host [`push`] asks the one program of [`node`] what is there, lets each [`format::Consumer`] merge its
//! logins into it, sends what differs, and reads it back. Every host gives one [`model::HostRow`], and [`ui`] makes a report of them.
//!
//! # The modules, and what each may use
//!
//! | module | may use | touches the world |
//! |---|---|---|
//! | [`model`] | nothing of the crate | never |
//! | [`error`] | `model` | never |
//! | [`format`](mod@format), [`plan`], [`node`] | `model` | never |
//! | [`inventory`] | `error`, `model`, `format` (names and input rules) | never (files, directories and programs through [`inventory::World`]) |
//! | [`vault`] | `error`, `model` | never (bytes in, bytes out; commands read files) |
//! | [`transport`] | `model`, `node` | sockets, key files, the agent, a local sh, proxy commands, ssh's configuration |
//! | [`push`] | `model`, `plan`, `format`, `node`, `transport` | through `transport` only |
//! | [`ui`] | `model` | the terminal |
//! | [`cli`] | `model` | never |
//! | [`command`] | all above | reads and writes the admin's files, runs what names hosts |
//! | `main` | `cli`, `command`, `ui`, `error` | exit code |
//!
//! `tests/architecture.rs` holds the sources to this table.

pub mod cli;
pub mod command;
pub mod error;
pub mod format;
pub mod inventory;
pub mod model;
pub mod node;
pub mod plan;
pub mod push;
pub mod transport;
pub mod ui;
pub mod vault;
