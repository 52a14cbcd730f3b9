//! `import env`.

use std::path::Path;

use zeroize::Zeroizing;

use super::source::Source;
use crate::error::{Error, Result};
use crate::import::Found;
use crate::import::env::{Variable, assignments, names, read as found};
use crate::model::Registry;

/// The login of the environment, or of a file that sets it.
///
/// # Errors
/// The registry is none, or a source cannot be read.
pub(super) fn read(file: Option<&Path>, registry: &str) -> Result<(Found, Source)> {
    let (registry, _) = Registry::parse(registry).map_err(|why| Error::usage(format!("--registry: {why}")))?;
    let (source, variables) = match file {
        Some(path) => {
            let (source, text) = Source::read(path)?;
            (source, assignments(&text))
        }
        None => (Source::named("the environment"), of_process()?),
    };
    Ok((found(&variables, &registry), source))
}

fn of_process() -> Result<Vec<Variable>> {
    let mut variables = Vec::new();
    for name in names() {
        match std::env::var_os(&name).map(std::ffi::OsString::into_string) {
            None => {}
            Some(Ok(value)) => variables.push(Variable::of_process(&name, Zeroizing::new(value))),
            Some(Err(_)) => return Err(Error::usage(format!("{name} is not UTF-8"))),
        }
    }
    Ok(variables)
}
