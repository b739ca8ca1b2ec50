//! The load tools themselves where they can stand in for a client: what the machine allows at most.

use std::process::Command;

use super::{Client, Job, Running};
use crate::content::Content;
use crate::lab::{Lab, START_LIMIT, free_port};
use crate::load::seeder::Seeder;
use crate::process::Process;
use crate::trouble::Trouble;

/// Argument with which this program becomes a seeder, in a process of its own: its CPU time is to be told apart.
pub const SEED_FROM_MEMORY: &str = "--seed-from-memory";

/// A seeder from memory.
pub struct Memory;

/// What the process with [`SEED_FROM_MEMORY`] does: `PORT LENGTH PIECE_LENGTH SEED NAME`.
pub fn seed_from_memory(arguments: &[String]) -> Result<(), Trouble> {
    let number = |nth: usize| arguments.get(nth).and_then(|text| text.parse::<u64>().ok());
    let name = arguments.get(4).ok_or_else(|| Trouble::failed("an argument is missing"))?;
    let (Some(port), Some(len), Some(piece_len), Some(seed)) = (number(0), number(1), number(2), number(3)) else {
        return Err(Trouble::failed("not a number"));
    };
    let content = Content::new(name, len, u32::try_from(piece_len).map_err(Trouble::failed)?, seed);
    let seeder = Seeder::new(&content);
    seeder.listen(u16::try_from(port).map_err(Trouble::failed)?)?;
    println!("seeding");
    loop {
        std::thread::park();
    }
}

impl Client for Memory {
    fn name(&self) -> &'static str {
        "(seeder from memory)"
    }

    fn version(&self) -> Result<String, Trouble> {
        Ok("benches/peers/load/seeder.rs".to_owned())
    }

    fn remarks(&self) -> &'static [&'static str] {
        &[
            "Not a client: blocking sockets, a thread per connection, no disk, no choices. What the machine allows at most.",
        ]
    }

    fn only_in(&self) -> Option<&'static [&'static str]> {
        Some(&["seed-", "grow-connections"])
    }

    fn seed(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let Content { name, len, piece_len, seed, .. } = job.content;
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(SEED_FROM_MEMORY)
            .args([u64::from(port), *len, u64::from(*piece_len), *seed].map(|n| n.to_string()));
        command.arg(name);
        let process = Process::start(command, &job.home)?;
        let mut running = Running::until_line(process, port, "seeding");
        running.wait(lab, START_LIMIT)?;
        Ok(running)
    }
}
