//! The command line: one file per subcommand.

/// Reads the arguments, runs the command and says how it went.
#[must_use]
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::from(2)
}
