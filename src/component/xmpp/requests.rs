//! Commands of other threads that wait for their outcome: contacts added and removed, accounts set and taken away.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jid::BareJid;

use super::farewell::Asker;
use super::port::now;
use super::tell::Teller;
use super::worker::{Worker, account_options, full_jid};
use crate::bus::Reply;
use crate::component::event::{Account, ContactCommand, ControlError, Told};
use crate::proto::xmpp::{Command, CommandError};

/// Where the outcome of a command goes.
pub(super) type Answer = Reply<Result<(), ControlError>>;

/// Whoever waits for a server hears within this time how it goes; callers wait ten seconds.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(8);

#[derive(Default)]
pub(super) struct Requests {
    next_tag: u64,
    /// Commands that the session carries out.
    commands: HashMap<u64, Answer>,
    /// A new account that has not logged in yet.
    pub(super) login: Option<Login>,
    /// The account in use is being left.
    leave: Option<Leave>,
}

pub(super) struct Login {
    reply: Answer,
    /// Then the caller hears that the server has not answered yet.
    pub(super) answer_by: Instant,
    /// The account before it, to go back to if the new one is refused.
    old: Option<Old>,
}

pub(super) struct Old {
    account: Arc<Account>,
    /// Nothing that it announced has to be taken off its server any more.
    settled: bool,
}

struct Leave {
    /// `None` if whoever asked waits for the next account's log-in.
    asker: Option<Asker>,
    next: Option<Arc<Account>>,
    /// Everything is being taken off the server.
    for_good: bool,
}

impl Requests {
    pub(super) fn done(&mut self, tag: u64, result: Result<(), CommandError>, teller: &mut Teller) {
        if let Some(reply) = self.commands.remove(&tag) {
            teller.answer(reply, result.map_err(|error| ControlError::Refused(error.to_string())));
        }
    }

    /// The goodbye to an account is being said.
    pub(super) fn is_leaving(&self) -> bool {
        self.leave.is_some()
    }

    /// The stream is gone: nobody will answer what was asked on it.
    pub(super) fn disconnected(&mut self, problem: &str, teller: &mut Teller) {
        for (_, reply) in self.commands.drain() {
            teller.answer(reply, Err(ControlError::Offline(problem.to_owned())));
        }
    }

    pub(super) fn fail_all(&mut self, error: &ControlError) {
        let login = self.login.take().map(|login| login.reply);
        let leave = self.leave.take().and_then(|leave| leave.asker).map(|asker| asker.reply);
        for reply in self.commands.drain().map(|(_, reply)| reply).chain(login).chain(leave) {
            reply.send(Err(error.clone()));
        }
    }
}

impl Worker {
    pub(super) fn contact_command(&mut self, command: ContactCommand) {
        match command {
            ContactCommand::Add { jid, name, groups, reply } => {
                self.roster_command(&jid, reply, |jid| Command::Add { jid, name, groups });
            }
            ContactCommand::Accept { jid, reply } => self.roster_command(&jid, reply, Command::Accept),
            ContactCommand::Refuse { jid, reply } => self.roster_command(&jid, reply, Command::Refuse),
            ContactCommand::Rename { jid, name, reply } => {
                self.roster_command(&jid, reply, |jid| Command::Rename { jid, name });
            }
            ContactCommand::SetGroups { jid, groups, reply } => {
                self.roster_command(&jid, reply, |jid| Command::SetGroups { jid, groups });
            }
            ContactCommand::Block { jid, reply } => self.session_command(&jid, reply, true, Command::Block),
            ContactCommand::Unblock { jid, reply } => self.session_command(&jid, reply, true, Command::Unblock),
            ContactCommand::Remove { jid, reply } => self.roster_command(&jid, reply, Command::Remove),
            ContactCommand::SetAccount { account, reply } => self.set_account(account, reply),
            ContactCommand::RemoveAccount { reply } => self.remove_account(reply),
        }
    }

    fn roster_command(&mut self, jid: &str, reply: Answer, command: impl FnOnce(BareJid) -> Command) {
        self.session_command(jid, reply, false, command);
    }

    /// `offline`: the session can do it without a server.
    fn session_command(&mut self, jid: &str, reply: Answer, offline: bool, command: impl FnOnce(BareJid) -> Command) {
        let Ok(bare) = jid.parse::<BareJid>() else {
            reply.send(Err(ControlError::Refused(format!("{jid} is no bare JID (user@domain)"))));
            return;
        };
        let Some(session) = self.session.as_mut().filter(|_| self.live || offline) else {
            let problem = self.status.as_ref().map(|account| account.problem.clone());
            let error = match problem {
                Some(problem) => ControlError::Offline(problem.unwrap_or_else(|| "still connecting".to_owned())),
                None => ControlError::NoAccount,
            };
            reply.send(Err(error));
            return;
        };
        let tag = self.requests.next_tag;
        self.requests.next_tag += 1;
        self.requests.commands.insert(tag, reply);
        session.command(now(), tag, command(bare));
    }

