//! `Api.*`: the daemon as a whole.

use super::{Method, Scope, done, value};

/// By name.
pub(super) static TABLE: &[Method] = &[
    Method {
        name: "Api.exit",
        doc: "Stops the daemon in good order: trackers and contacts are told, everything is written to disk.",
        params: &[],
        result: "true, before it stops",
        scope: Scope::Admin,
        run: |control, _| done(control.exit()),
    },
    Method {
        name: "Api.memory",
        doc: "What memory is used for, in bytes by class, against the limit for all of it; and how long the turns of the network thread take, which is how long peers may have to wait.",
        params: &[],
        result: "{limit, used, highest, classes: [{name, now, highest, limit}], mapped, resident, anonymous, reactor_turns, reactor_longest_turn_ms, reactor_longest_turn_last_minute_ms}",
        scope: Scope::View,
        run: |control, _| value(control.memory()),
    },
    Method {
        name: "Api.status",
        doc: "The daemon as a whole: version, folders, port, addresses, account, rates, problems.",
        params: &[],
        result: "{version, pid, uptime, data_dir, download_dir, port, addresses, account, accounts, local: {name, port, fingerprint} | null, torrents, peers, download_rate, upload_rate, problems}",
        scope: Scope::View,
        run: |control, _| value(control.status()),
    },
    Method {
        name: "Api.versions",
        doc: "Versions of the program and of the libraries it stands on.",
        params: &[],
        result: "{NAME: VERSION}",
        scope: Scope::View,
        run: |control, _| value(Ok(control.versions())),
    },
    Method {
        name: "Api.whoami",
        doc: "How the daemon knows the caller, and what they may do.",
        params: &[],
        result: "{scope: view | add | admin, how: open | token, name, expires}",
        scope: Scope::View,
        run: |control, args| value(control.who_am_i(args.caller())),
    },
];
