//! What every session does with the standard streams of a program on the node, however they travel: starting the node program, and
//! one request and its reply.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::clock::Clock;
use super::gate::{Gate, Turn};
use super::{Complaints, Trouble, ended_early};
use crate::model::{Secret, Stage};
use crate::node::Program;
use crate::node::protocol::{Reply, ReplyReader};
use crate::node::run_as::{Counted, Entrance, RunAs, Step};

/// How long sudo is waited for.
struct Waits {
    /// A prompt that is not ours, before we leave.
    prompt: Duration,
    /// The verdict on the password. All other hosts wait for the first one, so that a host that gives none must not keep them for
    /// as long as its own deadlines allow; PAM delays a refusal by two to four seconds.
    verdict: Duration,
}

const WAITS: Waits = Waits { prompt: Duration::from_secs(4), verdict: Duration::from_secs(10) };

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
    /// The host's clock, which stands still while the password's turn is waited for.
    pub clock: Arc<Clock>,
}

/// Goes through sudo or su, whose command line was sent, and sends the node program.
pub(super) async fn enter(run_as: &RunAs, purpose: &Purpose, stream: &mut impl Stream, sink: &mut impl Sink) -> Result<(), Trouble> {
    enter_within(&WAITS, run_as, purpose, stream, sink).await
}

async fn enter_within(waits: &Waits, run_as: &RunAs, purpose: &Purpose, stream: &mut impl Stream, sink: &mut impl Sink) -> Result<(), Trouble> {
    if *run_as == RunAs::Login {
        return Ok(());
    }
    let refused = |why: String| Err(Trouble::new(Stage::Start, why));
    let mut entrance = Entrance::new(run_as);
    let mut turn: Option<Turn<'_>> = None;
    let mut verdict_at = None;
    loop {
        let prompt_at = entrance.asks().then(|| Instant::now() + waits.prompt);
        let next = stream.next();
        let piece = match [prompt_at, verdict_at].into_iter().flatten().min() {
            None => next.await,
            Some(at) => match tokio::time::timeout_at(at, next).await {
                Ok(piece) => piece,
                Err(_) => {
                    let why = match entrance.asks() {
                        true => entrance.unanswered(),
                        false => format!("sudo did not say within {} s whether it takes the password", waits.verdict.as_secs()),
                    };
                    return refused(without_verdict(turn, purpose, why));
                }
            },
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
                let mut mine = {
                    let _paused = purpose.clock.pause();
                    gate.turn().await.map_err(|why| Trouble::new(Stage::Start, why))?
                };
                // From here on, a host that is lost without a word may have counted a failed attempt.
                mine.sent(&purpose.host);
                verdict_at = Some(Instant::now() + waits.verdict);
                let sent = tokio::time::timeout(waits.verdict, sink.send(&line(mine.secret()))).await;
                turn = Some(mine);
                if sent.is_err() {
                    return refused(without_verdict(turn, purpose, "sudo does not read the password that it asked for".to_string()));
                }
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
            Step::Refused(why) => {
                return refused(match (turn, entrance.password_counted()) {
                    (Some(turn), Counted::Right) => {
                        turn.accepted();
                        why
                    }
                    (Some(turn), Counted::NotWrong) => {
                        turn.released();
                        why
                    }
                    (turn, _) => without_verdict(turn, purpose, why),
                });
            }
        }
    }
}

