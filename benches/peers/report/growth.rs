//! How cost grows: a table for each metric of a series, with a column for each point.

use std::fmt::Write;

use super::{Report, Table};
use crate::rows::Point;

impl Report {
    /// The section with all series.
    pub fn growth(&self, page: &mut String) {
        let shown: Vec<(&Table, &Point)> =
            self.shown().filter_map(|table| Some((table, table.point.as_ref()?))).collect();
        let mut families: Vec<&str> = shown.iter().map(|(_, point)| point.family).collect();
        families.dedup();
        if families.is_empty() {
            return;
        }
        page.push_str(
            "## How cost grows\n\n\
             Measured once, with little data and for a short time: the columns of one client say more than the lines of a column.\n\n",
        );
        for family in families {
            let points: Vec<_> = shown.iter().filter(|(_, point)| point.family == family).copied().collect();
            self.series(page, &points);
        }
    }

    fn series(&self, page: &mut String, points: &[(&Table, &Point)]) {
        let Some((first, _)) = points.first() else { return };
        let _ = writeln!(page, "### {}\n{}", first.title, self.origin_of(first));
        let labels: Vec<&str> = points.iter().map(|(_, point)| point.label.as_str()).collect();
        for (nth, metric) in first.metrics.iter().enumerate() {
            let mut lines = String::new();
            for client in &self.clients {
                let column = |(table, _): &(&Table, &Point)| {
                    let number = super::numbers::median(&table.numbers(&client.name, nth));
                    number.map_or("-".to_owned(), |number| format!("{number:.*}", metric.digits))
                };
                let columns: Vec<String> = points.iter().map(column).collect();
                if columns.iter().any(|column| column != "-") {
                    let _ = writeln!(lines, "| {} | {} |", super::emphasis(&client.name), columns.join(" | "));
                }
            }
            if !lines.is_empty() {
                let _ = writeln!(page, "| {} | {} |", metric.title, labels.join(" | "));
                let _ = writeln!(page, "| --- |{}\n{lines}", " ---: |".repeat(labels.len()));
            }
        }
        let mut notes = String::new();
        for client in &self.clients {
            for (table, point) in points {
                for why in table.whys(&client.name) {
                    let _ = writeln!(notes, "- {}, {}: {why}", client.name, point.label);
                }
            }
        }
        if !notes.is_empty() {
            let _ = writeln!(page, "{notes}");
        }
    }
}
