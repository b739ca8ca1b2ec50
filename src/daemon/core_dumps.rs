//! No core dumps: the memory of a daemon holds the account's password.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Keeps this process from leaving a core dump. Only the soft limit is lowered: who looks for a fault may raise it again
/// (`prlimit --core`).
pub(crate) fn forbid() {
    let maximum = getrlimit(Resource::Core).maximum;
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum }) {
        log::warn!("a crash may leave a core dump with the password in it: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_zero_and_the_hard_one_stays() {
        let before = getrlimit(Resource::Core);
        forbid();
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: before.maximum });
    }
}
