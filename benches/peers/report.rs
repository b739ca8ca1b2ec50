//! What was measured, and the page that tells it: medians, ranges, ratios, raw numbers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::process::Command;

use crate::clients::Client;
use crate::lab::Lab;
use crate::rows::{BUSIEST, CPU, GIB, MB, Metric, OTHER_CPU, Row, SEEDER_CPU, SPEED};
use crate::trouble::Trouble;

/// From here on a thread is called busy all the time.
const FULL: f64 = 88.0;

/// One client's outcome in one row of one round.
pub enum Cell {
    /// A number for each metric.
    Numbers(Vec<f64>),
    /// Why there is none.
    Without(String),
}

/// Everything that was measured.
pub struct Report {
    rows: Vec<Table>,
    clients: Vec<Introduction>,
    rounds: usize,
}

struct Table {
    name: String,
    title: String,
    metrics: &'static [Metric],
    /// By client, in the order of `clients`; a cell per round.
    cells: BTreeMap<&'static str, Vec<Cell>>,
}

struct Introduction {
    name: &'static str,
    version: String,
    remarks: &'static [&'static str],
}

impl Cell {
    /// A failure is a result, too; an interruption is none.
    pub fn from(outcome: Result<Vec<f64>, Trouble>) -> Result<Self, Trouble> {
        match outcome {
            Ok(numbers) => Ok(Self::Numbers(numbers)),
            Err(Trouble::Interrupted) => Err(Trouble::Interrupted),
            Err(trouble) => Ok(Self::Without(trouble.to_string())),
        }
    }