/// What to say when the password may have been sent and there is no verdict; where no host has accepted it so far, that counts as one.
fn without_verdict(turn: Option<Turn<'_>>, purpose: &Purpose, why: String) -> String {
    let was_sent = turn.is_some();
    drop(turn);
    match purpose.gate.as_ref().and_then(|gate| gate.refused()).filter(|_| was_sent) {
        Some(refused) => format!("{why}; {refused}"),
        None => why,
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::node::run_as::PROMPT;

    const SHORT: Waits = Waits { prompt: Duration::from_millis(200), verdict: Duration::from_secs(1) };
    const BEFORE: &str = "\nregprov\nsocket:[1]\nsocket:[1]\n";

    /// A node that says these pieces (`!` before standard error) and then nothing, and never ends.
    struct Script(VecDeque<&'static str>);

    impl Stream for Script {
        async fn next(&mut self) -> Piece {
            match self.0.pop_front() {
                Some("END") => Piece::End(None),
                Some(text) => match text.strip_prefix('!') {
                    Some("PROMPT") => Piece::Err(PROMPT.into()),
                    Some(err) => Piece::Err(err.into()),
                    None => Piece::Out(Zeroizing::new(text.into())),
                },
                None => std::future::pending().await,
            }
        }
    }

    /// What a node was told; `stuck`, it reads nothing.
    #[derive(Default)]
    struct Told {
        text: String,
        stuck: bool,
    }

    impl Sink for Told {
        async fn send(&mut self, bytes: &[u8]) {
            if self.stuck {
                std::future::pending::<()>().await;
            }
            self.text.push_str(std::str::from_utf8(bytes).unwrap());
        }

        async fn finish(&mut self) {}
    }

    fn gate() -> Arc<Gate> {
        Arc::new(Gate::new("the sudo password", Secret::new("hunter2".to_string())))
    }

    /// Goes in where a node says these pieces: why not, and how often it was sent the password.
    async fn go(gate: &Arc<Gate>, host: &str, pieces: &[&'static str], stuck: bool) -> (String, usize) {
        let purpose = Purpose { gate: Some(gate.clone()), host: host.to_string(), ..Purpose::default() };
        let (mut stream, mut sink) = (Script([&[BEFORE], pieces].concat().into()), Told { stuck, ..Told::default() });
        let ended = enter_within(&SHORT, &RunAs::Sudo { user: None }, &purpose, &mut stream, &mut sink).await;
        (ended.err().map(|t| t.reason).unwrap_or_default(), sink.text.matches("hunter2").count())
    }

    /// A node that takes the password and gives no verdict costs at most one failed attempt over all hosts, and its own time only.
    #[tokio::test]
    async fn a_password_without_a_verdict_goes_to_no_other_host() {
        for (pieces, stuck, want) in [
            (&["!PROMPT"][..], false, "sudo did not say within 1 s"),
            (&["!PROMPT", "!\n", "!lecture\n"], false, "sudo did not say within 1 s"),
            (&["!PROMPT"], true, "does not read the password"),
            (&["!PROMPT", "!Verification code: "], false, "asks what regprov does not answer"),
            (&["!PROMPT", "!\nauthentication token manipulation\n", "END"], false, "did not take the password"),
        ] {
            let gate = gate();
            let (why, sent) = go(&gate, "n1", pieces, stuck).await;
            assert!(why.contains(want), "{why}");
            assert!(sent <= 1, "{pieces:?}");
            assert!(gate.refused().is_some_and(|why| why.contains("refused on n1")), "{pieces:?}");
            let (why, sent) = go(&gate, "n2", &["!PROMPT"], false).await;
            assert!(why.contains("refused on n1") && sent == 0, "{why}");
        }
    }

    /// A task that is dropped in the middle (the host's deadline, a second signal) leaves no password for the next host either.
    #[tokio::test]
    async fn a_host_that_is_cut_off_with_the_password_counts_as_refusing_it() {
        let gate = gate();
        let cut = tokio::time::timeout(Duration::from_millis(200), go(&gate, "n1", &["!PROMPT"], false)).await;
        assert!(cut.is_err());
        assert!(gate.refused().is_some());
    }

    /// Where it is certain that the password was not wrong, other hosts go on.
    #[tokio::test]
    async fn what_is_no_fault_of_the_password_keeps_nobody_from_it() {
        for (pieces, want) in [
            (&["!PROMPT", "!a is not in the sudoers file.\n", "END"][..], "not in sudoers"),
            (&["!PROMPT", "regprov\npipe:[7]\nsocket:[1]\n"], "passes the input"),
            (&["!PROMPT", "regprov\nregprov\n"], "needs readlink"),
        ] {
            let gate = gate();
            let (why, sent) = go(&gate, "n1", pieces, false).await;
            assert!(why.contains(want) && sent == 1, "{why}");
            assert_eq!(gate.refused(), None, "{pieces:?}");
            assert_eq!(go(&gate, "n2", &["!PROMPT", "regprov\nsocket:[1]\nsocket:[1]\n"], false).await, (String::new(), 1));
        }
        // Once a host has accepted it, one that gives no verdict stops nobody.
        let gate = gate();
        assert_eq!(go(&gate, "n1", &["!PROMPT", "regprov\nsocket:[1]\nsocket:[1]\n"], false).await.0, "");
        assert!(go(&gate, "n2", &["!PROMPT"], false).await.0.ends_with("whether it takes the password"));
        assert_eq!(gate.refused(), None);
    }
}
