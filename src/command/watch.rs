//! Work that writes nothing, such as a look at many hosts: it is drawn while it goes on, and a signal ends it at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::{Error, Result};

/// How such work ended.
pub(super) enum Watched<T> {
    /// By itself.
    Done(T),
    /// By a signal; this is the exit code that tells it.
    Interrupted(u8),
}

/// Does the work, and hands on what it tells. It was dropped when a signal ended it, and all that it had told was handed on.
pub(super) async fn watch<T, E>(work: impl Future<Output = T>, mut events: mpsc::UnboundedReceiver<E>, mut hear: impl FnMut(E)) -> Result<Watched<T>> {
    let heard = |e| Error::internal(format!("signals cannot be heard: {e}"));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt()).map_err(heard)?, signal(SignalKind::terminate()).map_err(heard)?);
    tokio::pin!(work);
    let ended = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => hear(event),
            done = &mut work => break Watched::Done(done),
            _ = interrupt.recv() => break Watched::Interrupted(130),
            _ = terminate.recv() => break Watched::Interrupted(143),
        }
    };
    while let Ok(event) = events.try_recv() {
        hear(event);
    }
    Ok(ended)
}
