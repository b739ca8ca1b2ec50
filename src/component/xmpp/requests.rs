//! Commands of other threads that wait for their outcome: contacts added and removed, accounts set and taken away.

use std::collections::HashMap;
use std::sync::Arc;

use jid::BareJid;

use super::worker::{Worker, full_jid, now};
use crate::bus::Reply;
use crate::component::event::{Account, ContactCommand, ControlError};
use crate::proto::xmpp::{Command, CommandError};

type Answer = Reply<Result<(), ControlError>>;

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
    pub(super) reply: Answer,
    /// The account to go back to if the new one is refused.
    pub(super) old: Option<Arc<Account>>,
}

struct Leave {
    /// `None` if whoever asked waits for the next account's log-in.
    reply: Option<Answer>,
    next: Option<Arc<Account>>,
}

impl Requests {
    pub(super) fn done(&mut self, tag: u64, result: Result<(), CommandError>) {
        if let Some(reply) = self.commands.remove(&tag) {
            reply.send(result.map_err(|error| ControlError::Refused(error.to_string())));
        }
    }

    pub(super) fn logged_in(&mut self) {
        if let Some(login) = self.login.take() {
            login.reply.send(Ok(()));
        }
    }

    /// The goodbye to an account is being said.
    pub(super) fn is_leaving(&self) -> bool {
        self.leave.is_some()
    }

    /// The stream is gone: nobody will answer what was asked on it.
    pub(super) fn disconnected(&mut self, problem: &str) {
        for (_, reply) in self.commands.drain() {
            reply.send(Err(ControlError::Offline(problem.to_owned())));
        }
    }

    /// The account has been left. Answers with the one that follows.
    pub(super) fn left(&mut self) -> Option<Arc<Account>> {
        let Leave { reply, next } = self.leave.take()?;
        if let Some(reply) = reply {
            reply.send(Ok(()));
        }
        next
    }

    pub(super) fn fail_all(&mut self, error: &ControlError) {
        let login = self.login.take().map(|login| login.reply);
        let leave = self.leave.take().and_then(|leave| leave.reply);
        for reply in self.commands.drain().map(|(_, reply)| reply).chain(login).chain(leave) {
            reply.send(Err(error.clone()));
        }
    }
}

impl Worker {
    pub(super) fn contact_command(&mut self, command: ContactCommand) {
        match command {
            ContactCommand::Add { jid, name, reply } => {
                self.roster_command(&jid, reply, |jid| Command::Add { jid, name });
            }
            ContactCommand::Accept { jid, reply } => self.roster_command(&jid, reply, Command::Accept),
            ContactCommand::Remove { jid, reply } => self.roster_command(&jid, reply, Command::Remove),
            ContactCommand::SetAccount { account, reply } => self.set_account(account, reply),
            ContactCommand::RemoveAccount { reply } => self.remove_account(reply),
        }
    }

    fn roster_command(&mut self, jid: &str, reply: Answer, command: impl FnOnce(BareJid) -> Command) {
        let Ok(bare) = jid.parse::<BareJid>() else {
            reply.send(Err(ControlError::Refused(format!("{jid} is no bare JID (user@domain)"))));
            return;
        };
        let Some(session) = self.session.as_mut().filter(|_| self.live) else {
            let problem = self.model.contacts.account.as_ref().map(|account| account.problem.clone());
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
        // A new account that could not log in yet is forgotten; the one before it is still the one to go back to.
        let old = match self.requests.login.take() {
            Some(earlier) => {
                earlier.reply.send(Err(ControlError::Refused("another account was set meanwhile".to_owned())));
                earlier.old
            }
            None => self.account.clone(),
        };
        self.requests.login = Some(Login { reply, old });
        // The same account with another password or server: its shares stay where they are.
        let same = self.account.as_ref().is_some_and(|used| full_jid(used) == full_jid(&account));
        match self.session.as_mut().filter(|_| self.live) {
            Some(session) => {
                self.requests.leave = Some(Leave { reply: None, next: Some(account) });
                session.part(now(), !same);
            }
            None => {
                if !same {
                    self.warn_of_remains();
                    self.model.forget_contacts();
                }
                self.use_account(account);
            }
        }
    }

    fn remove_account(&mut self, reply: Answer) {
        if self.account.is_none() || self.requests.is_leaving() {
            reply.send(Err(ControlError::NoAccount));
            return;
        }
        if let Some(login) = self.requests.login.take() {
            login.reply.send(Err(ControlError::Refused("the account was removed meanwhile".to_owned())));
        }
        self.requests.leave = Some(Leave { reply: Some(reply), next: None });
        match self.session.as_mut().filter(|_| self.live) {
            Some(session) => session.part(now(), true),
            // One attempt to take everything off the server.
            None if self.next_attempt.is_some() => self.next_attempt = Some(now()),
            None => {
                self.warn_of_remains();
                self.parted();
            }
        }
    }

    /// An account is left without a connection to its server. Whoever has it as a contact sees it offline, and its next
    /// log-in clears what it announced.
    fn warn_of_remains(&mut self) {
        if let Some(account) = self.account.as_ref().filter(|_| std::mem::take(&mut self.has_announced)) {
            let text = format!("{} is not connected: what it announced last stays on its server", account.jid);
            self.model.warn(text);
        }
    }
}
