//! XMPP accounts and the clock, which their servers know better.

use super::super::error::CliError;
use super::super::output::clean;
use super::super::status::state_text;
use super::Subject;
use super::report::{Check, Report};
use crate::component::rpc::types::{Account, AccountState};
use crate::config;
use crate::daemon::try_login;
use crate::proto::account::is_same_account;

/// Seconds that the clock may be wrong: more, and certificates and lists of others begin to look too old or too new.
const MOST_WRONG: u64 = 60;

pub(super) fn examine(subject: &Subject, report: &mut Report) -> Result<(), CliError> {
    let accounts = match subject.config.accounts() {
        Ok(accounts) => accounts,
        Err(error) => return report.add(Check::failed("account", clean(&error.to_string()), "")),
    };
    let running = subject.daemon.as_ref().map_or(&[][..], |daemon| &daemon.accounts);
    if accounts.is_empty() && running.iter().all(|account| account.jid.is_none()) {
        let text = "none: shares travel in this network only; `bitween account set you@example.org` sets one";
        report.add(Check::ok("account", text.to_owned()))?;
    }
    let mut clock = None;
    for account in &accounts {
        let is = |other: &&Account| other.jid.as_deref().is_some_and(|jid| is_same_account(jid, account.jid.bare()));
        let (check, ahead) = examine_account(subject, account, running.iter().find(is));
        report.add(check)?;
        clock = clock.or(ahead);
    }
    // What the daemon was asked for at its start, or has of a folder that this user cannot read.
    for account in running {
        let Some(jid) = &account.jid else { continue };
        if !accounts.iter().any(|known| is_same_account(jid, known.jid.bare())) {
            report.add(as_the_daemon_says(account, jid))?;
        }
    }
    report.add(clock_check(clock))
}

/// Tries it, but for one whose password only the daemon knows. Also how far this machine's clock is ahead.
fn examine_account(subject: &Subject, account: &config::Account, running: Option<&Account>) -> (Check, Option<i64>) {
    let jid = clean(account.jid.bare());
    if account.password.is_none() {
        return match running {
            Some(running) => (as_the_daemon_says(running, &jid), None),
            None => {
                let remedy = format!("bitween account set {jid}");
                (Check::failed("account", format!("{jid}: no password is stored"), &remedy), None)
            }
        };
    }
    match try_login(&subject.config, account) {
        Ok(trial) => {
            let check = match running {
                Some(running) if running.state != AccountState::Online => {
                    let said = running.error.as_deref().map(|error| format!(": {}", clean(error))).unwrap_or_default();
                    let state = state_text(running.state);
                    let text = format!("{jid}: a login works now, but the daemon's is {state}{said}");
                    Check::warning("account", text, "it tries again soon; if it does not, restart it")
                }
                _ => Check::ok("account", format!("{jid}: logged in ({})", trial.mechanism)),
            };
            (check, trial.clock_ahead)
        }
        Err((step, reason)) => {
            let remedy = match step {
                "finding the server" => "is the domain spelled right, does this machine's name server answer?",
                "connecting" => "is the server up, and does no firewall forbid the way to it?",
                "logging in" => "if the password is wrong: `bitween account set` with the right one",
                _ => "",
            };
            (Check::failed("account", format!("{jid}: {step} failed: {}", clean(&reason)), remedy), None)
        }
    }
}

fn as_the_daemon_says(account: &Account, jid: &str) -> Check {
    let said = account.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    let text = clean(&format!("{jid}: the daemon says {}{said}", state_text(account.state)));
    match account.state {
        AccountState::Online => Check::ok("account", text),
        AccountState::Connecting => Check::unknown("account", text),
        _ => Check::failed("account", text, &format!("bitween account set {}", clean(jid))),
    }
}

fn clock_check(ahead: Option<i64>) -> Check {
    let Some(ahead) = ahead else {
        return Check::unknown("clock", "no server told its time, so there is nothing to compare with".to_owned());
    };
    let by = ahead.unsigned_abs();
    if by <= MOST_WRONG {
        return Check::ok("clock", format!("right, as far as the server's is ({by} s apart)"));
    }
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let text = format!("{by} s {side} the server's");
    Check::warning("clock", text, "set it, or let NTP do it: `timedatectl set-ntp true`")
}
