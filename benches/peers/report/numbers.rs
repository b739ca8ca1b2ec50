//! Medians, ranges and ratios of what the rounds gave.

use super::{Cell, Table};
use crate::rows::Metric;

/// The middle one, or the mean of the two in the middle.
pub fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied()?;
    if sorted.len().is_multiple_of(2) { Some((sorted.get(middle - 1)? + upper) / 2.0) } else { Some(upper) }
}

/// Median, lowest and highest: `832 (608 to 1055)`.
pub fn spread(numbers: &[f64], digits: usize) -> String {
    let Some(median) = median(numbers) else { return "-".to_owned() };
    let lowest = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if numbers.len() == 1 {
        return format!("{median:.digits$}");
    }
    format!("{median:.digits$} ({lowest:.digits$} to {highest:.digits$})")
}

/// Whether the first is better than the second, as far as a metric knows better and worse.
pub fn better(metric: &Metric, one: f64, other: f64) -> bool {
    match metric.more_is_better {
        Some(true) => one > other,
        Some(false) => one < other,
        None => false,
    }
}

/// How many times better `ours` is.
fn times(metric: &Metric, ours: f64, theirs: f64) -> Option<f64> {
    let times = if metric.more_is_better? { ours / theirs } else { theirs / ours };
    times.is_finite().then_some(times)
}

impl Cell {
    /// One of its numbers, if it is known.
    pub fn number(&self, nth: usize) -> Option<f64> {
        match self {
            Self::Numbers(measured) => measured.numbers.get(nth).copied().filter(|number| number.is_finite()),
            Self::Without(_) => None,
        }
    }
}

impl Table {
    /// Which metric is called that.
    pub fn metric(&self, title: &str) -> Option<(usize, &Metric)> {
        self.metrics.iter().enumerate().find(|(_, metric)| metric.title == title)
    }

    /// What is known of a client by one metric.
    pub fn numbers(&self, client: &str, nth: usize) -> Vec<f64> {
        self.cells.get(client).into_iter().flatten().filter_map(|cell| cell.number(nth)).collect()
    }

    /// A client's median by the metric of this title.
    pub fn median(&self, client: &str, title: &str) -> Option<f64> {
        let (nth, _) = self.metric(title)?;
        median(&self.numbers(client, nth))
    }

    /// How many times better bitween is than one client, as the median of what the rounds say each.
    pub fn ratio(&self, client: &str, nth: usize) -> Option<f64> {
        let metric = self.metrics.get(nth)?;
        let (ours, theirs) = (self.cells.get("bitween")?, self.cells.get(client)?);
        let pairs = ours.iter().zip(theirs);
        let ratios = pairs.filter_map(|(ours, theirs)| times(metric, ours.number(nth)?, theirs.number(nth)?));
        median(&ratios.collect::<Vec<_>>())
    }

    /// How many times better bitween is than the best of these clients in each round, as the median over the rounds.
    pub fn ratio_to_best(&self, clients: &[&str], nth: usize) -> Option<f64> {
        let metric = self.metrics.get(nth)?;
        let ratio = |round: usize, ours: &Cell| {
            let theirs = clients.iter().filter_map(|client| self.cells.get(*client)?.get(round)?.number(nth));
            let best = theirs.reduce(|one, other| if better(metric, other, one) { other } else { one })?;
            times(metric, ours.number(nth)?, best)
        };
        let ours = self.cells.get("bitween")?.iter().enumerate();
        median(&ours.filter_map(|(round, ours)| ratio(round, ours)).collect::<Vec<_>>())
    }

    /// Which of these clients has the best median.
    pub fn best<'a>(&self, clients: &[&'a str], nth: usize) -> Option<(&'a str, f64)> {
        let metric = self.metrics.get(nth)?;
        let medians = clients.iter().filter_map(|client| Some((*client, median(&self.numbers(client, nth))?)));
        medians.reduce(|one, other| if better(metric, other.1, one.1) { other } else { one })
    }
}
