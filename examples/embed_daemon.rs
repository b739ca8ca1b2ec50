//! A whole daemon inside another program: start it, share a file over its bus, look at the torrents, stop it.
//!
//! `cargo run --example embed_daemon -- FILE`. It keeps its files in a folder of its own and uses no account.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bitween::component::ask::ask;
use bitween::component::event::Event;
use bitween::config::Overrides;
use bitween::{Config, Daemon};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path: PathBuf = std::env::args_os().nth(1).ok_or("which file is to be shared?")?.into();
    let path = path.canonicalize()?;
    let folder = std::env::temp_dir().join(format!("bitween-embedded-{}", std::process::id()));
    // An empty configuration is a good one: everything has a default. This one keeps away from neighbours.
    let overrides = Overrides { data_dir: Some(folder.clone()), port: Some(0), ..Overrides::default() };
    let daemon = Daemon::start(Config::from_text("local = 'off'", None, &overrides)?)?;
    let mut out = std::io::stdout();
    writeln!(out, "the interface is {}, peers connect to port {}", daemon.api_url(), daemon.port())?;
    let hash = ask(daemon.bus(), "the library", Duration::from_secs(600), |reply| Event::GenerateTorrent {
        path,
        progress: Arc::default(),
        reply,
    })?;
    writeln!(out, "serving {hash}; stopping now")?;
    daemon.stop();
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
