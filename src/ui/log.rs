//! Diagnostics on stderr, for `-v`. Only this crate speaks; libraries only from warnings up, since russh's own traces print
//! payloads.

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt, FilterFn};
use tracing_subscriber::layer::{Filter, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Starts diagnostics: `verbose` 0 nothing, 1 info, 2 debug, 3 and more trace. `RUST_LOG` may ask for more of this crate,
/// never for more of a library.
pub fn start(verbose: u8) {
    let level = ["off", "info", "debug", "trace"][usize::from(verbose.min(3))];
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).without_time().with_filter(filter(level, &asked));
    // A second start in one process (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

/// The level for this crate, or what was asked for, and never more of a library than [`may_speak`] lets through.
fn filter<S: Subscriber>(level: &str, asked: &str) -> impl Filter<S> + use<S> {
    let directives = if asked.is_empty() { format!("regprov={level}") } else { asked.to_string() };
    EnvFilter::builder().parse_lossy(directives).and(FilterFn::new(may_speak))
}

/// Whether this may be printed at all, whatever was asked for.
fn may_speak(metadata: &Metadata<'_>) -> bool {
    let ours = metadata.target() == "regprov" || metadata.target().starts_with("regprov::");
    ours || *metadata.level() <= Level::WARN
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[track_caller]
    fn check(level: &str, asked: &str, want: &[&str]) {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false).with_filter(filter(level, asked));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!("ours-info");
            tracing::trace!("ours-trace");
            tracing::trace!(target: "russh::client", "russh-trace");
            tracing::debug!(target: "russh", "russh-debug");
            tracing::warn!(target: "russh", "russh-warn");
            tracing::info!(target: "regprovider", "other-info");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let all = ["ours-info", "ours-trace", "russh-trace", "russh-debug", "russh-warn", "other-info"];
        let seen: Vec<&str> = all.into_iter().filter(|word| text.contains(word)).collect();
        assert_eq!(seen, want, "level {level}, RUST_LOG={asked}");
    }

    #[test]
    fn libraries_never_trace() {
        check("off", "", &[]);
        check("info", "", &["ours-info"]);
        check("trace", "", &["ours-info", "ours-trace"]);
        check("off", "trace", &["ours-info", "ours-trace", "russh-warn"]);
        check("off", "russh=trace,regprov=info", &["ours-info", "russh-warn"]);
        check("off", "russh::client=trace", &[]);
    }
}
