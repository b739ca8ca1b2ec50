//! Every number of every round, as lines of JSON at the end of the page: from there a later run takes what it does not
//! measure anew.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{Cell, Introduction, Origin, Report, Table};
use crate::rows::Measured;

const BEGIN: &str = "```json\n";
const END: &str = "```\n";

impl Report {
    /// The last section of the page.
    pub fn raw(&self, page: &mut String) {
        page.push_str(
            "## Raw numbers\n\n<details>\n<summary>A line for each row and client, a number for each round in their order</summary>\n\n",
        );
        page.push_str(BEGIN);
        let _ = writeln!(page, "{}", json!({ "machine": self.machine }));
        for client in &self.clients {
            let Introduction { name, version, remarks } = client;
            let _ = writeln!(page, "{}", json!({"client": name, "version": version, "remarks": remarks}));
        }
        for table in self.tables.iter().filter(|table| !table.cells.is_empty()) {
            let Origin { date, commit } = &table.origin;
            let _ = writeln!(
                page,
                "{{\"row\":{},\"title\":{},\"date\":{},\"commit\":{}}}",
                json!(table.name),
                json!(table.title),
                json!(date),
                json!(commit)
            );
            for client in &self.clients {
                if let Some(cells) = table.cells.get(&client.name) {
                    let _ = writeln!(page, "{}", line(table, &client.name, cells));
                }
            }
        }
        page.push_str(END);
        page.push_str("\n</details>\n");
    }

    /// Takes what an earlier page has, if it is of this machine.
    pub fn take(&mut self, page: &str) {
        let Some((_, lines)) = page.split_once(BEGIN) else { return };
        let lines = lines.split(END).next().unwrap_or_default();
        let lines: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.first().is_none_or(|first| first["machine"] != self.machine.as_str()) {
            eprintln!("the numbers there are of another machine, and are not kept");
            return;
        }
        for line in &lines {
            let text = |key: &str| line[key].as_str().map(str::to_owned);
            match (text("row"), text("client")) {
                (None, Some(name)) => {
                    let (version, remarks) = (text("version").unwrap_or_default(), text("remarks").unwrap_or_default());
                    self.clients.push(Introduction { name, version, remarks });
                }
                (Some(row), client) => {
                    let Some(table) = self.tables.iter_mut().find(|table| table.name == row) else { continue };
                    match client {
                        Some(client) => drop(table.cells.insert(client, cells(table.metrics, line))),
                        None => {
                            table.title = text("title").unwrap_or_default();
                            let (date, commit) = (text("date").unwrap_or_default(), text("commit").unwrap_or_default());
                            table.origin = Origin { date, commit };
                        }
                    }
                }
                (None, None) => {}
            }
        }
    }
}

/// One line, with its keys in the order of the table.
fn line(table: &Table, client: &str, cells: &[Cell]) -> String {
    let mut line = format!("{{\"row\":{},\"client\":{}", json!(table.name), json!(client));
    for (nth, metric) in table.metrics.iter().enumerate() {
        // A digit more than the page shows.
        let digits = metric.digits + 1;
        let number = |cell: &Cell| cell.number(nth).map_or("null".to_owned(), |number| format!("{number:.digits$}"));
        let numbers: Vec<String> = cells.iter().map(number).collect();
        let _ = write!(line, ",{}:[{}]", json!(metric.title), numbers.join(","));
    }
    let notes: Vec<Option<&str>> = cells.iter().map(Cell::note).collect();
    if notes.iter().any(Option::is_some) {
        let _ = write!(line, ",\"notes\":{}", json!(notes));
    }
    let without: Vec<Option<&str>> = cells.iter().map(Cell::why).collect();
    if without.iter().any(Option::is_some) {
        let _ = write!(line, ",\"without\":{}", json!(without));
    }
    line.push('}');
    line
}

fn cells(metrics: &[crate::rows::Metric], line: &Value) -> Vec<Cell> {
    let empty = Map::new();
    let rounds = line.as_object().unwrap_or(&empty).values().filter_map(Value::as_array).map(Vec::len).max();
    let cell = |round: usize| {
        if let Some(why) = line["without"][round].as_str() {
            return Cell::Without(why.to_owned());
        }
        let number = |metric: &crate::rows::Metric| line[metric.title][round].as_f64().unwrap_or(f64::NAN);
        let note = line["notes"][round].as_str().map(str::to_owned);
        Cell::Numbers(Measured { numbers: metrics.iter().map(number).collect(), note })
    };
    (0..rounds.unwrap_or(0)).map(cell).collect()
}
