//! A component's thread, as whoever started it sees it: is it alive, and end it in order.

use std::io;
use std::thread::JoinHandle;

use super::event::{Bus, Event, Part};
use crate::bus::spawn;

/// A thread that ends when the bus says [`Event::Stop`] of its part. Dropping this stops it.
#[derive(Debug)]
pub(in crate::component) struct Running {
    thread: Option<JoinHandle<()>>,
    part: Part,
    bus: Bus,
}

impl Running {
    /// Starts a thread of this name, which must have subscribed to its part's stop before.
    pub(in crate::component) fn start(
        name: &str,
        part: Part,
        bus: Bus,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let thread = spawn(name, run)?;
        Ok(Self { thread: Some(thread), part, bus })
    }

    /// True while the thread runs.
    pub(in crate::component) fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Tells the thread to end and waits until it has.
    pub(in crate::component) fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let name = thread.thread().name().unwrap_or("unnamed").to_owned();
        if self.bus.publish(Event::Stop(self.part)).is_err() {
            debug!("the {name} thread has ended already");
        }
        if thread.join().is_err() {
            log::error!("the {name} thread panicked");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::event::Topic;

    #[test]
    fn it_lives_until_it_is_stopped_and_may_be_stopped_twice() {
        let bus = Bus::new();
        let inbox = bus.subscribe("test", &[Topic::StopLibrary], 1);
        let run = move || assert!(matches!(inbox.recv(), Ok(Event::Stop(Part::Library))));
        let mut running = Running::start("test", Part::Library, bus, run).unwrap();
        assert!(running.is_alive());
        running.stop();
        assert!(!running.is_alive());
        running.stop();
    }

    #[test]
    fn a_thread_that_panicked_is_not_alive_and_does_not_spread_it() {
        let mut running = Running::start("test", Part::Library, Bus::new(), || panic!("on purpose")).unwrap();
        running.stop();
        assert!(!running.is_alive());
    }
}
