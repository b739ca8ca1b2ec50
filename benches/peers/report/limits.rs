//! What holds each client up: a sentence for each, out of what was measured.

use std::fmt::Write;

use super::machine::cores;
use super::{Report, Table};
use crate::rows::{
    BUSIEST, CALLS_EACH, CPU, FIRST_REQUEST, FLOWING, FUTEX, GIB, KERNEL, MB, OTHER_BUSIEST, OTHER_CPU, SPEED,
};

/// From here on, in percent, a thread or a core is called full.
const FULL: f64 = 88.0;

/// When its busiest thread does this part of the work it does all of it.
const ALONE: f64 = 0.9;

/// Calls a block from which on handing over to another thread counts.
const MANY_WAKES: f64 = 0.2;

/// System calls a block from which on they count.
const MANY_CALLS: f64 = 1.5;

/// Milliseconds from which on a beginning is called late.
const LATE: f64 = 400.0;

/// Which rows tell about one kind of work: speed, system calls.
const WORK: [(&str, &str, &str); 3] = [
    ("Downloading", "download", "calls-download"),
    ("Seeding to 8", "seed-8", "calls-seed"),
    ("Rechecking", "recheck", ""),
];

impl Report {
    /// The section with a sentence for each client and kind of work.
    pub fn limits(&self, page: &mut String) {
        let find = |name: &str| self.shown().find(|table| table.name == name);
        let mut said = String::new();
        for client in self.clients.iter().map(|client| client.name.as_str()) {
            let sentence = |(work, row, calls): &(&str, &str, &str)| {
                let sentence = limit(find(row)?, find(calls), client)?;
                Some(format!("{work}: {sentence}"))
            };
            let sentences: Vec<String> = WORK.iter().filter_map(sentence).collect();
            if !sentences.is_empty() {
                let _ = writeln!(said, "- **{client}**. {}", sentences.join(" "));
            }
        }
        if said.is_empty() {
            return;
        }
        page.push_str(
            "## What limits each client\n\n\
             By the share of the time, while data flows, that its busiest thread, all its threads and the other side ran, and by its\n\
             system calls for each block of 16 KiB (\"futex\" is waiting for, or waking, another thread). What is not full waits.\n\n",
        );
        let _ = writeln!(page, "{said}");
    }
}

/// What holds this client up in one row, while data flows.
fn limit(table: &Table, calls: Option<&Table>, client: &str) -> Option<String> {
    let speed = table.median(client, SPEED.title)?;
    let flowing = table.median(client, FLOWING.title).unwrap_or(speed);
    let share = |cpu: f64| 100.0 * flowing * MB / GIB * cpu;
    let all = share(table.median(client, CPU.title)?);
    // It was measured over the whole time.
    let busiest = (table.median(client, BUSIEST.title)? * flowing / speed).min(all).min(100.0);
    let other = table.median(client, OTHER_CPU.title).map(share);
    let load_is_full = table.median(client, OTHER_BUSIEST.title).is_some_and(|busiest| busiest >= FULL);
    let limit = if load_is_full {
        "the load tool is full, so this is what the machine allows"
    } else if busiest >= FULL && busiest >= ALONE * all {
        "one thread does everything and is full"
    } else if busiest >= FULL {
        "its busiest thread is full"
    } else if all + other.unwrap_or(0.0) >= cores() * FULL {
        "all cores are full"
    } else if busiest >= ALONE * all {
        "one thread does everything, and waits part of the time"
    } else {
        "no thread is full: they wait for each other or for the other side"
    };
    let other = other.map_or_else(String::new, |other| format!(", the other side {other:.0} %"));
    let mut sentence = format!("{limit} (the busiest thread runs {busiest:.0} %, all {all:.0} %{other})");
    for reason in reasons(table, calls, client) {
        sentence.push_str("; ");
        sentence.push_str(&reason);
    }
    sentence.push('.');
    Some(sentence)
}

/// What else is striking.
fn reasons(table: &Table, calls: Option<&Table>, client: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(late) = table.median(client, FIRST_REQUEST.title).filter(|late| *late >= LATE) {
        reasons.push(format!("it begins only after {:.1} s", late / 1000.0));
    }
    let each = |title: &str| calls.and_then(|calls| calls.median(client, title));
    if let Some(wakes) = each(FUTEX.title).filter(|wakes| *wakes >= MANY_WAKES) {
        reasons.push(format!("it hands over between threads ({wakes:.2} futex calls a block)"));
    }
    if let Some(each) = each(CALLS_EACH.title).filter(|each| *each >= MANY_CALLS) {
        reasons.push(format!("it makes {each:.1} system calls a block"));
    }
    if let Some(kernel) = table.median(client, KERNEL.title) {
        reasons.push(format!("{kernel:.0} % of its CPU time is the kernel's"));
    }
    reasons
}
