//! A row's tables: the numbers, and how many times better bitween is; and the list of where it is not.

use std::fmt::Write;

use super::{Cell, Report, Table, emphasis, spread};
use crate::rows::Metric;

/// Below this bitween is called behind: what lies between is noise.
const LEVEL: f64 = 0.97;

impl Report {
    /// Everything about one row.
    pub(super) fn rows(&self, page: &mut String, table: &Table) {
        let _ = writeln!(page, "## {}\n\n`--row {}`\n{}", table.title, table.name, self.origin_of(table));
        let titles: Vec<&str> = table.metrics.iter().map(|metric| metric.title).collect();
        let _ = writeln!(page, "| client | {} |", titles.join(" | "));
        let _ = writeln!(page, "| --- |{}", " ---: |".repeat(titles.len()));
        let mut notes = String::new();
        for client in self.clients.iter().map(|client| client.name.as_str()) {
            let Some(cells) = table.cells.get(client) else { continue };
            let column = |(nth, metric): (usize, &Metric)| spread(&table.numbers(client, nth), metric.digits);
            let columns: Vec<String> = table.metrics.iter().enumerate().map(column).collect();
            let _ = writeln!(page, "| {} | {} |", emphasis(client), columns.join(" | "));
            for note in table.whys(client).into_iter().chain(cells.iter().rev().find_map(Cell::note)) {
                let _ = writeln!(notes, "- {client}: {note}");
            }
        }
        page.push('\n');
        if !notes.is_empty() {
            let _ = writeln!(page, "{notes}");
        }
        self.ratios(page, table);
    }

    /// bitween beside each other client, by every number of which it can be said what is better.
    fn ratios(&self, page: &mut String, table: &Table) {
        let judged: Vec<(usize, &Metric)> =
            table.metrics.iter().enumerate().filter(|(_, metric)| metric.more_is_better.is_some()).collect();
        let mut lines = String::new();
        for client in self.clients.iter().map(|client| client.name.as_str()).filter(|client| *client != "bitween") {
            let ratios: Vec<Option<f64>> = judged.iter().map(|(nth, _)| table.ratio(client, *nth)).collect();
            if ratios.iter().any(Option::is_some) {
                let told: Vec<String> = ratios.into_iter().map(told).collect();
                let _ = writeln!(lines, "| {client} | {} |", told.join(" | "));
            }
        }
        if !lines.is_empty() {
            let titles: Vec<&str> = judged.iter().map(|(_, metric)| metric.title).collect();
            let _ = writeln!(page, "| bitween is better, times | {} |", titles.join(" | "));
            let _ = writeln!(page, "| --- |{}\n{lines}", " ---: |".repeat(titles.len()));
        }
    }

    /// Where bitween is behind another client, all in one place.
    pub fn behind(&self, page: &mut String) {
        let mut lines = String::new();
        for table in self.shown().filter(|table| table.point.is_none()) {
            for (nth, metric) in table.metrics.iter().enumerate() {
                let is_ahead = |client: &&str| table.ratio(client, nth).is_some_and(|ratio| ratio < LEVEL);
                let told = |client: &str| {
                    let median = table.median(client, metric.title).unwrap_or(f64::NAN);
                    format!("{client} {median:.*}", metric.digits)
                };
                let ahead: Vec<String> = self.others().into_iter().filter(is_ahead).map(told).collect();
                if !ahead.is_empty() {
                    let _ = writeln!(
                        lines,
                        "- {}, {}: {}; {}",
                        table.name,
                        metric.title,
                        told("bitween"),
                        ahead.join(", ")
                    );
                }
            }
        }
        if !lines.is_empty() {
            let _ = writeln!(page, "### Where bitween is behind\n\n{lines}");
        }
    }
}

fn told(ratio: Option<f64>) -> String {
    match ratio {
        None => "-".to_owned(),
        Some(ratio) if ratio < 0.01 => "**under 0.01, behind**".to_owned(),
        Some(ratio) if ratio < LEVEL => format!("**{ratio:.2}, behind**"),
        Some(ratio) if ratio < 10.0 => format!("{ratio:.2}"),
        Some(ratio) => format!("{ratio:.0}"),
    }
}
