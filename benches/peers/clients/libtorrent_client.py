#!/usr/bin/env python3
"""libtorrent as a client to measure: everything at its defaults but what is said below, events as lines.

Prints `listening on port N`, `adding` right before the first torrent, `ready` once its files were looked at, and `done` when
all torrents are complete. Sleeps in between until libtorrent has something to say. With `--save` it writes resume data into
a folder and ends; with `--resume` it starts from there.
"""

import argparse
import pathlib
import sys

import libtorrent as lt

MINUTE = 60_000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--torrent", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--torrents", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--resume", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--save", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--dir", default=".")
    parser.add_argument("--peer", metavar="IP:PORT")
    parser.add_argument("--flush", action="store_true", help="done only when everything is written")
    parser.add_argument("--hashing-threads", type=int)
    parser.add_argument("--connections", type=int)
    parser.add_argument("--version", action="version", version=f"libtorrent {lt.__version__}")
    return parser.parse_args()


def session(options):
    category = lt.alert.category_t
    settings = {
        "alert_mask": category.error_notification | category.status_notification | category.storage_notification,
        "alert_queue_size": 100_000,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_natpmp": False,
        "enable_upnp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "listen_interfaces": f"127.0.0.1:{options.port}",
    }
    if options.hashing_threads:
        settings["hashing_threads"] = options.hashing_threads
    if options.connections:
        # All of them are to be served, and those that come at the same time are not to be turned away.
        settings |= {
            "connections_limit": options.connections,
            "unchoke_slots_limit": -1,
            "listen_queue_size": options.connections,
        }
    return lt.session(settings)


def torrents(options):
    if options.resume:
        for path in sorted(options.resume.iterdir()):
            yield lt.read_resume_data(path.read_bytes())
        return
    for path in options.torrent + sorted(options.torrents.iterdir() if options.torrents else []):
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(str(path))
        params.save_path = options.dir
        yield params


def say(line):
    print(line, flush=True)


def save(peer, folder):
    handles = peer.get_torrents()
    for handle in handles:
        handle.save_resume_data(lt.save_resume_flags_t.save_info_dict)
    saved = 0
    while saved < len(handles):
        peer.wait_for_alert(MINUTE)
        for alert in peer.pop_alerts():
            if isinstance(alert, lt.save_resume_data_alert):
                saved += 1
                (folder / f"{saved:06}.resume").write_bytes(lt.write_resume_data_buf(alert.params))
            elif isinstance(alert, lt.save_resume_data_failed_alert):
                sys.exit(f"error: {alert.message()}")


def main():
    options = arguments()
    peer = session(options)
    say(f"listening on port {peer.listen_port()}")
    count = finished = 0
    say("adding")
    for params in torrents(options):
        # Started at once and not queued.
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        count += 1
        if options.peer:
            host, _, port = options.peer.rpartition(":")
            peer.add_torrent(params).connect_peer((host, int(port)))
        else:
            peer.async_add_torrent(params)
    while True:
        peer.wait_for_alert(MINUTE)
        for alert in peer.pop_alerts():
            if isinstance(alert, lt.torrent_checked_alert):
                say("ready")
            elif isinstance(alert, lt.torrent_finished_alert):
                finished += 1
                if options.flush:
                    # It may hold a hundred MiB that are verified and not written yet.
                    alert.handle.flush_cache()
                elif finished == count:
                    say("done")
            elif isinstance(alert, lt.cache_flushed_alert) and finished == count:
                say("done")
            elif isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert, lt.listen_failed_alert)):
                sys.exit(f"error: {alert.message()}")
        if options.save and finished == count:
            save(peer, options.save)
            return


if __name__ == "__main__":
    main()
