//! Connections that break, servers that die and hang: on every kind of server nothing is lost and nothing is doubled.

use std::thread;
use std::time::Duration;

use crate::common::line::Line;
use crate::common::server::{AnyServer, Kind, Server as _};
use crate::common::user::User;
use crate::{PATIENCE, daemon, file, on_every_server, online, servers, until};

/// Enough for a list of some tens of shares, on the slowest server.
const SLOW: Duration = Duration::from_secs(60);

/// What the log says when a broken stream goes on.
const GOES_ON: &str = "connected again as";

fn start(kind: Kind) -> Option<AnyServer> {
    servers::start(kind)
}

/// A running daemon on a line that can be cut.
pub fn on_a_line(server: &AnyServer, user: &str) -> (User, Line) {
    let line = Line::to(server.server().parse().unwrap());
    let mut person = daemon(server, user);
    person.edit_config(&server.server(), &line.address.to_string());
    person.start();
    person.wait_online();
    (person, line)
}

on_every_server! {
    fn a_cut_line_costs_nothing_that_was_said_meanwhile(server: &mut AnyServer) {
        let [alice] = online(server, ["alice"]);
        let first = alice.share(&file(&alice, "first.mkv", 10_000));
        let (bob, line) = on_a_line(server, "bob");
        until("bob sees it", server.soon(), || bob.can_get(&first));
        line.cut();
        until("bob notices", PATIENCE, || bob.account().0 == "offline");
        let second = alice.share(&file(&alice, "second.mkv", 10_000));
        alice.ok(&["unshare", &first]);
        assert!(bob.can_get(&first), "nobody has gone");
        let bobs = bob.ok(&["share", file(&bob, "bobs.mkv", 10_000).to_str().unwrap()]);
        line.mend();
        until("bob hears what was said", PATIENCE, || bob.can_get(&second) && bob.sees(&first).is_none());
        until("and says what he has", PATIENCE, || alice.can_get(bobs.trim()));
        assert!(bob.log().contains(GOES_ON) && line.connections() == 2, "{}", bob.log());
    }

    fn a_line_cut_in_the_middle_of_a_list_costs_nothing_of_it(server: &mut AnyServer) {
        let [bob] = online(server, ["bob"]);
        let (alice, line) = on_a_line(server, "alice");
        let files: Vec<_> = (0..60).map(|n| file(&alice, &format!("{n:0>60}"), 1000 + n)).collect();
        let mut arguments = vec!["share"];
        arguments.extend(files.iter().map(|path| path.to_str().unwrap()));
        line.cut_after(4_000);
        let hashes = alice.run_within(SLOW, &arguments).out;
        assert_eq!(hashes.lines().count(), files.len());
        until("bob sees all", SLOW, || bob.json(&["shares"]).as_array().unwrap().len() == files.len());
        assert!(alice.log().contains(GOES_ON) && line.connections() == 2, "{}", alice.log());
        assert_eq!(alice.account(), ("online".to_owned(), String::new()));
    }

    fn a_server_that_died_has_forgotten_the_stream_and_hears_everything_again(server: &mut AnyServer) {
        let [alice, bob] = online(server, ["alice", "bob"]);
        let first = alice.share(&file(&alice, "first.mkv", 10_000));
        until("bob sees it", server.soon(), || bob.can_get(&first));
        server.kill();
        until("both notice", PATIENCE, || [&alice, &bob].iter().all(|user| user.account().0 == "offline"));
        let second = alice.run(&["share", file(&alice, "second.mkv", 10_000).to_str().unwrap()]).out;
        server.resume();
        until("bob sees both", SLOW, || bob.can_get(&first) && bob.can_get(second.trim()));
        assert!(!bob.log().contains(GOES_ON) && bob.account().1.is_empty(), "{}", bob.log());
    }

    fn a_server_that_hangs_for_a_while_is_waited_for(server: &mut AnyServer) {
        let [alice, bob] = online(server, ["alice", "bob"]);
        server.freeze(true);
        let first = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_secs(3));
                server.freeze(false);
            });
            alice.share(&file(&alice, "first.mkv", 10_000))
        });
        until("bob sees it", PATIENCE, || bob.can_get(&first));
        assert!([&alice, &bob].iter().all(|user| user.account().0 == "online"));
    }
}
