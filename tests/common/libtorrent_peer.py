#!/usr/bin/env python3
"""A BitTorrent peer for the tests: one torrent in a libtorrent session, on the loopback interface.

Prints `listening on port N`, `progress 0.25 peers 1` once a second until it has all data, then `complete`, and seeds
until it is ended. What libtorrent has to say (errors, connections, trackers) goes to standard error. No DHT, local discovery,
port mapping or uTP, unless asked for.
"""

import argparse
import sys
import time

import libtorrent as lt


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="torrent file or magnet link")
    parser.add_argument("dir", help="folder that holds (or gets) the torrent's top-level name")
    parser.add_argument("--seed", action="store_true", help="fail unless the data is there")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--peer", action="append", default=[], metavar="IP:PORT")
    parser.add_argument("--tracker", action="append", default=[], metavar="URL")
    parser.add_argument("--utp", choices=["off", "on", "only"], default="off")
    parser.add_argument("--encryption", choices=["off", "on", "only"], default="off")
    parser.add_argument("--upload-limit", type=int, default=0, metavar="BYTES_PER_SECOND")
    return parser.parse_args()


def session(options):
    policy = {
        "off": lt.enc_policy.pe_disabled,
        "on": lt.enc_policy.pe_enabled,
        "only": lt.enc_policy.pe_forced,
    }[options.encryption]
    category = lt.alert.category_t
    return lt.session({
        "alert_mask": category.error_notification | category.status_notification | category.peer_notification
        | category.tracker_notification | category.connect_notification,
        "allow_multiple_connections_per_ip": True,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_natpmp": False,
        "enable_upnp": False,
        "enable_incoming_tcp": options.utp != "only",
        "enable_outgoing_tcp": options.utp != "only",
        "enable_incoming_utp": options.utp != "off",
        "enable_outgoing_utp": options.utp != "off",
        "in_enc_policy": policy,
        "out_enc_policy": policy,
        "listen_interfaces": f"127.0.0.1:{options.port}",
        "upload_rate_limit": options.upload_limit,
        # Local addresses are limited like others, and trackers on them are allowed.
        "ssrf_mitigation": False,
    })


def torrent(options):
    if options.source.startswith("magnet:"):
        params = lt.parse_magnet_uri(options.source)
    else:
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(options.source)
    params.save_path = options.dir
    params.trackers = list(params.trackers) + options.tracker
    # Started at once, not queued, and without waiting for others to be done.
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    return params


def main():
    options = arguments()
    peer = session(options)
    handle = peer.add_torrent(torrent(options))
    for address in options.peer:
        host, _, port = address.rpartition(":")
        handle.connect_peer((host.strip("[]"), int(port)))
    print(f"listening on port {peer.listen_port()}", flush=True)
    complete, turn = False, 0
    while True:
        for alert in peer.pop_alerts():
            print(f"{alert.what()}: {alert.message()}", file=sys.stderr, flush=True)
        status = handle.status()
        if status.errc.value():
            sys.exit(f"error: {status.errc.message()}")
        if status.is_seeding and not complete:
            complete = True
            print("complete", flush=True)
        checking = str(status.state) in ("checking_files", "checking_resume_data")
        if options.seed and not checking and not status.is_seeding:
            sys.exit(f"error: only {status.progress:.3f} of the data is there")
        if turn % 20 == 0 and not complete:
            print(f"progress {status.progress:.3f} peers {status.num_peers} {status.state}", flush=True)
        turn += 1
        time.sleep(0.05)


if __name__ == "__main__":
    main()
