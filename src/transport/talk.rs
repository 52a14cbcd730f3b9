//! What every session does with the standard streams of a program on the node, however they travel: starting the node program, and
//! one request and its reply.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::gate::{Gate, Turn};
use super::{Complaints, Trouble, ended_early};
use crate::model::{Secret, Stage};
use crate::node::Program;
use crate::node::protocol::{Reply, ReplyReader};
use crate::node::run_as::{Entrance, RunAs, Step};

/// How long a prompt that is not ours is looked at before we leave.
const PROMPT_DEADLINE: Duration = Duration::from_secs(4);

/// What came from the program.
pub(super) enum Piece {
    /// Standard output.
    Out(Zeroizing<Vec<u8>>),
    /// Standard error.
    Err(Vec<u8>),
    /// Nothing more comes; the exit status, when it is known.
    End(Option<u32>),
}

/// The program's output.
pub(super) trait Stream: Send {
    /// The next piece. A future that is dropped loses nothing.
    fn next(&mut self) -> impl Future<Output = Piece> + Send;
}

/// The program's input. A program that has gone says so through its output, so that writing never fails.
pub(super) trait Sink: Send {
    /// Writes all of it.
    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = ()> + Send;
    /// Ends the input.
    fn finish(&mut self) -> impl Future<Output = ()> + Send;
}

/// What a session is used for: the program, and the password of sudo with the host that may ask for it.
#[derive(Clone, Default)]
pub struct Purpose {
    /// The program that is started.
    pub program: Program,
    /// The password of sudo.
    pub gate: Option<Arc<Gate>>,
    /// The host's name.
    pub host: String,
}

/// Goes through sudo or su, whose command line was sent, and sends the node program.
pub(super) async fn enter(run_as: &RunAs, purpose: &Purpose, stream: &mut impl Stream, sink: &mut impl Sink) -> Result<(), Trouble> {
    if *run_as == RunAs::Login {
        return Ok(());
    }
    let refused = |why: String| Err(Trouble::new(Stage::Start, why));
    let mut entrance = Entrance::new(run_as);
    let mut turn: Option<Turn<'_>> = None;
    loop {
        let piece = if entrance.asks() {
            match tokio::time::timeout(PROMPT_DEADLINE, stream.next()).await {
                Ok(piece) => piece,
                Err(_) => return refused(entrance.unanswered()),
            }
        } else {
            stream.next().await
        };
        let step = match piece {
            Piece::Out(bytes) => entrance.out(&bytes),
            Piece::Err(bytes) => entrance.err(&bytes),
            Piece::End(_) => entrance.ended(),
        };
        match step {
            Step::Wait => {}
            Step::Password => {
                // Without a password sudo was told not to ask (-n), so nobody is answered who asks all the same.
                let Some(gate) = &purpose.gate else { return refused("sudo asks for a password although it was told not to".to_string()) };
                let mine = gate.turn().await.map_err(|why| Trouble::new(Stage::Start, why))?;
                sink.send(&line(mine.secret())).await;
                turn = Some(mine);
            }
            Step::Send => {
                if let Some(turn) = turn {
                    turn.accepted();
                }
                sink.send(format!("{}\n", purpose.program.command()).as_bytes()).await;
                return Ok(());
            }
            Step::WrongPassword => {
                if let Some(turn) = turn {
                    turn.refused(&purpose.host);
                }
                return refused("sudo did not take the password; check it, and mind that a few more failures may lock the account".to_string());
            }
            Step::Refused(why) => return refused(why),
        }
    }
}

fn line(password: &Secret) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(Vec::with_capacity(password.expose().len() + 1));
    line.extend_from_slice(password.expose().as_bytes());
    line.push(b'\n');
    line
}

/// Sends a request and reads its reply.
pub(super) async fn exchange(
    request: &[u8],
    last: bool,
    reader: &mut ReplyReader,
    complaints: &mut Complaints,
    stream: &mut impl Stream,
    sink: &mut impl Sink,
) -> Result<Reply, Trouble> {
    let write = async {
        if !request.is_empty() {
            sink.send(request).await;
        }
        if last {
            sink.finish().await;
        }
        // The reader alone decides when the exchange is over: a program may answer without reading everything.
        std::future::pending::<()>().await;
    };
    let read = async {
        loop {
            match stream.next().await {
                Piece::Out(data) => match reader.feed(&data) {
                    Ok(Some(reply)) => return Ok(reply),
                    Ok(None) => {}
                    Err(broken) => return Err(Trouble::new(Stage::Observe, broken.reason())),
                },
                Piece::Err(data) => complaints.take(&data)?,
                Piece::End(status) => return Err(ended_early(reader, status, complaints)),
            }
        }
    };
    tokio::select! {
        result = read => result,
        () = write => unreachable!("the writer never ends"),
    }
}
