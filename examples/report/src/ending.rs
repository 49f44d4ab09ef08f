//! How a program ends.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use anyhow::{Error, Result};

/// The exit status of a program whose work came to `run`. An error is printed, but for a pipe that
/// nobody reads any more: whoever read the output has seen enough, as with `| head`.
pub fn exit_code(run: Result<ExitCode>) -> ExitCode {
    run.unwrap_or_else(|error| {
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn is_broken_pipe(error: &Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_broken_pipe_is_no_failure_and_any_other_error_is_one() {
        let of = |error: Error| format!("{:?}", exit_code(Err(error)));
        let [success, failure] = [ExitCode::SUCCESS, ExitCode::FAILURE].map(|c| format!("{c:?}"));
        assert_eq!(of(io::Error::from(ErrorKind::BrokenPipe).into()), success);
        assert_eq!(of(io::Error::from(ErrorKind::NotFound).into()), failure);
        assert_eq!(of(anyhow!("any other")), failure);
    }
}
