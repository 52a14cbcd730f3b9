//! The nouns. No I/O, no async; uses nothing else of the crate.

pub mod file;
pub mod fingerprint;
pub mod host;
pub mod login;
pub mod pace;
pub mod ping;
pub mod registry;
pub mod report;
pub mod secret;
pub mod status;
pub mod target;
pub mod text;

pub use file::{FileMode, Observed, ObservedFile, RemotePath, Stat, StatKind};
pub use fingerprint::Fingerprint;
pub use host::{Address, Connection, Hop, Host, HostKeyPin, Jump, SSH_PORT};
pub use login::{Expiry, Login, LoginEntry, PasswordText, Username};
pub use pace::{Pace, Portion};
pub use registry::Registry;
pub use report::{Change, Event, FileRow, HostRow, Outcome, Report, Stage};
pub use secret::Secret;
pub use target::{CurlVersion, HelperPolicy, Target, TargetKind};
