//! bitween beside other BitTorrent clients, on this machine, in the same minutes.
//!
//! `cargo bench --bench peers` installs the others, runs every row in interleaved rounds and writes `docs/performance.md`.
//! `cargo bench --bench peers -- --help` says what can be chosen. As a test it does nothing: a run takes more than half an hour,
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
mod run;
#[path = "../../tests/common/small_machine.rs"]
mod small_machine;
mod strace;
mod trouble;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;

use crate::clients::{Aria2, Bitween, Client, Libtorrent, Memory, Rqbit, SEED_FROM_MEMORY, Transmission};
use crate::lab::Lab;
use crate::report::Report;
use crate::rows::Row;
use crate::trouble::Trouble;

/// Measure bitween and other BitTorrent clients side by side
#[derive(Debug, Parser)]
#[command(name = "peers", max_term_width = 100)]
struct Arguments {
    /// How often everything is measured; what is counted, or rests, once
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Rows to measure, by the beginning of their names; may be given several times. The others keep what the report has
    #[arg(long, value_name = "NAME")]
    row: Vec<String>,
    /// Measure how cost grows, too: the rows whose names begin with "grow-"
    #[arg(long)]
    growth: bool,
    /// Print the names of the rows, and end
    #[arg(long)]
    rows: bool,
    /// Clients to measure beside bitween, by the beginning of their names: "libtorrent-2.1,aria2"
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    clients: Vec<String>,
    /// GiB of the download row; the others follow: recheck twice, seeding at most 1, most others the same
    #[arg(long, value_name = "GiB", default_value_t = 1.0)]
    size: f64,
    /// How long a seeding client is measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
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
    /// Where the report goes; rows that are there and not measured now stay
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
    let all = rows::all();
    if arguments.rows {
        all.iter().for_each(|row| println!("{}", row.name()));
        return Ok(());
    }
    let rows: Vec<&dyn Row> = all.iter().map(Box::as_ref).filter(|row| is_wanted(*row, arguments)).collect();
    if rows.is_empty() {
        return Err(Trouble::failed("no row is called that; --rows lists them"));
    }
    if !arguments.no_install {
        install(arguments.rqbit)?;
    }
    let size = (arguments.size * rows::GIB) as u64;
    let lab = Lab::new(size.max(1 << 24), Duration::from_secs(arguments.seconds))?;
    let mut report = Report::new(&lab, &all);
    if let Ok(page) = std::fs::read_to_string(&arguments.out) {
        report.take(&page);
    }
    let bitween = Bitween::new(std::path::absolute(&arguments.bitween)?);
    if !report.introduce(&bitween) {
        return Err(Trouble::failed(format!("{} does not run", arguments.bitween.display())));
    }
    let mut others = others(&bitween, arguments.rqbit);
    let names: Vec<&str> = [bitween.name()].into_iter().chain(others.iter().map(|client| client.name())).collect();
    others.retain(|client| chosen(client.name(), &arguments.clients) && report.introduce(client.as_ref()));
    report.order_clients(&names);
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    run::run(&lab, &run::plan(&rows, &bitween, &others, arguments.rounds), &mut report, &arguments.out)?;
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

/// All other clients, in the order of the report.
fn others(bitween: &Bitween, rqbit: bool) -> Vec<Box<dyn Client>> {
    let mut others: Vec<Box<dyn Client>> =
        bitween.back_ends().into_iter().map(|back_end| Box::new(back_end) as Box<dyn Client>).collect();
    others.push(Box::new(Libtorrent::V2_1));
    others.push(Box::new(Libtorrent::V2_1_TWO_THREADS));
    others.push(Box::new(Libtorrent::V2_0));
    others.push(Box::new(Aria2));
    if rqbit {
        others.push(Box::new(Rqbit));
    }
    others.push(Box::new(Transmission));
    others.push(Box::new(Memory));
    others
}

fn is_wanted(row: &dyn Row, arguments: &Arguments) -> bool {
    let grows = row.point().is_some();
    if arguments.row.is_empty() {
        arguments.growth || !grows
    } else {
        chosen(&row.name(), &arguments.row) || (arguments.growth && grows)
    }
}

/// Whether a name begins with one of the wishes; without wishes all do.
fn chosen(name: &str, wishes: &[String]) -> bool {
    let plain = |name: &str| name.to_lowercase().replace(['(', ' '], "-").trim_start_matches('-').to_owned();
    wishes.is_empty() || wishes.iter().any(|wish| plain(name).starts_with(&plain(wish)))
}
