//! The daemon as a plain BitTorrent client, without XMPP: the real program, driven through its command line and API.
#![cfg(all(feature = "cli", feature = "xmpp"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that fails should say where"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::json;

use common::daemon::{Daemon, Home, STOP_LIMIT};
use common::data::Sample;
use common::{START_LIMIT, TRANSFER_LIMIT, text, wait_for};

#[test]
fn a_share_lives_through_all_commands() {
    let home = Home::new();
    let mut daemon = home.start();
    assert!(daemon.program.stderr().contains("no XMPP account"), "it says that it runs without one");
    let hash = home.share(&home.file("film.mkv", 300_000));
    assert_eq!(home.share(&home.path("film.mkv")), hash, "sharing twice is no mistake");
    assert_eq!(home.state(&hash), "seeding", "it is served when `share` returns");
    let mine = home.ok(&["shares", "--mine"]);
    assert!(mine.contains(&hash) && mine.contains("film.mkv"), "{mine}");
    assert!(home.ok(&["status"]).contains("no XMPP account"));
    home.ok(&["pause", &hash[..8]]);
    assert_eq!(home.state(&hash), "paused");
    home.ok(&["resume", &hash]);
    assert_ne!(home.state(&hash), "paused");
    wait_for("the share to be looked at and served", START_LIMIT, || (home.state(&hash) == "seeding").then_some(()));
    assert_eq!(home.ok(&["recheck", "film.mkv", "--wait"]), "film.mkv: all of 292.9 KiB is good");
    home.ok(&["unshare", &hash]);
    assert_eq!(home.state(&hash), "gone");
    assert!(home.path("film.mkv").exists());
    assert!(home.fails(&["unshare", &hash]).contains(&hash));
    let hash = home.share(&home.path("film.mkv"));
    home.ok(&["remove", &hash, "--with-data"]);
    assert!(!home.path("film.mkv").exists());
    assert_eq!(home.ok(&["stop"]), "stopped");
    assert!(daemon.wait().0.success());
    assert_eq!(home.run(&["status"]).status.code(), Some(3), "nobody is there any more");
    assert!(!home.data("daemon.json").exists());
}

#[test]
fn torrents_go_by_their_names_too() {
    let home = Home::new();
    let _daemon = home.start();
    let film = home.share(&home.file("Summer film.mkv", 100_000));
    let song = home.share(&home.file("Summer song.ogg", 100_000));
    let answer: serde_json::Value = serde_json::from_str(&home.ok(&["pause", "FILM", "--json"])).unwrap();
    assert_eq!(answer, json!({"hash": film, "done": "paused"}));
    assert_eq!((home.state(&film).as_str(), home.state(&song).as_str()), ("paused", "seeding"));
    let error = home.fails(&["pause", "summer"]);
    assert!(error.contains(&film[..10]) && error.contains(&song[..10]), "{error}");
    assert!(home.fails(&["pause", "winter"]).contains("bitween status"));
    assert!(home.fails(&["remove", "film", "--with-data"]).contains("whole name"));
    assert!(home.path("Summer film.mkv").exists());
    home.ok(&["remove", "Summer film.mkv", "--with-data"]);
    assert!(!home.path("Summer film.mkv").exists());
    let checked: serde_json::Value = serde_json::from_str(&home.ok(&["recheck", "song", "--wait", "--json"])).unwrap();
    assert_eq!((&checked["hash"], &checked["complete"]), (&json!(song), &json!(true)));
    assert!(home.fails(&["get", "nothing like it"]).contains("a contact shares"));
}

