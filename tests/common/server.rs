//! One XMPP server of several kinds, so that a test can be done on each of them.

use std::path::PathBuf;
use std::time::Duration;

use super::ejabberd::{self, Ejabberd, EjabberdOptions};
use super::prosody::{self, Prosody, ProsodyOptions};

/// How long the servers keep a broken stream. Also how long somebody who was cut off is still shown online.
pub const RESUMABLE_SECONDS: u32 = 8;

/// Where accounts are.
pub trait Server {
    /// Its address, as text for an account's `server` option.
    fn server(&self) -> String;
    /// The certificate authority (PEM) that signed its certificate.
    fn ca_file(&self) -> PathBuf;
}

impl Server for Prosody {
    fn server(&self) -> String {
        Self::server(self)
    }

    fn ca_file(&self) -> PathBuf {
        Self::ca_file(self)
    }
}

impl Server for Ejabberd {
    fn server(&self) -> String {
        Self::server(self)
    }

    fn ca_file(&self) -> PathBuf {
        Self::ca_file(self)
    }
}

/// The kinds of servers that people have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Prosody,
    /// As slow as Debian's configuration makes it: 10 kB/s.
    ProsodyLimits,
    Ejabberd,
    /// As slow as Debian's configuration makes it: 3 kB/s.
    EjabberdLimits,
}

/// A running server that takes broken streams up again.
pub enum AnyServer {
    Prosody(Prosody),
    Ejabberd(Ejabberd),
}

impl AnyServer {
    /// Starts one with these accounts, of which these pairs see each other. `None` if the program is not installed.
    pub fn start(kind: Kind, users: &[(&str, &str)], contacts: &[(&str, &str)]) -> Option<Self> {
        match kind {
            Kind::Prosody | Kind::ProsodyLimits => prosody::installed().then(|| {
                let limits = kind == Kind::ProsodyLimits;
                let extra_config = format!("smacks_hibernation_time = {RESUMABLE_SECONDS}");
                let options =
                    ProsodyOptions { users, contacts, limits, modules: &["blocklist", "smacks"], ..Default::default() };
                Self::Prosody(Prosody::start(ProsodyOptions { extra_config: &extra_config, ..options }))
            }),
            Kind::Ejabberd | Kind::EjabberdLimits => ejabberd::installed().then(|| {
                let limits = kind == Kind::EjabberdLimits;
                let resumable = Some(RESUMABLE_SECONDS);
                Self::Ejabberd(Ejabberd::start_with(EjabberdOptions { users, contacts, limits, resumable }))
            }),
        }
    }

    /// How soon a change of a few shares is seen.
    pub const fn soon(&self) -> Duration {
        match self {
            Self::Prosody(_) => Duration::from_secs(3),
            Self::Ejabberd(_) => Duration::from_secs(6),
        }
    }

    /// Ends it in order: clients are told.
    pub fn stop(&mut self) {
        match self {
            Self::Prosody(server) => server.stop(),
            Self::Ejabberd(server) => server.stop(),
        }
    }

    /// Ends it without a word to anybody, as a power cut would.
    pub fn kill(&mut self) {
        match self {
            Self::Prosody(server) => server.kill(),
            Self::Ejabberd(server) => server.kill(),
        }
    }

    /// Starts it again, with what it had stored.
    pub fn resume(&mut self) {
        match self {
            Self::Prosody(server) => server.resume(),
            Self::Ejabberd(server) => server.resume(),
        }
    }

    /// Makes it hang, or go on.
    pub fn freeze(&self, frozen: bool) {
        match self {
            Self::Prosody(server) if frozen => server.freeze(),
            Self::Prosody(server) => server.thaw(),
            Self::Ejabberd(server) if frozen => server.freeze(),
            Self::Ejabberd(server) => server.thaw(),
        }
    }
}

impl Server for AnyServer {
    fn server(&self) -> String {
        match self {
            Self::Prosody(server) => server.server(),
            Self::Ejabberd(server) => server.server(),
        }
    }

    fn ca_file(&self) -> PathBuf {
        match self {
            Self::Prosody(server) => server.ca_file(),
            Self::Ejabberd(server) => server.ca_file(),
        }
    }
}

/// Makes four tests of each function, one for each kind of server: `on_every_server! { fn name(server: &mut AnyServer) {
/// .. } }`. The module that uses it says how a server is started, with `fn start(kind: Kind) -> Option<AnyServer>`.
#[macro_export]
macro_rules! on_every_server {
    ($($(#[$attribute:meta])* fn $name:ident($server:ident: &mut AnyServer) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            use super::*;

            fn test($server: &mut AnyServer) $body

            fn on(kind: Kind) {
                if let Some(mut server) = start(kind) {
                    test(&mut server);
                }
            }

            #[test]
            fn prosody() {
                on(Kind::Prosody);
            }

            #[test]
            fn prosody_limits() {
                on(Kind::ProsodyLimits);
            }

            #[test]
            fn ejabberd() {
                on(Kind::Ejabberd);
            }

            #[test]
            fn ejabberd_limits() {
                on(Kind::EjabberdLimits);
            }
        }
    )*};
}
