//! What was measured, and the page that tells it: aims, medians, ranges, ratios, reasons, raw numbers.

mod aims;
mod growth;
mod limits;
mod machine;
mod numbers;
mod raw;
mod tables;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use self::machine::Origin;
use self::numbers::spread;
use crate::clients::Client;
use crate::lab::Lab;
use crate::rows::{Measured, Metric, Point, Row};
use crate::trouble::Trouble;

/// One client's outcome in one row of one round.
pub enum Cell {
    /// What was measured.
    Numbers(Measured),
    /// Why nothing was.
    Without(String),
}

/// Everything that was measured, now and in earlier runs.
pub struct Report {
    /// One for each row there is, in their order; without cells if it was never measured.
    tables: Vec<Table>,
    clients: Vec<Introduction>,
    machine: String,
    now: Origin,
}

struct Table {
    name: String,
    title: String,
    point: Option<Point>,
    metrics: &'static [Metric],
    /// By client; a cell per round.
    cells: BTreeMap<String, Vec<Cell>>,
    origin: Origin,
}

struct Introduction {
    name: String,
    version: String,
    remarks: String,
}

impl Cell {
    /// A failure is a result, too; an interruption is none.
    pub fn from(outcome: Result<Measured, Trouble>) -> Result<Self, Trouble> {
        match outcome {
            Ok(measured) => Ok(Self::Numbers(measured)),
            Err(Trouble::Interrupted) => Err(Trouble::Interrupted),
            Err(trouble) => Ok(Self::Without(trouble.to_string())),
        }
    }

    /// One line for whoever watches.
    pub fn in_short(&self, metrics: &[Metric]) -> String {
        match self {
            Self::Without(why) => why.clone(),
            Self::Numbers(measured) => {
                let known = measured.numbers.iter().zip(metrics).filter(|(number, _)| number.is_finite());
                let shown = known.map(|(number, metric)| format!("{number:.*} {}", metric.digits, metric.title));
                shown.chain(measured.note.clone()).collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Self::Without(why) => Some(why),
            Self::Numbers(_) => None,
        }
    }

    fn note(&self) -> Option<&str> {
        match self {
            Self::Numbers(measured) => measured.note.as_deref(),
            Self::Without(_) => None,
        }
    }
}

impl Report {
    /// An empty one for all rows that there are.
    pub fn new(lab: &Lab, rows: &[Box<dyn Row>]) -> Self {
        let table = |row: &dyn Row| Table {
            name: row.name(),
            title: row.title(lab),
            point: row.point(),
            metrics: row.metrics(),
            cells: BTreeMap::new(),
            origin: Origin::default(),
        };
        let tables = rows.iter().map(|row| table(row.as_ref())).collect();
        Self { tables, clients: Vec::new(), machine: machine::machine(), now: Origin::now() }
    }

    /// A client that will be measured, unless it cannot say what it is: then it is named as missing.
    pub fn introduce(&mut self, client: &dyn Client) -> bool {
        let version = client.version();
        let here = version.is_ok();
        let (version, remarks) = match version {
            Ok(version) => (version, client.remarks().join(" ")),
            Err(trouble) => (format!("not measured, {trouble}"), String::new()),
        };
        let name = client.name().to_owned();
        if !here {
            eprintln!("{name}: {version}");
        }
        let known = self.clients.iter_mut().find(|known| known.name == name);
        match known {
            Some(known) if here => (known.version, known.remarks) = (version, remarks),
            // It was measured once.
            Some(_) => {}
            None => self.clients.push(Introduction { name, version, remarks }),
        }
        here
    }

    /// Puts the clients into this order.
    pub fn order_clients(&mut self, names: &[&str]) {
        self.clients.sort_by_key(|client| names.iter().position(|name| *name == client.name).unwrap_or(names.len()));
    }

