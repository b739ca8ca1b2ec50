//! The thread of the local network as the supervisor sees it. That it cannot start is worth a warning, no more.

use crate::component::event::Bus;
use crate::component::local::{LocalOptions, LocalThread};
use crate::component::snapshot::{Contacts, OwnCatalog, Published, Torrents};
use crate::config::Config;

use super::{options, remembered};

/// The thread, unless it is switched off or could not be started.
pub(super) struct Neighborhood(Option<LocalThread>);

impl Neighborhood {
    /// Starts the thread if it is wanted.
    pub(super) fn start(
        config: &Config,
        bus: &Bus,
        contacts: &Published<Contacts>,
        torrents: &Published<Torrents>,
        catalog: &Published<OwnCatalog>,
    ) -> Self {
        let started = options::local(config).and_then(|options| {
            let with_catalog = |options| LocalOptions { catalog: Some(catalog.clone()), ..options };
            let start = |options| LocalThread::start(with_catalog(options), bus.clone(), contacts, torrents);
            options.map(start).transpose().map_err(|error| error.to_string())
        });
        let thread = started.unwrap_or_else(|reason| {
            log::warn!("neighbours in the local network are not met: {reason}");
            None
        });
        if let Some(thread) = &thread {
            remembered::keep_local_port(&config.data_dir, thread.port());
        }
        Self(thread)
    }

    /// It runs, or is not to run.
    pub(super) fn is_running(&self) -> bool {
        self.0.as_ref().is_none_or(LocalThread::is_running)
    }

    /// Says goodbye to the neighbours.
    pub(super) fn stop(&mut self) {
        if let Some(mut thread) = self.0.take() {
            thread.stop();
        }
    }
}
