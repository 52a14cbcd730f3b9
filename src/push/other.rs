//! Destinations that are no hosts: they have their place in the run's waves, count for its guards, and wait for the same leave to write.

use std::pin::Pin;

use super::clearance::Clearance;
use crate::model::{HostRow, Outcome};

/// A destination that is no host.
pub struct Other {
    /// Its row before its turn.
    pub row: HostRow,
    /// What brings it to its wanted state.
    pub work: Work,
}

/// Brings a destination to its wanted state, and ends in its row, always and within a time of its own. It calls the first argument when what
/// shall be written leaves, which is not before the second one's leave is given.
pub type Work = Box<dyn FnOnce(Sent, Clearance) -> Pin<Box<dyn Future<Output = HostRow> + Send>> + Send>;

/// Says that what shall be written leaves.
pub type Sent = Box<dyn Fn() + Send + Sync>;

impl Other {
    /// Its end: not before leave is given, and where it is refused, as it was.
    pub(super) async fn bring(self, sent: Sent, clearance: Clearance) -> HostRow {
        let Other { row: before, work } = self;
        let whole = async {
            let row = work(sent, clearance.clone()).await;
            clearance.wait().await;
            row
        };
        tokio::select! {
            biased;
            () = clearance.refused() => HostRow { outcome: Outcome::NotAttempted, ..before },
            row = whole => row,
        }
    }
}
