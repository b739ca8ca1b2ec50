//! The order in which everything is measured, and doing so: after each measurement the report is written anew, so that a run
//! that is broken off leaves what it has.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::clients::{Bitween, Client};
use crate::lab::Lab;
use crate::report::{Cell, Report};
use crate::rows::Row;
use crate::trouble::Trouble;

/// One row of one round: the clients in their order, over the same files.
pub struct Turn<'a> {
    round: usize,
    row: &'a dyn Row,
    clients: Vec<&'a dyn Client>,
}

/// How long each measurement took, to tell how long the others will take.
#[derive(Default)]
struct Pace {
    known: HashMap<(String, &'static str), Duration>,
    spent: Duration,
    done: u32,
}

/// All turns, round by round.
pub fn plan<'a>(
    rows: &[&'a dyn Row],
    bitween: &'a Bitween,
    others: &'a [Box<dyn Client>],
    rounds: usize,
) -> Vec<Turn<'a>> {
    let turn = |round: usize, row: &&'a dyn Row| {
        let clients = order(bitween, others, round).into_iter().filter(|client| row.takes(*client)).collect();
        (round < row.rounds()).then_some(Turn { round, row: *row, clients })
    };
    (0..rounds).flat_map(|round| rows.iter().filter_map(move |row| turn(round, row))).collect()
}

/// The order of a round: the others begin with another one each time, and bitween runs in their middle.
fn order<'a>(bitween: &'a Bitween, others: &'a [Box<dyn Client>], round: usize) -> Vec<&'a dyn Client> {
    let mut order: Vec<&dyn Client> = others.iter().map(Box::as_ref).collect();
    order.rotate_left(round % others.len().max(1));
    order.insert(others.len() / 2, bitween);
    order
}

/// Measures all turns.
pub fn run(lab: &Lab, turns: &[Turn<'_>], report: &mut Report, page: &Path) -> Result<(), Trouble> {
    let start = Instant::now();
    let mut pace = Pace::default();
    let mut failed: HashSet<(&str, &str)> = HashSet::new();
    for (nth, turn) in turns.iter().enumerate() {
        // The same files for all clients of a turn, and gone before the next one needs the memory.
        let data = lab.folder()?;
        for (client_nth, client) in turn.clients.iter().enumerate() {
            let left = pace.left(&turns[nth..], client_nth).as_secs().div_ceil(60);
            let (minutes, name) = (start.elapsed().as_secs() / 60, turn.row.name());
            eprint!("[{minutes:>3} min, {left:>3} left] round {}, {name}, {}: ", turn.round + 1, client.name());
            let begun = Instant::now();
            let series = turn.row.point().map(|point| (point.family, client.name()));
            let outcome = if series.is_some_and(|series| failed.contains(&series)) {
                Err(Trouble::CannotDo("not tried, after the point before it"))
            } else {
                turn.row.run(lab, data.path(), *client)
            };
            if outcome.is_err() {
                // Ctrl-C ends the clients, too, which is no failure of theirs.
                lab.check()?;
            }
            let cell = Cell::from(outcome)?;
            eprintln!("{}", cell.in_short(turn.row.metrics()));
            if let (Some(series), Cell::Without(_)) = (series, &cell) {
                failed.insert(series);
            }
            if turn.round == 0 && client_nth == 0 {
                report.begin(lab, turn.row);
            }
            report.add(turn.row, client.name(), cell);
            report.write(page)?;
            pace.took(&name, client.name(), begun.elapsed());
        }
    }
    Ok(())
}

impl Pace {
    fn took(&mut self, row: &str, client: &'static str, time: Duration) {
        self.known.insert((row.to_owned(), client), time);
        self.spent += time;
        self.done += 1;
    }

    /// How long these turns will take, the first of them without the clients that are done.
    fn left(&self, turns: &[Turn<'_>], done: usize) -> Duration {
        let usual = self.spent.checked_div(self.done).unwrap_or_default();
        let skipped = |nth: usize| if nth == 0 { done } else { 0 };
        let each = turns.iter().enumerate().flat_map(|(nth, turn)| {
            let name = turn.row.name();
            turn.clients.iter().skip(skipped(nth)).map(move |client| (name.clone(), client.name()))
        });
        each.map(|step| self.known.get(&step).copied().unwrap_or(usual)).sum()
    }
}