#[test]
fn the_originals_methods_answer_in_its_shapes() {
    let home = Home::new();
    let daemon = home.start();
    fs::create_dir_all(home.path("dir/deep")).unwrap();
    home.file("dir/deep/a", 70_000);
    home.file("dir/empty", 0);
    assert_eq!(daemon.call("bt.add_path", &json!([text(&home.path("dir"))])), Ok(json!(true)));
    let torrents = wait_for("the share", START_LIMIT, || {
        let torrents = daemon.call("bt.get_torrents", &json!([])).unwrap();
        (torrents["torrents"][0]["done"] == 70_000).then_some(torrents)
    });
    let hash = torrents["torrents"][0]["hash"].as_str().unwrap().to_owned();
    assert_eq!(
        torrents,
        json!({"torrents": [{"hash": hash, "name": "dir", "total_size": 70_000, "done": 70_000,
            "files": [{"path": "dir/deep/a", "size": 70_000}, {"path": "dir/empty", "size": 0}]}]})
    );
    assert_eq!(daemon.call("xmpp.get_hashes", &json!([])), Ok(json!({"hashes": {}})));
    assert_eq!(daemon.call("xmpp.get_shares", &json!([])), Ok(json!({"shares": {}})));
    let unknown = "0".repeat(40);
    let error = daemon.call("bt.add_torrent_by_hash", &json!([unknown, text(&home.path("dir"))])).unwrap_err();
    assert_eq!(error["code"], -32001, "{error}");
    assert_eq!(daemon.call("bt.del_torrent", &json!([hash])), Ok(json!(true)));
    assert_eq!(daemon.call("bt.del_torrent", &json!([hash])).unwrap_err()["code"], -32001);
    assert_eq!(daemon.call("bt.get_torrents", &json!([])), Ok(json!({"torrents": []})));
}

#[test]
fn mistakes_get_one_line_and_cost_nothing() {
    let home = Home::new();
    let daemon = home.start();
    assert!(home.fails(&["share", "nothing"]).contains("nothing does not exist"));
    fs::create_dir(home.path("void")).unwrap();
    assert!(home.fails(&["share", "void"]).contains("no file"));
    fs::write(home.path("broken.torrent"), "d4:infod").unwrap();
    home.fails(&["get", "broken.torrent"]);
    home.fails(&["get", "magnet:?xt=urn:btih:nonsense"]);
    assert!(home.fails(&["get", &"1".repeat(40)]).contains("no contact shares"));
    let sample = Sample::file(100_000, &[]);
    let missing = home.path("a/b");
    assert!(home.fails(&["get", text(&sample.torrent), "--dir", text(&missing)]).contains("does not exist"));
    home.fails(&["pause", "123456"]);
    let error = daemon.call("bt.share_progress", &json!({"job": 99})).unwrap_err();
    assert_eq!(error["code"], -32008);
    let error = daemon.call("bt.add_torrent", &json!({"hash": "1", "magnet": "x"})).unwrap_err();
    assert_eq!(error["code"], -32001, "{error}");
    assert!(home.torrents().is_empty());
    if fs::read_dir("/root").is_err() {
        assert!(home.fails(&["share", "/root"]).contains("permission"));
    }
}

#[test]
fn the_list_and_the_port_survive_stops_and_kills() {
    let home = Home::new();
    let mut daemon = home.start();
    let port = daemon.port;
    let kept = home.share(&home.file("kept", 200_000));
    let paused = home.share(&home.file("paused", 100_000));
    let removed = home.share(&home.file("removed", 50_000));
    home.ok(&["pause", &paused]);
    home.ok(&["remove", &removed]);
    daemon.program.kill();
    assert_eq!(home.run(&["status"]).status.code(), Some(3), "a note without a daemon misleads nobody");

    let mut daemon = home.start();
    assert_eq!(daemon.port, port);
    assert_eq!(home.torrents().len(), 2, "all is there when it says that it is ready");
    home.wait_for_state(&kept, "seeding");
    home.wait_for_state(&paused, "paused");
    daemon.program.signal("TERM");
    let (status, took) = daemon.wait();
    assert!(status.success() && took < STOP_LIMIT, "{status} after {took:?}");

    let daemon = home.start();
    home.wait_for_state(&kept, "seeding");
    assert!(daemon.program.stderr().contains("there, 0 checked"), "after an orderly stop nothing is hashed again");
}

#[test]
fn a_second_daemon_is_refused_in_one_line() {
    let home = Home::new();
    let daemon = home.start();
    let (code, said) = home.refused_at("0");
    assert_eq!(code, 1);
    assert!(said.contains("another bitween daemon") && said.contains(&daemon.program.id().to_string()), "{said}");
    assert_eq!(said.lines().count(), 1);
    assert_eq!(daemon.call("Api.status", &json!({})).unwrap()["torrents"], 0, "the first one still answers");
}

