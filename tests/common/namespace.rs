//! Network namespaces: what runs in one has its own interfaces, addresses and ports. Needs root and `ip`.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{installed, missing};

/// Runs `ip` with these arguments; whether that went well.
pub fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().is_ok_and(|output| output.status.success())
}

/// Runs `ip` with each line's arguments.
///
/// # Panics
/// If one of them fails.
pub fn ip_all(steps: &[String]) {
    for step in steps {
        assert!(ip(step), "ip {step}");
    }
}

/// The beginning of names that nobody else uses at the same time.
pub fn prefix() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("b{:x}n{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A namespace; gone when it is dropped.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// An empty one with a loopback interface. `None` if the test is to be skipped: no `ip`, or not allowed to.
    pub fn new(name: String) -> Option<Self> {
        let namespace = Self { name };
        let made = installed("ip")
            && ip(&format!("netns add {}", namespace.name))
            && ip(&format!("-n {} link set lo up", namespace.name));
        if !made {
            missing("the right to make network namespaces (root, ip)");
        }
        made.then_some(namespace)
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
    }
}

/// This command, to be run in that namespace, with its environment and folder.
pub fn there(namespace: &str, command: &Command) -> Command {
    let mut there = Command::new("ip");
    there.args(["netns", "exec", namespace]).arg(command.get_program()).args(command.get_args());
    there.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // `ip` may lie where only administrators look.
    there.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    if let Some(folder) = command.get_current_dir() {
        there.current_dir(folder);
    }
    there
}
