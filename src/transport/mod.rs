//! How the node program is reached: the seam between a run and the world.

pub mod clock;
pub mod gate;
pub mod local;
pub mod reach;
pub mod ssh;
pub mod talk;

use std::future::Future;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::model::{Host, Stage};
use crate::node::Program;
use crate::node::protocol::{Reply, ReplyReader};
use crate::node::run_as::RunAs;
use clock::Clock;

/// What went wrong, and at which step. The reason is for a person and holds nothing that a node said unsanitised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The step.
    pub stage: Stage,
    /// Why.
    pub reason: String,
}

impl Trouble {
    /// At this step, for this reason.
    pub fn new(stage: Stage, reason: impl Into<String>) -> Self {
        Trouble { stage, reason: reason.into() }
    }
}

/// Reaches hosts.
pub trait Connector: Send + Sync + 'static {
    /// What a reached host gives.
    type Session: Session;
    /// Connects, proves the host's identity and ours. Keeps its own deadline for each step, and stops the host's clock while it
    /// waits for a person, an agent or a password's turn, as the session does later.
    fn connect(&self, host: &Host, clock: &Arc<Clock>) -> impl Future<Output = Result<Self::Session, Trouble>> + Send;

    /// The user that we log in as on this host.
    fn login(&self, host: &Host) -> String;

    /// Why no further host may be tried, such as a password that was refused.
    fn halted(&self) -> Option<String> {
        None
    }
}

/// One reached host, on which one node program runs at a time.
pub trait Session: Send {
    /// Makes the following starts those of this program.
    fn use_program(&mut self, program: Program);

    /// Starts a fresh node program with these rights; its first input is the next exchange's.
    fn start(&mut self, run_as: &RunAs) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Sends a request and reads its reply. With `last`, the input ends behind the request. It keeps no deadline: the
    /// caller drops the future.
    fn exchange(&mut self, request: Zeroizing<Vec<u8>>, last: bool, reader: &mut ReplyReader) -> impl Future<Output = Result<Reply, Trouble>> + Send;

    /// Ends the connection, soon, whatever the peer does; whatever program still waits there sees its input end.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The most that is kept of standard error.
const COMPLAINT_BYTES_KEPT: usize = 8 << 10;
/// The most that is read of standard error: it carries the login shell's words and little else.
const COMPLAINT_BYTES_MAX: usize = 1 << 20;

/// What came on standard error while a program ran: the beginning is kept, too much ends the conversation.
#[derive(Default)]
struct Complaints {
    kept: Vec<u8>,
    bytes: usize,
}

impl Complaints {
    fn take(&mut self, data: &[u8]) -> Result<(), Trouble> {
        let room = COMPLAINT_BYTES_KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&data[..data.len().min(room)]);
        self.bytes = self.bytes.saturating_add(data.len());
        match self.bytes > COMPLAINT_BYTES_MAX {
            true => Err(Trouble::new(Stage::Observe, "the node printed more than 1 MiB on standard error; check the login shell's rc files")),
            false => Ok(()),
        }
    }
}

/// What to say when the program ended before its reply did.
fn ended_early(reader: &ReplyReader, status: Option<u32>, complaints: &Complaints) -> Trouble {
    use crate::model::text::sanitize;
    let status_is_good = status == Some(0);
    let status = status.map(|s| format!(" (exit status {s})")).unwrap_or_default();
    if reader.spoke() {
        return Trouble::new(Stage::Observe, format!("the node program ended before it had answered{status}"));
    }
    let complaints = String::from_utf8_lossy(&complaints.kept);
    let said = [complaints.trim(), reader.noise().trim()].into_iter().find(|s| !s.is_empty()).map(sanitize);
    let said = said.map(|s| format!("; it said: {s}")).unwrap_or_default();
    // Whoever runs something else, and is content, was told to by the server.
    let forced =
        if status_is_good { "; another command ran in its place: look for ForceCommand in sshd_config or `command=` in authorized_keys there" } else { "" };
    Trouble::new(Stage::Start, format!("the login shell did not start the node program{status}{said}{forced}"))
}
