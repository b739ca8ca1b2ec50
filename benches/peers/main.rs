//! bitween beside other BitTorrent clients, on this machine, in the same minutes.
//!
//! `cargo bench --bench peers` installs the others, runs every row in interleaved rounds and writes `docs/performance.md`.
//! `cargo bench --bench peers -- --help` says what can be chosen. As a test it does nothing: a run takes more than an hour,
//! installs packages and wants the machine for itself.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a measurement runs on real time, prints what it finds and reads nothing but its own files"
)]

mod clients;
mod content;
mod lab;
mod load;
mod measure;
mod process;
mod report;
mod rows;
mod trouble;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;

use crate::clients::{Aria2, Bitween, Client, Libtorrent, Memory, Rqbit, SEED_FROM_MEMORY, Transmission};
use crate::lab::Lab;
use crate::report::{Cell, Report};
use crate::rows::Row;
use crate::trouble::Trouble;

/// Measure bitween and other BitTorrent clients side by side
#[derive(Debug, Parser)]
#[command(name = "peers", max_term_width = 100)]
struct Arguments {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Rows to measure, by the beginning of their names; may be given several times
    #[arg(long, value_name = "NAME")]
    row: Vec<String>,
    /// Clients to measure beside bitween, by the beginning of their names: "libtorrent-2.1,aria2"
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    clients: Vec<String>,
    /// GiB of the download row; the others follow: recheck twice, client to itself half, seeding the same but at most 1
    #[arg(long, value_name = "GiB", default_value_t = 2.0)]
    size: f64,
    /// How long a seeding client is measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 8)]
    seconds: u64,
    /// The bitween to measure instead of the one that was built for this
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_bitween"))]
    bitween: PathBuf,
    /// Measure rqbit too; compiles it if it is not installed
    #[arg(long)]
    rqbit: bool,
    /// Install nothing: everything is there
    #[arg(long)]
    no_install: bool,
    /// Where the report goes
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md"))]
    out: PathBuf,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((SEED_FROM_MEMORY, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return exit_code(clients::seed_from_memory(rest));
    }
    // `cargo nextest` asks for the names of tests: there are none.
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    // As Criterion has it: `cargo bench` says so, anything else is a test.
    let asked = ["--bench", "--help", "-h"].iter().any(|word| arguments.iter().any(|argument| argument == word));
    if !asked || arguments.iter().any(|argument| argument == "--test") {
        println!("peers: nothing to test; `cargo bench --bench peers` measures");
        return ExitCode::SUCCESS;
    }
    exit_code(measure(&Arguments::parse()))
}

fn exit_code(outcome: Result<(), Trouble>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("peers: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), Trouble> {
    if !arguments.no_install {
        install(arguments.rqbit)?;
    }
    let rows: Vec<Box<dyn Row>> = rows::all().into_iter().filter(|row| chosen(&row.name(), &arguments.row)).collect();
    let bitween = Bitween::new(std::path::absolute(&arguments.bitween)?);
    let mut others = others(arguments);
    if rows.is_empty() {
        return Err(Trouble::failed("no row is called that"));
    }
    let size = (arguments.size * rows::GIB) as u64;
    let lab = Lab::new(size.max(1 << 24), Duration::from_secs(arguments.seconds))?;
    let mut report = Report::new(&lab, &rows, arguments.rounds);
    if !report.introduce(&bitween) {
        return Err(Trouble::failed(format!("{} does not run", arguments.bitween.display())));
    }
    others.retain(|client| report.introduce(client.as_ref()));
    let start = Instant::now();
    for round in 0..arguments.rounds {
        for (nth, row) in rows.iter().enumerate() {
            // The same files for all clients of a round, and gone before the next row needs the memory.
            let data = lab.folder()?;
            for client in turn(&bitween, &others, round).into_iter().filter(|client| takes_part(*client, row.as_ref()))
            {
                let minutes = start.elapsed().as_secs() / 60;
                eprint!("[{minutes:>3} min] round {}, {}, {}: ", round + 1, row.name(), client.name());
                let cell = Cell::from(row.run(&lab, data.path(), client))?;
                eprintln!("{}", cell.in_short(row.metrics()));
                report.add(nth, client.name(), cell);
            }
        }
    }
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&arguments.out, report.markdown())?;
    println!("written: {}", arguments.out.display());
    Ok(())
}

/// Installs the other clients, with the script that installs what the tests need.
fn install(rqbit: bool) -> Result<(), Trouble> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("bash");
    command.arg(root.join(".ci/setup")).arg("peers").current_dir(root);
    if rqbit {
        command.arg("rqbit");
    }
    if command.status()?.success() { Ok(()) } else { Err(Trouble::failed("the other clients cannot be installed")) }
}

fn others(arguments: &Arguments) -> Vec<Box<dyn Client>> {
    let mut others: Vec<Box<dyn Client>> = vec![
        Box::new(Libtorrent::V2_1),
        Box::new(Libtorrent::V2_1_TWO_THREADS),
        Box::new(Libtorrent::V2_0),
        Box::new(Aria2),
        Box::new(Transmission),
        Box::new(Memory),
    ];
    if arguments.rqbit {
        others.push(Box::new(Rqbit));
    }
    others.retain(|client| chosen(client.name(), &arguments.clients));
    others
}

/// Whether a name begins with one of the wishes; without wishes all do.
fn chosen(name: &str, wishes: &[String]) -> bool {
    let plain = |name: &str| name.to_lowercase().replace(['(', ' '], "-").trim_start_matches('-').to_owned();
    wishes.is_empty() || wishes.iter().any(|wish| plain(name).starts_with(&plain(wish)))
}

fn takes_part(client: &dyn Client, row: &dyn Row) -> bool {
    client.only_in().is_none_or(|names| names.iter().any(|name| row.name().starts_with(name)))
}

/// The order of a round: the others begin with another one each time, and bitween runs in their middle.
fn turn<'a>(bitween: &'a Bitween, others: &'a [Box<dyn Client>], round: usize) -> Vec<&'a dyn Client> {
    let mut order: Vec<&dyn Client> = others.iter().map(Box::as_ref).collect();
    order.rotate_left(round % others.len().max(1));
    order.insert(others.len() / 2, bitween);
    order
}
