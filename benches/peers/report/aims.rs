//! What bitween is meant to reach, and whether it does.

use std::fmt::Write;

use super::{Report, Table, spread};

/// What a number is held against.
enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// So many times better than the best other client of the same round.
    TimesBest(f64),
    /// So many times better than one client in the same round.
    Times(f64, &'static str),
}

/// One goal for one number of one row.
struct Aim {
    row: &'static str,
    metric: &'static str,
    goal: Goal,
}

const fn aim(row: &'static str, metric: &'static str, goal: Goal) -> Aim {
    Aim { row, metric, goal }
}

/// All of them, in the order of the rows.
const AIMS: &[Aim] = &[
    aim("download", "MB/s", Goal::Times(1.1, "libtorrent 2.1")),
    aim("download", "CPU s/GiB", Goal::AtMost(1.4)),
    aim("download", "peak anonymous MiB", Goal::AtMost(16.0)),
    aim("seed-1", "MB/s", Goal::TimesBest(1.5)),
    aim("seed-1", "CPU s/GiB", Goal::AtMost(0.6)),
    aim("seed-1", "of the last connection", Goal::AtMost(1000.0)),
    aim("seed-8", "MB/s", Goal::TimesBest(1.5)),
    aim("seed-8", "CPU s/GiB", Goal::AtMost(0.6)),
    aim("seed-8", "connections served", Goal::AtLeast(8.0)),
    aim("seed-8", "of the last connection", Goal::AtMost(1000.0)),
    aim("seed-64", "MB/s", Goal::TimesBest(1.5)),
    aim("seed-64", "CPU s/GiB", Goal::AtMost(0.6)),
    aim("seed-64", "connections served", Goal::AtLeast(64.0)),
    aim("seed-64", "of the last connection", Goal::AtMost(1000.0)),
    aim("seed-256", "MB/s", Goal::TimesBest(1.5)),
    aim("seed-256", "CPU s/GiB", Goal::AtMost(0.6)),
    aim("seed-256", "peak anonymous MiB", Goal::AtMost(24.0)),
    aim("seed-256", "connections served", Goal::AtLeast(256.0)),
    aim("seed-256", "of the last connection", Goal::AtMost(1000.0)),
    aim("recheck", "MB/s", Goal::TimesBest(1.6)),
    aim("pair", "MB/s", Goal::TimesBest(2.0)),
    aim("idle", "KiB per connection", Goal::AtMost(2.0)),
    aim("idle", "anonymous MiB in all", Goal::AtMost(5.0)),
    aim("many", "s until all seed", Goal::AtMost(0.25)),
    aim("many", "KiB per torrent", Goal::AtMost(2.0)),
    aim("many", "anonymous MiB in all", Goal::AtMost(6.0)),
    aim("many", "idle CPU s/minute", Goal::AtMost(0.02)),
    aim("start", "anonymous MiB", Goal::AtMost(1.8)),
    aim("start", "ms until running", Goal::AtMost(10.0)),
    aim("calls-download", "system calls per GiB", Goal::TimesBest(2.0)),
    aim("calls-seed", "system calls per GiB", Goal::TimesBest(2.0)),
    aim("box-memory", "inside/outside", Goal::AtLeast(0.5)),
    aim("box-files", "inside/outside", Goal::AtLeast(0.5)),
    aim("slow-disk", "with/without the slow disk", Goal::AtLeast(0.9)),
    aim("slow-disk", "ms API answer, 99th percentile", Goal::AtMost(50.0)),
    aim("slow-disk", "ms longest turn", Goal::AtMost(20.0)),
    aim("grow-torrents-10000", "s until all seed", Goal::AtMost(2.0)),
];

impl Report {
    /// The first section: every aim, and what was measured.
    pub fn aims(&self, page: &mut String) {
        let mut lines = String::new();
        let (mut met, mut all, mut row) = (0, 0, "");
        for aim in AIMS {
            let Some(table) = self.shown().find(|table| table.name == aim.row) else { continue };
            let Some((is_met, rest)) = self.against(table, aim) else { continue };
            // Said once for all its lines.
            let name = if aim.row == row { "" } else { aim.row };
            row = aim.row;
            met += usize::from(is_met);
            all += 1;
            let _ = writeln!(lines, "| {name} | {} | {rest} | {} |", aim.metric, if is_met { "yes" } else { "**no**" });
        }
        if all == 0 {
            return;
        }
        let _ = writeln!(
            page,
            "## In short\n\n\
             {met} of {all} aims are met. A row is what is done, as told below; times are how many times better bitween was than the\n\
             best of the others in the same round.\n\n\
             | row | number | aim | bitween | best of the others | met |\n| --- | --- | --- | ---: | --- | --- |\n{lines}"
        );
    }

    /// Whether it is met, and the columns between.
    fn against(&self, table: &Table, aim: &Aim) -> Option<(bool, String)> {
        let (nth, metric) = table.metric(aim.metric)?;
        let ours = table.median("bitween", aim.metric)?;
        let others = self.others();
        let best = table.best(&others, nth);
        let best_told = best.map_or("-".to_owned(), |(name, best)| format!("{best:.*}, {name}", metric.digits));
        let told = spread(&table.numbers("bitween", nth), metric.digits);
        let (is_met, aimed, told) = match aim.goal {
            Goal::AtMost(limit) => (ours <= limit, format!("at most {limit}"), told),
            Goal::AtLeast(limit) => (ours >= limit, format!("at least {limit}"), told),
            Goal::TimesBest(factor) => {
                let times = table.ratio_to_best(&others, nth)?;
                let aimed = if metric.more_is_better == Some(false) && factor == 2.0 {
                    "half of the best".to_owned()
                } else {
                    format!("{factor} times the best")
                };
                (times >= factor, aimed, format!("{told}: {times:.2} times"))
            }
            Goal::Times(factor, client) => {
                let times = table.ratio(client, nth)?;
                (times >= factor, format!("{factor} times {client}"), format!("{told}: {times:.2} times"))
            }
        };
        Some((is_met, format!("{aimed} | {told} | {best_told}")))
    }
}
