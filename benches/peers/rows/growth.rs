//! How cost grows with the number of connections, torrents and pieces, and with the size of a piece.
//!
//! Small sizes and short times: what counts is how the numbers of one client change from column to column.

use std::path::Path;
use std::time::Duration;

use super::download::{Fetched, fetch};
use super::many::{self, ADDED, EACH, READY};
use super::recheck::check;
use super::seed::{Served, serve};
use super::{CPU, GIB, IDLE_CPU, MB, MEMORY, MIB, Measured, Metric, PEAK, Point, Row, SPEED, size};
use crate::clients::Client;
use crate::content::Content;
use crate::lab::Lab;
use crate::trouble::Trouble;

/// How long one client may take for one point.
const PATIENCE: Duration = Duration::from_secs(45);

/// How long seeding is measured.
const SEEDING: Duration = Duration::from_secs(2);

/// How long idling is measured.
const IDLING: Duration = Duration::from_secs(5);

/// What is seeded.
const SEEDED: u64 = 256 << 20;

/// What is rechecked: 98,304 pieces of 16 KiB.
const CHECKED: u64 = 1536 << 20;

/// What is downloaded.
const FETCHED: u64 = 256 << 20;

const SLOWEST: Metric = Metric { title: "slowest connection, % of the mean", digits: 0, more_is_better: Some(true) };

struct Connections(usize);

struct Torrents(usize);

struct Pieces(u32);

struct PieceSize(u32);

/// All points.
pub fn all() -> Vec<Box<dyn Row>> {
    let mut rows: Vec<Box<dyn Row>> = Vec::new();
    rows.extend([1, 10, 100, 1000].map(|count| Box::new(Connections(count)) as Box<dyn Row>));
    rows.extend([10, 100, 1000, 10_000].map(|count| Box::new(Torrents(count)) as Box<dyn Row>));
    rows.extend([1 << 20, 128 << 10, 16 << 10].map(|piece| Box::new(Pieces(piece)) as Box<dyn Row>));
    rows.extend([14, 16, 18, 20, 22, 24].map(|bits| Box::new(PieceSize(1 << bits)) as Box<dyn Row>));
    rows
}

/// Left out of all points: libtorrent stands in them with its newest series, and what the machine allows does not grow.
fn is_asked(client: &dyn Client) -> bool {
    client.only_in().is_none() && client.name() != "libtorrent 2.0"
}

impl Row for Connections {
    fn name(&self) -> String {
        format!("grow-connections-{}", self.0)
    }

    fn title(&self, _: &Lab) -> String {
        format!("Connections: seeding {}, 64 requests outstanding on each", size(SEEDED))
    }

    fn metrics(&self) -> &'static [Metric] {
        &[SPEED, CPU, PEAK, super::seed::SERVED, SLOWEST]
    }

    fn run(&self, lab: &Lab, data: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let content = Content::new("grow.bin", SEEDED, 256 << 10, 6);
        let Served { bytes, cost, peak, leechers } = serve(lab, data, client, &content, self.0, SEEDING)?;
        Ok(vec![
            bytes / MB / cost.seconds,
            cost.cpu / (bytes / GIB),
            peak / MIB,
            leechers.served() as f64,
            100.0 * leechers.slowest_share(),
        ]
        .into())
    }

    fn rounds(&self) -> usize {
        1
    }

    fn point(&self) -> Option<Point> {
        Some(Point { family: "connections", label: self.0.to_string() })
    }

    fn takes(&self, client: &dyn Client) -> bool {
        is_asked(client) || client.name().starts_with('(')
    }
}

impl Row for Torrents {
    fn name(&self) -> String {
        format!("grow-torrents-{}", self.0)
    }

    fn title(&self, _: &Lab) -> String {
        "Torrents: start with so many small complete ones that it knows already".to_owned()
    }

    fn metrics(&self) -> &'static [Metric] {
        &[READY, EACH, MEMORY, IDLE_CPU, ADDED]
    }

    fn run(&self, lab: &Lab, _: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let many = many::start(lab, client, self.0, PATIENCE, IDLING)?;
        Ok(vec![many.seconds, many.each, many.memory, many.idle_cpu, many.added].into())
    }

    fn rounds(&self) -> usize {
        1
    }

    fn point(&self) -> Option<Point> {
        Some(Point { family: "torrents", label: self.0.to_string() })
    }

    fn takes(&self, client: &dyn Client) -> bool {
        is_asked(client)
    }
}

impl Row for Pieces {
    fn name(&self) -> String {
        format!("grow-pieces-{}", CHECKED / u64::from(self.0))
    }

    fn title(&self, _: &Lab) -> String {
        format!("Pieces: recheck {} that are cut into so many", size(CHECKED))
    }

    fn metrics(&self) -> &'static [Metric] {
        &[SPEED, CPU, PEAK]
    }

    fn run(&self, lab: &Lab, data: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let content = Content::new("pieces.bin", CHECKED, self.0, 7);
        let (seconds, cost) = check(lab, data, client, &content, PATIENCE)?;
        let gib = content.len as f64 / GIB;
        Ok(vec![content.len as f64 / MB / seconds, cost.cpu / gib, cost.peak / MIB].into())
    }

    fn rounds(&self) -> usize {
        1
    }

    fn point(&self) -> Option<Point> {
        Some(Point { family: "pieces", label: (CHECKED / u64::from(self.0)).to_string() })
    }

    fn takes(&self, client: &dyn Client) -> bool {
        is_asked(client)
    }
}

impl Row for PieceSize {
    fn name(&self) -> String {
        format!("grow-piece-size-{}k", self.0 >> 10)
    }

    fn title(&self, _: &Lab) -> String {
        format!("Size of a piece: download {} from memory", size(FETCHED))
    }

    fn metrics(&self) -> &'static [Metric] {
        &[SPEED, CPU, PEAK]
    }

    fn run(&self, lab: &Lab, _: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let content = Content::new("grow.bin", FETCHED, self.0, 8);
        let Fetched { cost, seconds, .. } = fetch(lab, client, &content, PATIENCE)?;
        let gib = content.len as f64 / GIB;
        Ok(vec![content.len as f64 / MB / seconds, cost.cpu / gib, cost.peak / MIB].into())
    }

    fn rounds(&self) -> usize {
        1
    }

    fn point(&self) -> Option<Point> {
        let label = if self.0 < 1 << 20 { format!("{} KiB", self.0 >> 10) } else { format!("{} MiB", self.0 >> 20) };
        Some(Point { family: "piece size", label })
    }

    fn takes(&self, client: &dyn Client) -> bool {
        // Each of its downloads begins 10 s late.
        is_asked(client) && client.name() != "Transmission"
    }
}