#[test]
fn ports_that_are_taken_are_named_with_the_setting() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    home.configure(&format!("[bittorrent]\nbind = ['127.0.0.1']\nport = {port}\n"));
    let (code, said) = home.refused_at("0");
    assert!(code == 1 && said.contains(&format!("cannot listen on port {port}")), "{said}");
    home.configure("[bittorrent]\nbind = ['127.0.0.1']\n");
    let (code, said) = home.refused_at(&port);
    assert!(code == 1 && said.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{said}");
    assert!(said.contains("--port"), "{said}");
}

#[test]
fn damaged_files_stop_the_start_and_stay_as_they_are() {
    let nonsense = "this is no database, and has been none for long".repeat(100);
    let list = ("torrents.sqlite", "the list of torrents");
    let resume = ("resume.sqlite", "the resume data");
    for ((name, what), content) in [(list, &nonsense), (resume, &nonsense), (list, &String::new())] {
        let home = Home::new();
        fs::create_dir_all(home.data("")).unwrap();
        fs::write(home.data(name), content).unwrap();
        let before = fs::read(home.data(name)).unwrap();
        let (code, said) = home.refused_at("0");
        assert!(code == 1 && said.contains(name) && said.contains("damaged"), "{said}");
        assert!(said.contains(what) && !said.contains("\\n"), "{said}");
        assert_eq!(said.lines().count(), 1);
        assert_eq!(fs::read(home.data(name)).unwrap(), before);
        assert!(!home.data("daemon.json").exists());
    }
}

#[test]
fn a_wrong_configuration_is_wrong_use() {
    let home = Home::new();
    home.configure("[bittorrent]\nprot = 1\n");
    let (code, said) = home.refused_at("0");
    assert_eq!(code, 2);
    assert!(said.contains("line 3") && said.contains("bittorrent.prot") && said.contains("bittorrent.port"), "{said}");
    home.configure("[xmpp]\njid = 'alice@example.org'\npassword_file = 'missing'\n");
    let (code, said) = home.refused_at("0");
    assert!(code == 1 && said.contains("missing"), "{said}");
}

