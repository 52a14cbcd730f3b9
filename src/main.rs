//! The `regprov` program: parse, run the verb, turn what came of it into an exit code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use regprov::cli::Cli;
use regprov::error::Error;
use regprov::{command, ui};

/// Threads that drive the connections. Two serve thousands of hosts; more would only pass work around.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    // SAFETY: nothing else has run, so there is no other thread, and nothing was read of the environment.
    unsafe { command::given::take() };
    let hardened = command::process::harden_process();
    let cli = Cli::parse();
    ui::log::start(cli.verbose);
    if let Err(e) = hardened {
        ui::warning(&format!("a crash could leave secrets in a core file: {e}"));
    }
    match catch_unwind(AssertUnwindSafe(|| run(&cli))).unwrap_or_else(|_| Err(defect())) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            ui::error(&e.message, e.hint.as_deref());
            ExitCode::from(e.kind.exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<u8, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(|e| Error::internal(format!("the runtime does not start: {e}")))?;
    let result = runtime.block_on(command::run(cli));
    // A question that was given up may have taken the terminal's echo along.
    command::terminal::restore();
    // A look-up of a name that still hangs is not waited for.
    runtime.shutdown_background();
    result
}

fn defect() -> Error {
    Error::internal("regprov itself failed; what it said stands above")
        .hint("please report it; run it again to see what is left to do: files are old or new, never half")
}
