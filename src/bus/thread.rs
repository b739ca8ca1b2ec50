//! Starting a thread without a copy of the whole start for each.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread of this name.
///
/// The standard library's start is compiled anew, 2 KiB of program, for each closure and each type of result. This one is
/// compiled once.
///
/// # Errors
/// The system starts no more threads; the closure is dropped then.
pub fn spawn(name: impl Into<String>, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    spawn_boxed(name.into(), Box::new(run))
}

fn spawn_boxed(name: String, run: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name).spawn(run)
}