    /// Forgets what an earlier run said of a row that is measured anew.
    pub fn begin(&mut self, lab: &Lab, row: &dyn Row) {
        let now = self.now.clone();
        if let Some(table) = self.table(&row.name()) {
            table.cells.clear();
            table.title = row.title(lab);
            table.origin = now;
        }
    }

    /// One more outcome.
    pub fn add(&mut self, row: &dyn Row, client: &str, cell: Cell) {
        if let Some(table) = self.table(&row.name()) {
            table.cells.entry(client.to_owned()).or_default().push(cell);
        }
    }

    /// Writes the page, as a whole.
    pub fn write(&self, path: &Path) -> Result<(), Trouble> {
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, self.markdown())?;
        Ok(std::fs::rename(unfinished, path)?)
    }

    fn table(&mut self, name: &str) -> Option<&mut Table> {
        self.tables.iter_mut().find(|table| table.name == name)
    }

    fn shown(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(|table| !table.cells.is_empty())
    }

    /// The other clients: neither bitween nor what the machine allows.
    fn others(&self) -> Vec<&str> {
        let names = self.clients.iter().map(|client| client.name.as_str());
        names.filter(|name| !name.starts_with("bitween") && !name.starts_with('(')).collect()
    }

    fn markdown(&self) -> String {
        let mut page = String::from(
            "# Performance\n\n\
             bitween beside other BitTorrent clients, on one machine, in the same minutes. Written by `cargo bench --bench peers`, which\n\
             installs the others, runs every row in interleaved rounds with bitween in the middle of each, and compares the SHA-256 of\n\
             every download with the source's. Speeds of a shared machine move; the ratios, which are taken within a round, CPU seconds\n\
             per GiB and system calls move less. Rows in which bitween is behind are shown like the others.\n\n",
        );
        let _ =
            writeln!(page, "- Machine: {}\n- Date: {}\n- Commit: {}\n", self.machine, self.now.date, self.now.commit);
        self.aims(&mut page);
        self.behind(&mut page);
        self.limits(&mut page);
        self.how(&mut page);
        for table in self.shown().filter(|table| table.point.is_none()) {
            self.rows(&mut page, table);
        }
        self.growth(&mut page);
        self.raw(&mut page);
        page
    }

    fn how(&self, page: &mut String) {
        page.push_str(
            "## How it was measured\n\n\
             All: loopback interface, data and downloads in memory (tmpfs) unless the row speaks of a disk, plain TCP; no DHT, peer\n\
             exchange, local discovery or port mapping. Memory is what is anonymous (`RssAnon`), at its peak; CPU counts all threads and\n\
             children. Every client has its defaults but for what is said here:\n\n",
        );
        for client in &self.clients {
            let _ = writeln!(page, "- **{}**: {}. {}", client.name, client.version, client.remarks);
        }
        page.push_str(
            "\nA cell is the median (lowest to highest). How many times better bitween is, is the median of what the rounds say each:\n\
             above 1 it is better, whether more or less of that number is, and below 1 it is behind. The load tools are\n\
             `benches/peers/load`; what they take from a seeder that only copies out of memory is a client of its own, and their CPU time\n\
             and busiest thread stand in the tables: where that is not near 100 %, the client was measured and not the tool.\n\n",
        );
    }

    /// Says it where a row is not of the page's day and commit.
    fn origin_of(&self, table: &Table) -> String {
        let Origin { date, commit } = &table.origin;
        if table.origin == self.now { String::new() } else { format!("\nMeasured on {date} at {commit}.\n") }
    }
}

impl Table {
    /// The reasons for missing numbers, each once.
    fn whys(&self, client: &str) -> Vec<&str> {
        let cells = self.cells.get(client).map(Vec::as_slice).unwrap_or_default();
        let mut whys: Vec<&str> = Vec::new();
        for why in cells.iter().filter_map(Cell::why) {
            if !whys.contains(&why) {
                whys.push(why);
            }
        }
        whys
    }
}

/// bitween stands out in a table.
fn emphasis(name: &str) -> String {
    if name == "bitween" { format!("**{name}**") } else { name.to_owned() }
}
