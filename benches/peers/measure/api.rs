//! How long a daemon takes to answer a call, asked all the time while it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::clients::call;
use crate::trouble::Trouble;

/// Time from one answer to the next question.
const PAUSE: Duration = Duration::from_millis(10);

/// Somebody who keeps asking.
pub struct Answers {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<f64>, Trouble>>>,
}

impl Answers {
    /// Begins to ask for the state of all torrents.
    pub fn watch(api: &str) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (stop, api) = (Arc::clone(&done), api.to_owned());
        let thread = thread::spawn(move || {
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                call(&api, "bt.status", &json!({}))?;
                times.push(start.elapsed().as_secs_f64());
                thread::sleep(PAUSE);
            }
            Ok(times)
        });
        Self { done, thread: Some(thread) }
    }

    /// Ends it. The time in milliseconds within which 99 of 100 answers came; a call without an answer is a failure.
    pub fn stop(mut self) -> Result<f64, Trouble> {
        let mut times = self.join()?;
        times.sort_by(f64::total_cmp);
        Ok(times.get(times.len() * 99 / 100).map_or(f64::NAN, |seconds| 1000.0 * seconds))
    }

    fn join(&mut self) -> Result<Vec<f64>, Trouble> {
        self.done.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_else(|| Ok(Vec::new()))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        let _ = self.join();
    }
}
