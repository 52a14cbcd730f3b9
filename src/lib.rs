//! regprov provisions container registry logins on whole clusters: on hosts over SSH, and in namespaces of Kubernetes.
//!
//! # The line
//!
//! `apply` is one straight line, and `src/command/apply.rs` shows it top to bottom:
//!
//! ```text
//! load -> resolve -> limit -> open -> check -> route -> [ connect -> start -> observe -> merge -> replace -> read back -> tasks ] per host -> report
//! ```
//!
//! - Everything that can be wrong with the *input* is found before the first socket opens, all problems at once.
//! - After that nothing returns `Err`: every host ends in exactly one [`model::report::Outcome`], and the report has one
//!   row per host, always.
//! - Functional core, imperative shell: parsing, resolving, rendering, merging and the node protocol are pure (bytes in,
//!   bytes out). Only `transport`, `registry`, `ui` and the commands touch the world; only `ui` and the commands print; only `main` exits.
//!
//! What flows along it: the texts of inventory and vaults become an [`inventory::Inventory`] of [`model::Host`]s (who gets which
//! login in which [`model::Target`]) and sealed [`model::LoginEntry`]s; those that the chosen hosts need are opened to
//! [`model::Login`]s. On each host [`push`] asks the one program of [`node`] what is there, lets each [`format::Consumer`] merge its
//! logins into it, sends what differs, and reads it back. Every host gives one [`model::HostRow`], and [`ui`] makes a report of them.
//!
//! What a node runs beside that (credential helpers before the merge; its log, restarts and the pull test in the end) are tasks of a program of
//! their own, [`node::Program::Tasks`], on a channel that is opened only for them: the files' program stays as small as it is.
//!
//! The other verbs are parts of that line: `hosts` ends after `limit`, `expiry` after `open`, `lint` after `check` (and goes on where `apply` would
//! stop), `render` after `check` with what a new host would get, `verify` after `open` with a question to the registries, `trust` after the key exchange of `connect`, `ping`
//! starts a program that only looks, `status` ends after `observe` and compares, and `remove` takes out what the record names instead of merging.
//! `explain` ends after `observe` too: [`mod@explain`] tells what each program would make of the files of one host.
//! `rotate start` and `undo` are that line with the registry asked before it and the vault written in between; `rotate status` and `finish` are
//! `status` with two passwords to compare.
//! `vault` works on the files of the admin alone, and so does `import`, which makes logins of what other programs keep; `vault edit` shows
//! them to a program of the admin's, in a folder in memory (`src/command/vault/edit/`). `harbor` works on them and on a Harbor's API, and what
//! is made there goes into a vault. `git-setup` lets git call `vault` for what it shows, merges and commits of them.
//!
//! # Where hosts come from
//!
//! An inventory lists hosts, or names a source of them: an Ansible inventory, Slurm, a command (`src/inventory/source/`).
//! Sources are parsed as purely as the rest. What they need of the world they ask an [`inventory::World`] for, which reads
//! files, lists directories, runs programs and says whether this file may run any; [`command::load::Opener`] is the real one.
//!
//! A password that comes anew for each run (`password_command:`, `password_file:`) is had likewise: `inventory` reads where from, and
//! `src/command/dynamic.rs` has it when [`command::load::Opener`] opens the logins of a run.
//!
//! # How a host is reached
//!
//! - `src/command/routes.rs` lays flags, inventory and ssh_config (`ssh -G`) over each other, reads keys and known_hosts, and gives each
//!   host a [`transport::ssh::route::Route`]: the server itself, or the jump hosts or the proxy command before it.
//! - [`transport::Connector`] and [`transport::Session`] are the seam between a run and the world. [`transport::ssh::Ssh`] goes over
//!   those routes, and all hosts behind one jump host share its connection; [`transport::local::Local`] is a shell of this machine;
//!   [`transport::reach::Reach`] takes for each host the one that its `connection:` names.
//! - A [`node::run_as::RunAs`] says whose rights the node's program has, and how it gets them: as it logged in, by sudo or by su.
//! - A [`transport::gate::Gate`] keeps a password that many hosts ask for, so that a wrong one costs one attempt.
//!
//! # What goes on at once
//!
//! Every task stands in a [`JoinSet`](tokio::task::JoinSet) and ends with its owner; nothing is spawned beside them:
//!
//! | task | owner | why it is a task |
//! |---|---|---|
//! | a host | `push` | hosts wait for each other in nothing but files that they share, and one that panics is one unknown row |
//! | a server whose keys are looked at | `transport/ssh/scan.rs` | as a host, for `trust` |
//! | a channel through a jump host | the connection, `transport/ssh/jump.rs` | always drained, since one that is not stops all others there |
//! | a proxy command | the run's commands, `transport/ssh/command.rs` | its last words are read, and its process group is killed when its host is done |
//! | a login that is shown to its registry | `registry` | a slow registry delays no other |
//! | a question to `ssh -G` | the one who asks, `transport/ssh/openssh.rs` | there are thousands, and each is a process |
//!
//! The HTTP clients of `registry` and `kubernetes` have tasks of their own for their connections; they end with them.
//!
//! # Clusters
//!
//! A namespace of a Kubernetes cluster is a destination beside hosts: `kubernetes:` in an inventory gives [`model::Namespace`]s the same logins, as
//! pull Secrets. [`kubernetes`] reaches clusters by kubectl's rules, and `src/kubernetes/apply.rs` is the line for one namespace: rights, observe,
//! server-side apply, read back, service accounts. What a server answers may repeat what was sent to it, so it is shown through
//! `src/kubernetes/answer.rs` alone. [`format::kubernetes`](mod@format::kubernetes) has the bytes of a Secret, as kubectl writes them, and says
//! what is wrong with those of others: for `lint` and `import`, in files, and for who meets them in a cluster.
//!
//! # Whether the logins are right
//!
//! [`registry`] shows each login to its registry as a consumer would. `verify` tells what came of it; with `apply --verify` it goes on
//! beside connect and observe, and a [`push::Clearance`] lets no host be written before it has ended well.
//!
//! # Files that hosts share
//!
//! Before it writes or takes something out, a host claims each file in the run's registry (`src/push/shared.rs`). By what the node tells of it (`src/push/same.rs`)
//! another host may be writing the same one: then it does its other files, waits, and looks again. Who waits holds no claim, so nobody waits in
//! a circle; and what is at a host's own path decides, not what was told.
//!
//! # What a run leaves behind
//!
//! On a node the files, and a record of what in them is ours. Here a journal ([`command::journal`]): how each host ended,
//! without anything secret, written as it happens, so that `--resume` and `--limit @failed` know it however the run ended.
//! Beside it, what was seen of vaults ([`command::seen`]): a vault that is older, or another one in its place, is refused.
//!
//! # Whose vaults count
//!
//! [`vault::signature`] says whether a signature of `ssh-keygen -Y sign` fits some bytes, and whose it is; [`command::signed`] demands one, because
//! an inventory or `--allowed-signers` says so, at each door through which a vault comes in, before its bytes are parsed. [`command::signing`]
//! makes one, after each change and for `vault sign`.
//!
//! # The modules, and what each may use
//!
//! | module | may use | touches the world |
//! |---|---|---|
//! | [`model`] | nothing of the crate | never |
//! | [`error`] | nothing of the crate | never |
//! | [`format`](mod@format), [`plan`], [`node`] | `model` | never |
//! | [`explain`] | `model`, `format` | never |
//! | [`import`] | `error`, `model`, `format`, `inventory` | never |
//! | [`inventory`] | `error`, `model`, `format` (names and input rules) | never (files, directories and programs through [`inventory::World`]) |
//! | [`lint`] | `error`, `model`, `inventory`, `format` | never |
//! | [`vault`] | `error`, `model`, `inventory` (the keys that an outline shows) | never (bytes in, bytes out; commands read files) |
//! | [`transport`] | `model`, `node` | sockets, key files, the agent, a local sh, proxy commands, ssh's configuration |
//! | [`push`] | `model`, `plan`, `format`, `node`, `transport` | through `transport` only |
//! | [`registry`] | `model` | HTTP, the system's CAs, the proxies of the environment |
//! | [`kubernetes`] | `error`, `model`, `format` | kubeconfigs and the programs that they name, HTTP to API servers |
//! | [`ui`] | `model` | the terminal |
//! | [`cli`] | `model` | never |
//! | [`command`] | all above | the admin's files and known_hosts, the journal, what was seen of vaults, questions on the terminal, what names hosts, git, ssh-keygen |
//! | `main` | `cli`, `command`, `ui`, `error` | exit code |
//!
//! `tests/architecture.rs` holds the sources to both tables.

pub mod cli;
pub mod command;
pub mod error;
pub mod explain;
pub mod format;
pub mod import;
pub mod inventory;
pub mod kubernetes;
pub mod lint;
pub mod model;
pub mod node;
pub mod plan;
pub mod push;
pub mod registry;
pub mod transport;
pub mod ui;
pub mod vault;
