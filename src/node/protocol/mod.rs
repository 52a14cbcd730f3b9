//! The conversation with the node program: requests to bytes, replies from bytes. What a node says is data: fixed grammar,
//! a cap on everything, and nothing is believed that does not carry the nonce of this connection.

mod ls;
mod mount;
mod reply;
mod request;
mod task;

use std::fmt::Write as _;

pub use mount::Mount;
pub use reply::{Broken, Home, Reply, ReplyReader, Verdict};
pub use request::{Observe, Packing, Replace, Swap, hello, staging_dir, staging_pattern};
pub use task::{ERRORS_BYTES_MAX, Ended, HelperVerb, NOT_RUNNING, OUTPUT_BYTES_MAX, Ran, Task};

/// Files above this are not read; the same number stands in program.sh.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The word that this connection chose and that starts every line of the node's reply.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// 128 random bits.
    pub fn random() -> Self {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
        Nonce(bytes.iter().fold(String::new(), |mut s, b| {
            let _ = write!(s, "{b:02x}");
            s
        }))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
