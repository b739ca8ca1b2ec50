//! A whole daemon in this process, without an XMPP server: components that end are started anew.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::component::ask::ask;
use crate::component::event::Part;
use crate::config::Overrides;

fn config(dir: &Path) -> Config {
    config_with(dir, "")
}

fn config_with(dir: &Path, more: &str) -> Config {
    let overrides = Overrides { data_dir: Some(dir.join("data")), port: Some(0), ..Overrides::default() };
    let text = format!(
        "download_dir = '{}'\nlocal = 'off'\n[bittorrent]\nbind = ['127.0.0.1']\n{more}",
        dir.join("downloads").display()
    );
    Config::from_text(&text, None, &overrides).unwrap()
}

#[test]
fn components_that_end_are_started_anew_and_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(config(dir.path())).unwrap();
    let port = daemon.port();
    for part in [Part::Library, Part::Bt] {
        daemon.bus().publish(Event::Stop(part)).unwrap();
        heal_until_new(&mut daemon, &format!("{part:?}"));
        let answer = ask(daemon.bus(), "the list", Duration::from_secs(10), |reply| Event::SyncLibrary { reply });
        assert!(answer.is_ok(), "{part:?}");
    }
    assert_eq!(daemon.port(), port, "contacts know us by it");
    for _ in 0..2 {
        daemon.bus().publish(Event::Stop(Part::Library)).unwrap();
        heal_until_new(&mut daemon, "the list");
    }
    daemon.bus().publish(Event::Stop(Part::Library)).unwrap();
    let error = daemon.wait().unwrap_err();
    assert!(matches!(error, DaemonError::Unstable { times: 3, .. }), "{error}");
    assert!(!dir.path().join("data").join(crate::config::DAEMON_FILE).exists());
}

/// A thread that panicked is replaced by one that logs in anew and knows what is shared and where.
#[cfg(feature = "xmpp")]
#[test]
fn an_xmpp_thread_that_panics_is_started_anew_with_all_it_needs() {
    use crate::component::event::{ContactCommand, ControlError};
    use crate::component::snapshot::AccountState;
    use crate::types::AccountKey;

    let dir = tempfile::tempdir().unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let account = format!(
        "[xmpp]\njid = 'alice@localhost'\npassword = 'x'\nallow_loopback_peers = true\nserver = '{}'",
        server.local_addr().unwrap()
    );
    let mut daemon = Daemon::start(config_with(dir.path(), &account)).unwrap();
    let _first = server.accept().unwrap();
    let (contacts, port) = (daemon.parts.contacts.clone(), daemon.port());
    let bus = daemon.bus().clone();
    daemon.parts.replace_xmpp(crate::component::xmpp::XmppThread::panicking(bus));
    heal_until_new(&mut daemon, "XMPP");

    let _second = server.accept().unwrap();
    let known = contacts.read();
    assert!(known.own_addresses().any(|address| address.port() == port), "{:?}", known.endpoint);
    assert_eq!(known.account().map(|account| account.state), Some(AccountState::Connecting));
    let answer = ask(daemon.bus(), "XMPP", Duration::from_secs(5), |reply| {
        let command = ContactCommand::Accept { jid: "bob@localhost".into(), reply };
        Event::Contacts { account: AccountKey::FIRST, command }
    });
    assert!(matches!(answer, Err(ControlError::Offline(_))), "somebody listens: {answer:?}");
    daemon.stop();
}

/// Lets the supervisor look until nobody is missing and the topic that stopped the part has a listener again.
fn heal_until_new(daemon: &mut Daemon, part: &str) {
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(20));
        let before = daemon.parts.restarted();
        daemon.parts.heal().unwrap();
        if daemon.parts.restarted() > before {
            return;
        }
    }
    panic!("{part} was not started anew");
}

#[test]
fn exit_on_the_bus_ends_it_and_frees_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(config(dir.path())).unwrap();
    assert!(matches!(Daemon::start(config(dir.path())), Err(DaemonError::Config(_))));
    daemon.bus().publish(Event::Exit).unwrap();
    daemon.wait().unwrap();
    Daemon::start(config(dir.path())).unwrap().stop();
}
