//! The nouns. No I/O, no async; uses nothing else of the crate.

pub mod expiry;
pub mod file;
pub mod finding;
pub mod fingerprint;
pub mod host;
pub mod image;
pub mod login;
pub mod mirror;
pub mod pace;
pub mod ping;
pub mod registry;
pub mod report;
pub mod repository;
pub mod rotation;
pub mod secret;
pub mod sight;
pub mod status;
pub mod target;
pub mod task;
pub mod text;
pub mod verify;

pub use expiry::{Expiry, Within};
pub use file::{FileMode, Observed, ObservedFile, RemotePath, Stat, StatKind};
pub use fingerprint::Fingerprint;
pub use host::{Address, Connection, Hop, Host, HostKeyPin, Jump, SSH_PORT};
pub use image::Image;
pub use login::{Login, LoginEntry, PasswordText, PreviousPassword, Username};
pub use mirror::Mirror;
pub use pace::{Pace, Portion};
pub use registry::Registry;
pub use report::{Change, Event, FileRow, HostRow, Outcome, Report, Stage};
pub use repository::Repository;
pub use secret::Secret;
pub use target::{CredHelper, CurlVersion, HelperPolicy, Target, TargetKind};
pub use task::{HelperName, ServiceUnit};