    fn set_account(&mut self, account: Arc<Account>, reply: Answer) {
        if self.requests.is_leaving() {
            reply.send(Err(ControlError::Refused("another account is being left; try again in a moment".to_owned())));
            return;
        }
        self.facts.forget_publish_limit(&account);
        let account = self.facts.with_resource(account);
        // A new account that could not log in yet is forgotten; the one before it is still the one to go back to.
        let old = match self.requests.login.take() {
            Some(earlier) => {
                earlier.reply.send(Err(ControlError::Refused("another account was set meanwhile".to_owned())));
                earlier.old
            }
            None => self.account.clone().map(|account| Old { account, settled: false }),
        };
        self.requests.login = Some(Login { reply, answer_by: now() + ANSWER_WITHIN, old });
        // The same account with another password or server: its shares stay where they are.
        let same = self.account.as_ref().is_some_and(|used| full_jid(used) == full_jid(&account));
        match self.session.as_mut().filter(|_| self.live) {
            Some(session) => {
                self.requests.leave = Some(Leave { asker: None, next: Some(account), for_good: !same });
                session.part(now(), !same);
            }
            None => {
                if !same {
                    self.teller.tell(Told::Left);
                }
                self.use_account(account);
            }
        }
    }

    fn remove_account(&mut self, reply: Answer) {
        let Some(account) = self.account.clone().filter(|_| !self.requests.is_leaving()) else {
            reply.send(Err(ControlError::NoAccount));
            return;
        };
        if let Some(login) = self.requests.login.take() {
            login.reply.send(Err(ControlError::Refused("the account was removed meanwhile".to_owned())));
            self.farewell_to(login.old);
        }
        let asker = Some(Asker { reply, answer_by: now() + ANSWER_WITHIN });
        match self.session.as_mut().filter(|_| self.live) {
            Some(session) => {
                self.requests.leave = Some(Leave { asker, next: None, for_good: true });
                session.part(now(), true);
            }
            None => {
                self.use_none();
                self.say_farewell(&account, asker);
                self.facts.forget_login(&account);
                self.facts.forget_requests(&account);
            }
        }
    }

    /// The account in use has been left: goes on with the one that follows, and sees to it that nothing of it stays.
    pub(super) fn left(&mut self, withdrawn: bool) {
        let (Some(leave), Some(account)) = (self.requests.leave.take(), self.account.clone()) else { return };
        match (leave.next, leave.asker) {
            (Some(next), _) => {
                // There is an account at every moment, or commands would be taken for those of another one.
                self.teller.tell(Told::Left);
                // Whether the old one is left for good is known when the new one has logged in.
                if let Some(old) = self.requests.login.as_mut().and_then(|login| login.old.as_mut()) {
                    old.settled |= leave.for_good && withdrawn;
                }
                self.use_account(next);
            }
            (None, Some(asker)) if withdrawn => {
                self.use_none();
                self.facts.forget_login(&account);
                self.facts.forget_requests(&account);
                self.teller.answer(asker.reply, Ok(()));
            }
            (None, asker) => {
                self.use_none();
                self.say_farewell(&account, asker);
                self.facts.forget_login(&account);
                self.facts.forget_requests(&account);
            }
        }
    }

    /// The new account is in use from now on: it has logged in, or whether it can is not known yet.
    pub(super) fn keep_account(&mut self, outcome: Result<(), ControlError>) {
        let Some(login) = self.requests.login.take() else { return };
        self.farewell_to(login.old);
        if let Some(account) = self.account.as_ref().filter(|_| !self.live) {
            self.facts.forget_login(account);
        }
        self.teller.answer(login.reply, outcome);
    }

    /// The new account is refused: the one before it is used again.
    pub(super) fn refuse_account(&mut self, problem: String) {
        let Some(login) = self.requests.login.take() else { return };
        match login.old {
            Some(old) => self.use_account(old.account),
            None => self.use_none(),
        }
        self.teller.answer(login.reply, Err(ControlError::Refused(problem)));
    }

    /// Answers whoever has waited long enough for a new account to log in.
    pub(super) fn answer_late_login(&mut self) {
        if self.requests.login.as_ref().is_some_and(|login| login.answer_by <= now()) {
            self.keep_account(Err(ControlError::Offline("the server has not answered yet".to_owned())));
        }
    }

    fn farewell_to(&mut self, old: Option<Old>) {
        let Some(old) = old.filter(|old| !old.settled) else { return };
        let in_use = self.account.as_ref().is_some_and(|used| full_jid(used) == full_jid(&old.account));
        if !in_use {
            self.say_farewell(&old.account, None);
        }
    }

    fn say_farewell(&mut self, account: &Account, asker: Option<Asker>) {
        match (account_options(account), self.new_session(account)) {
            (Ok(mut options), Ok(session)) => {
                self.facts.apply(account, &mut options);
                self.farewells.begin(options, session, asker);
            }
            // An account that could never be used has announced nothing.
            (Err(_), _) | (_, Err(_)) => {
                if let Some(asker) = asker {
                    self.teller.answer(asker.reply, Ok(()));
                }
            }
        }
    }
}
