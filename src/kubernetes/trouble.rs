//! Why a namespace did not get what it should.

use crate::model::{Outcome, Stage};

/// A namespace's end, before or after its cluster answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The cluster cannot be asked: no connection that could be trusted and used, or it does not know who asks.
    Unreachable(Stage, String),
    /// It answered, and something is in the way.
    Failed(Stage, String),
    /// It was cut off after something was sent to be written.
    Unknown(Stage, String),
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Outcome {
        match trouble {
            Trouble::Unreachable(stage, reason) => Outcome::Unreachable { stage, reason },
            Trouble::Failed(stage, reason) => Outcome::Failed { stage, reason },
            Trouble::Unknown(stage, reason) => Outcome::Unknown { stage, reason },
        }
    }
}
