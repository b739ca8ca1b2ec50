//! One login that tells nobody: no presence, nothing published, nothing remembered. For `bitween doctor`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::connection::{Connection, Incoming, Timing};
use super::error::ConnectError;
use super::facts::Facts;
use super::port::{Port, now};
use super::worker::account_options;
use crate::component::event::Account;
use crate::proto::xmpp::sasl::Mechanism;
use crate::proto::xmpp::time;

/// Somebody is watching: each step gets less time than for a daemon, which has all day.
const TIMING: Timing = Timing {
    look_up: Duration::from_secs(8),
    connect: Duration::from_secs(5),
    login: Duration::from_secs(10),
    silence: Duration::from_secs(60),
    answer: Duration::from_secs(30),
};
/// How long the server may think about what time it is.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// A login that worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// How it was done, such as "SCRAM-SHA-256".
    pub mechanism: &'static str,
    /// Seconds that the clock of this machine is ahead of the server's, if the server tells its time.
    pub clock_ahead: Option<i64>,
}

/// Logs in and out again. `facts` is the file with what was learned of accounts, if it is there.
///
/// # Errors
/// The step that failed, in a few words, and why.
pub fn try_login(account: &Account, facts: Option<PathBuf>) -> Result<Trial, (&'static str, String)> {
    let mut options = account_options(account).map_err(|error| ("the settings", error))?;
    options.timing = TIMING;
    Facts::new(facts.filter(|path| path.exists())).apply(account, &mut options);
    let failed = |error: ConnectError| (error.step(), error.to_string());
    let mut port = Port::new().map_err(|error| failed(error.into()))?;
    let mut connection = Connection::open(&options, &mut port).map_err(failed)?;
    let mechanism = connection.mechanism().map_or("", Mechanism::name);
    let clock_ahead = ask_time(&mut connection);
    connection.close();
    Ok(Trial { mechanism, clock_ahead })
}

fn ask_time(connection: &mut Connection<'_>) -> Option<i64> {
    let domain = connection.jid().domain().to_string();
    connection.send(time::question(&domain).as_bytes()).ok()?;
    let until = now() + TIME_LIMIT;
    loop {
        let Incoming::Stanza(stanza) = connection.next(until).ok()? else { return None };
        if let Some(told) = time::answer(&stanza) {
            return here()?.checked_sub(told?);
        }
    }
}

/// Seconds since 1970, as this machine has it.
#[expect(clippy::disallowed_methods, reason = "a component is where real time comes in")]
fn here() -> Option<i64> {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}