#[test]
fn only_its_owner_reads_the_daemons_files() {
    let home = Home::new();
    let token = home.path("token");
    home.configure(&format!("[api]\ntoken_file = '{}'\n[bittorrent]\nbind = ['127.0.0.1']\n", token.display()));
    let _daemon = home.start();
    for path in
        [token, home.data("daemon.json"), home.data("port"), home.data("torrents.sqlite"), home.data("resume.sqlite")]
    {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(fs::metadata(home.data("")).unwrap().permissions().mode() & 0o777, 0o700);
    home.ok(&["status"]);
}

#[test]
fn a_busy_daemon_stops_fifty_times() {
    let home = Home::new();
    for round in 0..50 {
        let mut daemon = home.start();
        home.share(&home.file(&format!("share {round}"), 20_000 + round));
        // Something that is still being hashed, and somebody who never answers.
        let large = home.path("large");
        if round == 0 {
            fs::File::create(&large).unwrap().set_len(3 << 30).unwrap();
        }
        daemon.call("bt.share", &json!({"path": text(&large)})).unwrap();
        let magnet = format!("magnet:?xt=urn:btih:{round:040}&tr=http://127.0.0.1:9/announce");
        daemon.call("bt.add_torrent", &json!({"magnet": magnet, "peers": ["127.0.0.1:9"]})).unwrap();
        let start = Instant::now();
        assert_eq!(daemon.call("Api.exit", &json!([])), Ok(json!(true)), "the answer is still sent");
        let (status, _) = daemon.wait();
        assert!(status.success() && start.elapsed() < STOP_LIMIT, "round {round}: {status}, {:?}", start.elapsed());
    }
    let _daemon = home.start();
    assert!(home.torrents().len() >= 100);
}

#[test]
fn signals_end_it_in_order() {
    for signal in ["TERM", "INT"] {
        let home = Home::new();
        let mut daemon = home.start();
        daemon.program.signal(signal);
        let (status, took) = daemon.wait();
        assert!(status.success() && took < STOP_LIMIT, "{signal}: {status}, {took:?}");
        assert!(daemon.program.stderr().contains("stopped"));
        assert!(!home.data("daemon.json").exists());
    }
}

#[test]
fn signals_in_one_breath_are_one() {
    let home = Home::new();
    let mut daemon = home.start();
    daemon.program.signal("TERM");
    std::thread::sleep(Duration::from_millis(5));
    daemon.program.signal("TERM");
    assert!(daemon.wait().0.success());
    assert!(daemon.program.stderr().contains("stopped"));
}

#[test]
fn two_torrents_never_share_a_file() {
    let home = Home::new();
    let _daemon = home.start();
    let film = home.file("film", 100_000);
    let before = fs::read(&film).unwrap();
    let hash = home.share(&film);
    // The same name with other content, as a contact may share it.
    fs::create_dir(home.path("other")).unwrap();
    home.file("other/film", 50_000);
    let torrent = home.path("film.torrent");
    home.ok(&["create", text(&home.path("other/film")), "-o", text(&torrent)]);
    let place = text(film.parent().unwrap()).to_owned();
    let refusal = home.fails(&["get", text(&torrent), "--dir", &place]);
    assert!(refusal.contains(&hash) && refusal.contains("--dir"), "{refusal}");
    let link = format!("magnet:?xt=urn:btih:{}&dn=film", "1".repeat(40));
    assert!(home.fails(&["get", &link, "--dir", &place]).contains(&hash));
    assert_eq!(fs::read(&film).unwrap(), before);
    home.ok(&["get", text(&torrent), "--dir", text(&home.path("other"))]);
}

#[test]
fn two_daemons_exchange_a_folder() {
    let (giver, taker) = (Home::new(), Home::new());
    let sample = Sample::folder(&[]);
    let giving = giver.start();
    let taking = taker.start();
    let hash = giver.share(&sample.path);
    assert_ne!(hash, sample.hash(), "the sample has pieces of another size");
    // By its hash alone: the description comes from the peer too.
    let peers = [format!("127.0.0.1:{}", giving.port)];
    let added = taking.call("bt.add_torrent", &json!({"hash": hash, "peers": peers})).unwrap();
    assert_eq!((&added["hash"], &added["existing"]), (&json!(hash), &json!(false)));
    wait_for("the folder", TRANSFER_LIMIT, || {
        let torrents = taker.torrents();
        (torrents[0]["complete"] == true).then_some(())
    });
    sample.assert_same_in(&taker.path("Downloads"));
    // A torrent file without peers waits; `bt.add_peer` gives it one.
    let other = Sample::file(400_000, &[]);
    let again = giver.ok(&["get", text(&other.torrent), "--dir", text(&other.dir)]);
    giver.wait_for_state(&again, "seeding");
    let dir = taker.path("elsewhere");
    assert_eq!(taker.ok(&["get", text(&other.torrent), "--dir", text(&dir)]), again);
    std::thread::sleep(Duration::from_millis(300));
    taking.call("bt.add_peer", &json!([again, peers[0]])).unwrap();
    taker.ok(&["get", text(&other.torrent), "--wait"]);
    other.assert_same_in(&dir);
    let known = taking.call("bt.add_torrent", &json!({"hash": again})).unwrap();
    assert_eq!(known["existing"], true);
}

#[test]
fn a_share_that_moved_is_mended_by_sharing_it_again() {
    let home = Home::new();
    let daemon = home.start();
    let hash = home.share(&home.file("here/film", 100_000));
    home.ok(&["stop"]);
    drop(daemon);
    fs::create_dir(home.path("there")).unwrap();
    fs::rename(home.path("here/film"), home.path("there/film")).unwrap();
    let _daemon = home.start();
    home.wait_for_state(&hash, "error");
    assert_eq!(home.share(&home.path("there/film")), hash);
    home.wait_for_state(&hash, "seeding");
    assert_eq!(home.torrents()[0]["save_path"], text(&home.path("there").canonicalize().unwrap()));
}

#[test]
fn a_share_that_was_edited_is_an_error_and_stays_as_it_is() {
    let home = Home::new();
    let taker = Home::new();
    let taking = taker.start();
    let file = home.file("film", 300_000);
    let daemon = home.start();
    let hash = home.share(&file);
    let peers = [format!("127.0.0.1:{}", daemon.port)];
    taking.call("bt.add_torrent", &json!({"hash": hash, "peers": peers})).unwrap();
    taker.wait_for_state(&hash, "seeding");

    let edit = |content: &[u8]| fs::write(&file, content).unwrap();
    let mut edited = fs::read(&file).unwrap();
    edited[..4].copy_from_slice(b"mine");
    let assert_error = |daemon: &Daemon| {
        home.wait_for_state(&hash, "error");
        let peers = json!([hash, format!("127.0.0.1:{}", taking.port)]);
        daemon.call("bt.add_peer", &peers).unwrap();
        assert!(home.ok(&["status"]).contains("files changed on disk; share it again"));
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!((home.state(&hash).as_str(), &fs::read(&file).unwrap()), ("error", &edited));
    };
    // While it was paused.
    home.ok(&["pause", &hash]);
    let original = fs::read(&file).unwrap();
    edit(&edited);
    home.ok(&["resume", &hash]);
    assert_error(&daemon);
    edit(&original);
    home.ok(&["resume", &hash]);
    home.wait_for_state(&hash, "seeding");
    // While the daemon was not there.
    home.ok(&["stop"]);
    drop(daemon);
    edit(&edited);
    let daemon = home.start();
    assert_error(&daemon);
    home.ok(&["resume", &hash]);
    assert_error(&daemon);
    let again = home.share(&file);
    assert_ne!(again, hash);
    home.wait_for_state(&again, "seeding");
}

#[test]
fn a_download_that_was_edited_is_not_fetched_anew_by_a_restart() {
    let (giver, taker) = (Home::new(), Home::new());
    let giving = giver.start();
    let taking = taker.start();
    let hash = giver.share(&giver.file("film", 300_000));
    let peers = json!({"hash": hash, "peers": [format!("127.0.0.1:{}", giving.port)]});
    taking.call("bt.add_torrent", &peers).unwrap();
    taker.wait_for_state(&hash, "seeding");
    taker.ok(&["stop"]);
    drop(taking);
    let file = taker.path("Downloads/film");
    let mut edited = fs::read(&file).unwrap();
    edited[..4].copy_from_slice(b"mine");
    fs::write(&file, &edited).unwrap();

    let taking = taker.start();
    taker.wait_for_state(&hash, "error");
    assert!(taker.ok(&["status"]).contains("was changed since it was complete"));
    taker.ok(&["resume", &hash]);
    taker.wait_for_state(&hash, "error");
    assert!(fs::read(&file).unwrap() == edited);
    fs::rename(&file, taker.path("edited")).unwrap();
    taker.ok(&["resume", &hash]);
    taking.call("bt.add_peer", &json!([hash, format!("127.0.0.1:{}", giving.port)])).unwrap();
    taker.wait_for_state(&hash, "seeding");
    assert_eq!(fs::read(&file).unwrap(), fs::read(giver.path("film")).unwrap());
}

#[test]
fn a_check_mends_a_download_and_leaves_a_share_as_it_is() {
    let (giver, taker) = (Home::new(), Home::new());
    let giving = giver.start();
    let taking = taker.start();
    let shared = giver.file("film", 300_000);
    let original = fs::read(&shared).unwrap();
    let hash = giver.share(&shared);
    let giver_address = format!("127.0.0.1:{}", giving.port);
    taking.call("bt.add_torrent", &json!({"hash": hash, "peers": [giver_address]})).unwrap();
    taker.wait_for_state(&hash, "seeding");
    let mut edited = original.clone();
    edited[..4].copy_from_slice(b"mine");

    let fetched = taker.path("Downloads/film");
    fs::write(&fetched, &edited).unwrap();
    assert_eq!(taking.call("bt.recheck", &json!([&hash[..8]])), Ok(json!(true)));
    assert_ne!(taker.state(&hash), "gone");
    taking.call("bt.add_peer", &json!([hash, giver_address])).unwrap();
    wait_for("the file to be mended", TRANSFER_LIMIT, || (fs::read(&fetched).unwrap() == original).then_some(()));
    taker.wait_for_state(&hash, "seeding");

    fs::write(&shared, &edited).unwrap();
    assert_eq!(giving.call("bt.recheck", &json!([hash])), Ok(json!(true)));
    giver.wait_for_state(&hash, "error");
    assert!(fs::read(&shared).unwrap() == edited);
}

#[test]
fn a_download_that_was_deleted_is_not_fetched_anew_by_a_restart() {
    let (giver, taker) = (Home::new(), Home::new());
    let giving = giver.start();
    let taking = taker.start();
    let hash = giver.share(&giver.file("film", 300_000));
    let peers = json!({"hash": hash, "peers": [format!("127.0.0.1:{}", giving.port)]});
    taking.call("bt.add_torrent", &peers).unwrap();
    taker.wait_for_state(&hash, "seeding");
    taker.ok(&["stop"]);
    drop(taking);
    // Or its disk is not there: nothing must be written to the place where it belongs.
    fs::rename(taker.path("Downloads"), taker.path("elsewhere")).unwrap();
    for _ in 0..2 {
        let taking = taker.start();
        taker.wait_for_state(&hash, "error");
        assert!(taker.ok(&["status"]).contains("Downloads/film is gone"));
        assert!(!taker.path("Downloads").exists());
        taker.ok(&["stop"]);
        drop(taking);
    }
    let taking = taker.start();
    fs::rename(taker.path("elsewhere"), taker.path("Downloads")).unwrap();
    taker.ok(&["resume", &hash]);
    taker.wait_for_state(&hash, "seeding");
    taker.ok(&["stop"]);
    drop(taking);
    fs::remove_file(taker.path("Downloads/film")).unwrap();
    let taking = taker.start();
    taker.wait_for_state(&hash, "error");
    taker.ok(&["resume", &hash]);
    taking.call("bt.add_peer", &json!([hash, format!("127.0.0.1:{}", giving.port)])).unwrap();
    taker.wait_for_state(&hash, "seeding");
}

#[test]
fn what_is_in_the_download_folder_already_is_not_written_over() {
    let (giver, taker) = (Home::new(), Home::new());
    let giving = giver.start();
    let taking = taker.start();
    let hash = giver.share(&giver.file("film", 300_000));
    let precious = taker.file("Downloads/film", 1000);
    let before = fs::read(&precious).unwrap();
    let peers = [format!("127.0.0.1:{}", giving.port)];
    // Only the description says where it would go.
    taking.call("bt.add_torrent", &json!({"hash": hash, "peers": peers})).unwrap();
    taker.wait_for_state(&hash, "error");
    assert!(taker.ok(&["status"]).contains("exists already and is not a part of this torrent"));
    assert!(taker.fails(&["remove", &hash, "--with-data"]).contains("nothing was deleted in"));
    assert!(fs::read(&precious).unwrap() == before);
    // Nor is what another torrent of the same daemon has there, under whatever name the link gave it.
    let own = taker.share(&precious);
    taking.call("bt.add_torrent", &json!({"magnet": format!("magnet:?xt=urn:btih:{hash}"), "peers": peers})).unwrap();
    taker.wait_for_state(&hash, "error");
    let status = taker.ok(&["status"]);
    assert!(status.contains(&format!("belongs to film ({own})")), "{status}");
    assert!(fs::read(&precious).unwrap() == before);
    assert_eq!(taker.state(&own), "seeding");
}

#[test]
fn a_full_disk_stops_one_torrent_until_there_is_room() {
    let (giver, taker) = (Home::new(), Home::new());
    let giving = giver.start();
    let other = taker.file("other", 100_000);
    let film = giver.share(&giver.file("film", 16 << 20));
    fs::create_dir(taker.path("Downloads")).unwrap();
    // In a namespace of its own, so that everybody may mount and nobody has to unmount.
    let script = "mount -t tmpfs -o size=24m none Downloads && head -c 12M /dev/zero >Downloads/filler || exit 77
                  exec \"$0\" daemon --port 0";
    let wrapped = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script];
    let Some(taking) = taker.start_in(&wrapped) else { return println!("SKIPPED: may not mount a tmpfs") };
    let own = taker.share(&other);
    let peers = [format!("127.0.0.1:{}", giving.port)];
    taking.call("bt.add_torrent", &json!({"hash": film, "peers": peers})).unwrap();
    taker.wait_for_state(&film, "error");
    let status = taker.ok(&["status"]);
    assert!(status.contains("disk full: ") && status.contains("more bytes"), "{status}");
    assert_eq!(taker.state(&own), "seeding");
    taker.ok(&["resume", &film]);
    taker.wait_for_state(&film, "error");

    let inside = format!("/proc/{}/root{}", taking.program.id(), text(&taker.path("Downloads")));
    fs::remove_file(format!("{inside}/filler")).unwrap();
    taker.ok(&["resume", &film]);
    taking.call("bt.add_peer", &json!([film, peers[0]])).unwrap();
    taker.wait_for_state(&film, "seeding");
    assert!(fs::read(format!("{inside}/film")).unwrap() == fs::read(giver.path("film")).unwrap());
}
