//! System calls per GiB, counted by `strace` in runs of their own.

use std::path::Path;
use std::time::Duration;

use super::seed::content;
use super::{GIB, Measured, Metric, Row, download, size};
use crate::clients::{Client, Job};
use crate::content::Content;
use crate::lab::{Lab, TRANSFER_LIMIT, loopback};
use crate::load::leecher::Leechers;
use crate::load::seeder::Seeder;
use crate::load::wire::BLOCK;
use crate::strace::{CallCounter, Calls};
use crate::trouble::Trouble;

const CALLS: Metric = Metric { title: "system calls per GiB", digits: 0, more_is_better: Some(false) };
/// The same for each block.
pub const EACH: Metric = Metric { title: "per block of 16 KiB", digits: 3, more_is_better: None };
/// Calls that wait for, or wake, another thread.
pub const FUTEX: Metric = Metric { title: "of these futex", digits: 3, more_is_better: None };

/// Connections that are seeded to.
const CONNECTIONS: usize = 8;

/// The row for a download.
pub struct DownloadCalls;

/// The row for seeding.
pub struct SeedCalls;

impl Row for DownloadCalls {
    fn name(&self) -> String {
        "calls-download".to_owned()
    }

    fn title(&self, lab: &Lab) -> String {
        format!("System calls of a download of {} from memory", size(lab.size / 2))
    }

    fn metrics(&self) -> &'static [Metric] {
        &[CALLS, EACH, FUTEX]
    }

    fn run(&self, lab: &Lab, _: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let folder = lab.folder()?;
        let content = Content::new("calls.bin", lab.size / 2, download::PIECE, 1);
        let dir = folder.path().join("downloads");
        let job = Job::new(folder.path(), "home", &content, &dir)?;
        let mut leech = client.leech(lab, &job)?;
        let calls = CallCounter::attach(lab, leech.process.id(), folder.path())?;
        let seeder = Seeder::new(&content);
        seeder.connect(loopback(leech.port))?;
        leech.wait(lab, TRANSFER_LIMIT)?;
        let calls = calls.finish()?;
        leech.process.stop();
        content.check_in(&dir)?;
        Ok(per_byte(&calls, content.len as f64))
    }

    fn rounds(&self) -> usize {
        1
    }
}

impl Row for SeedCalls {
    fn name(&self) -> String {
        "calls-seed".to_owned()
    }

    fn title(&self, _: &Lab) -> String {
        format!("System calls of seeding to {CONNECTIONS} connections")
    }

    fn metrics(&self) -> &'static [Metric] {
        &[CALLS, EACH, FUTEX]
    }

    fn run(&self, lab: &Lab, data: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let folder = lab.folder()?;
        let content = content(lab);
        content.write_into(data)?;
        let seed = client.seed(lab, &Job::new(folder.path(), "home", &content, data)?)?;
        let mut leechers = Leechers::connect(loopback(seed.port), &content, CONNECTIONS)?;
        leechers.run(lab, Duration::from_secs(15), |leechers| leechers.served() == leechers.open())?;
        let calls = CallCounter::attach(lab, seed.process.id(), folder.path())?;
        let before = leechers.bytes();
        leechers.run(lab, lab.measured, |_| false)?;
        let bytes = (leechers.bytes() - before) as f64;
        let calls = calls.finish()?;
        seed.process.must_run()?;
        if bytes == 0.0 { Err(Trouble::failed("nothing was served")) } else { Ok(per_byte(&calls, bytes)) }
    }

    fn rounds(&self) -> usize {
        1
    }
}

fn per_byte(calls: &Calls, bytes: f64) -> Measured {
    let blocks = bytes / f64::from(BLOCK);
    let numbers = vec![calls.total() / (bytes / GIB), calls.total() / blocks, calls.of("futex") / blocks];
    Measured { numbers, note: Some(calls.told(blocks)) }
}