    /// One line for whoever watches.
    pub fn in_short(&self, metrics: &[Metric]) -> String {
        match self {
            Self::Without(why) => why.clone(),
            Self::Numbers(numbers) => {
                let known = numbers.iter().zip(metrics).filter(|(number, _)| number.is_finite());
                let shown = known.map(|(number, metric)| {
                    let digits = metric.digits;
                    format!("{number:.digits$} {}", metric.title)
                });
                shown.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl Report {
    /// An empty one.
    pub fn new(lab: &Lab, rows: &[Box<dyn Row>], rounds: usize) -> Self {
        let table = |row: &dyn Row| Table {
            name: row.name(),
            title: row.title(lab),
            metrics: row.metrics(),
            cells: BTreeMap::new(),
        };
        Self { rows: rows.iter().map(|row| table(row.as_ref())).collect(), clients: Vec::new(), rounds }
    }

    /// A client that will be measured, unless it cannot say what it is: then it is named as missing.
    pub fn introduce(&mut self, client: &dyn Client) -> bool {
        let (name, version) = (client.name(), client.version());
        let here = version.is_ok();
        let (version, remarks) = match version {
            Ok(version) => (version, client.remarks()),
            Err(trouble) => (format!("not measured, {trouble}"), &[][..]),
        };
        if !here {
            eprintln!("{name}: {version}");
        }
        self.clients.push(Introduction { name, version, remarks });
        here
    }

    /// One more outcome in the row with this number.
    pub fn add(&mut self, row: usize, client: &'static str, cell: Cell) {
        self.rows[row].cells.entry(client).or_default().push(cell);
    }

    /// The whole page.
    pub fn markdown(&self) -> String {
        let mut page = String::from("# Performance\n\n");
        let _ = writeln!(
            page,
            "bitween beside other BitTorrent clients, on one machine, in the same minutes. Written by\n\
             `cargo bench --bench peers`, which installs the others, runs every row in interleaved rounds ({} of them) with bitween in\n\
             the middle of each, and compares every downloaded byte. Speeds of a shared machine move; the ratios, which are taken\n\
             within a round, and CPU seconds per GiB move less.\n",
            self.rounds
        );
        page.push_str(&machine());
        self.introductions(&mut page);
        for table in &self.rows {
            self.table(&mut page, table);
        }
        self.limits(&mut page);
        self.raw(&mut page);
        page
    }

    fn introductions(&self, page: &mut String) {
        page.push_str("## Clients\n\n");
        for client in &self.clients {
            let _ = writeln!(page, "- **{}**: {}. {}", client.name, client.version, client.remarks.join(" "));
        }
        page.push_str(
            "\nAll: loopback interface, data and downloads in memory (tmpfs), plain TCP; no DHT, peer exchange, local discovery or\n\
             port mapping. Memory is what is anonymous (`RssAnon`), at its peak; CPU counts all threads and children.\n\n\
             A cell is the median (lowest to highest). How many times better bitween is, is the median of what the rounds say each:\n\
             above 1 it is better, whether more or less of that number is, and below 1 it is behind.\n\n",
        );
    }

    fn table(&self, page: &mut String, table: &Table) {
        let _ = writeln!(page, "## {}\n", table.title);
        let titles: Vec<&str> = table.metrics.iter().map(|metric| metric.title).collect();
        let _ = writeln!(page, "| client | {} |", titles.join(" | "));
        let _ = writeln!(page, "| --- |{}", " ---: |".repeat(titles.len()));
        let mut notes = String::new();
        for client in &self.clients {
            let Some(cells) = table.cells.get(client.name) else { continue };
            let columns: Vec<String> =
                table.metrics.iter().enumerate().map(|(nth, metric)| column(cells, nth, metric)).collect();
            let _ = writeln!(page, "| {} | {} |", client.name, columns.join(" | "));
            for why in whys(cells) {
                let _ = writeln!(notes, "- {}: {why}", client.name);
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
        let mut lines = String::new();
        for client in self.clients.iter().filter(|client| client.name != "bitween") {
            let ratio = |(nth, metric): (usize, &Metric)| {
                let ratio = table.ratio(client.name, nth, metric.more_is_better?)?;
                Some(format!("{} {ratio:.2}", metric.title))
            };
            let ratios: Vec<String> = table.metrics.iter().enumerate().filter_map(ratio).collect();
            if !ratios.is_empty() {
                let _ = writeln!(lines, "- {}: {}", client.name, ratios.join(", "));
            }
        }
        if !lines.is_empty() {
            let _ = writeln!(page, "How many times better bitween is than\n\n{lines}");
        }
    }

    /// What holds each client up, as far as the numbers tell.
    fn limits(&self, page: &mut String) {
        let mut said = String::new();
        for table in &self.rows {
            let each = self.clients.iter().filter_map(|client| table.limit(client.name)).collect::<Vec<_>>();
            if !each.is_empty() {
                let _ = writeln!(said, "- {}: {}.", table.name, each.join("; "));
            }
        }
        if said.is_empty() {
            return;
        }
        page.push_str(
            "## What limits each client\n\n\
             By the share of the time that its busiest thread ran, that all its threads ran together, and that the other side ran.\n\
             What waits, waits for the other side, a lock, a disk or a timer.\n\n",
        );
        let _ = writeln!(page, "{said}");
    }

    fn raw(&self, page: &mut String) {
        page.push_str("## Raw numbers\n\nOne number per round, in their order.\n\n```text\n");
        for table in &self.rows {
            for (nth, metric) in table.metrics.iter().enumerate() {
                let _ = writeln!(page, "{}, {}", table.name, metric.title);
                for client in &self.clients {
                    let Some(cells) = table.cells.get(client.name) else { continue };
                    let digits = metric.digits;
                    let each = cells.iter().map(|cell| match cell {
                        Cell::Numbers(numbers) if numbers[nth].is_finite() => format!("{:.digits$}", numbers[nth]),
                        _ => "-".to_owned(),
                    });
                    let _ = writeln!(page, "  {:<34} {}", client.name, each.collect::<Vec<_>>().join(" "));
                }
            }
        }
        page.push_str("```\n");
    }
}

impl Table {
    /// What holds this client up, in a few words.
    fn limit(&self, client: &str) -> Option<String> {
        let cells = self.cells.get(client)?;
        let at = |title: &str| {
            let nth = self.metrics.iter().position(|metric| metric.title == title)?;
            median(&numbers(cells, nth))
        };
        let busiest = at(BUSIEST.title)?;
        let gib_per_second = at(SPEED.title)? * MB / GIB;
        let all = 100.0 * gib_per_second * at(CPU.title)?;
        let other = at(OTHER_CPU.title).or_else(|| at(SEEDER_CPU.title)).map(|cpu| 100.0 * gib_per_second * cpu);
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let limit = if busiest >= FULL {
            "one thread is full"
        } else if all + other.unwrap_or(0.0) >= cores * FULL {
            "all cores are full"
        } else {
            "waits"
        };
        let other = other.map_or_else(String::new, |other| format!(", other side {other:.0} %"));
        Some(format!("{client}: {limit} (busiest thread {busiest:.0} %, all {all:.0} %{other})"))
    }

    /// How many times better bitween is than `client` by one number, median over the rounds.
    fn ratio(&self, client: &str, nth: usize, more_is_better: bool) -> Option<f64> {
        let (ours, theirs) = (self.cells.get("bitween")?, self.cells.get(client)?);
        let ratios = ours.iter().zip(theirs).filter_map(|pair| match pair {
            (Cell::Numbers(ours), Cell::Numbers(theirs)) if more_is_better => Some(ours[nth] / theirs[nth]),
            (Cell::Numbers(ours), Cell::Numbers(theirs)) => Some(theirs[nth] / ours[nth]),
            _ => None,
        });
        median(&ratios.filter(|ratio| ratio.is_finite()).collect::<Vec<_>>())
    }
}

fn numbers(cells: &[Cell], nth: usize) -> Vec<f64> {
    let number = |cell: &Cell| match cell {
        Cell::Numbers(numbers) => numbers.get(nth).copied().filter(|number| number.is_finite()),
        Cell::Without(_) => None,
    };
    cells.iter().filter_map(number).collect()
}

fn column(cells: &[Cell], nth: usize, metric: &Metric) -> String {
    let numbers = numbers(cells, nth);
    let digits = metric.digits;
    let Some(median) = median(&numbers) else { return "-".to_owned() };
    if numbers.len() == 1 {
        return format!("{median:.digits$}");
    }
    let lowest = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{median:.digits$} ({lowest:.digits$} to {highest:.digits$})")
}

/// The reasons for missing numbers, each once.
fn whys(cells: &[Cell]) -> Vec<String> {
    let mut whys: Vec<String> = Vec::new();
    for cell in cells {
        if let Cell::Without(why) = cell
            && !whys.contains(why)
        {
            whys.push(why.clone());
        }
    }
    whys
}

fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied()?;
    if sorted.len().is_multiple_of(2) { Some((sorted.get(middle - 1)? + upper) / 2.0) } else { Some(upper) }
}

/// The machine, the system, the day and the commit.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':'));
        line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let sha = if after(&cpu, "flags").contains("sha_ni") { "with" } else { "without" };
    let kib: u64 = after(&memory, "MemTotal").split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
    format!(
        "- Machine: {}, {} cores, {sha} SHA instructions, {} GiB of memory, Linux {}\n- Date: {}\n- Commit: {}\n\n",
        after(&cpu, "model name"),
        cpu.lines().filter(|line| line.starts_with("processor")).count(),
        kib.div_ceil(1 << 20),
        read("/proc/sys/kernel/osrelease").trim(),
        said("date", &["-u", "+%F"]),
        said("git", &["describe", "--always", "--dirty"]),
    )
}
