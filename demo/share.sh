#!/usr/bin/env bash
# bitween at work, on this machine alone: `bash demo/share.sh`.
#
# Starts an XMPP server with the accounts alice and bob, and a bitween daemon for each of them. alice shares a folder, bob
# sees it in his list, fetches it, and every byte is compared. Everything lives in a temporary folder and on the
# loopback interface, and is stopped and removed at the end. BITWEEN=path/to/bitween uses that program instead of
# building one.
set -euo pipefail
if [ -n "${BITWEEN:-}" ]; then
    BITWEEN=$(realpath "$BITWEEN")
    [ -x "$BITWEEN" ] || { echo "demo: $BITWEEN is no program" >&2; exit 1; }
fi
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# Shows a command as one would type it, then runs it.
show() {
    local word line="\$ bitween $1"
    for word in "${@:3}"; do line+=" $(printf %q "$word")"; done
    echo "$line    # as $2"
    "$bitween" "$1" "${@:3}" --config "$place/$2/config.toml"
}

pids=()
place=$(mktemp -d "${TMPDIR:-/tmp}/bitween-demo.XXXXXX")
finish() {
    local outcome=$?
    trap - EXIT
    trap '' INT TERM # until everything is stopped and removed
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    if [ "$outcome" = 130 ]; then
        echo "demo: interrupted" >&2
    elif [ "$outcome" != 0 ]; then
        echo "demo: failed" >&2
        local log
        for log in "$place"/*/log "$place"/prosody/prosody.log; do
            if [ -s "$log" ]; then tail -v -n 15 "$log" >&2; fi
        done
    fi
    rm -rf "$place"
    exit "$outcome"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Waits up to 30 seconds until a command succeeds.
until_works() {
    local waited=0
    until "$@" >/dev/null 2>&1; do
        waited=$((waited + 1))
        if [ "$waited" -gt 300 ]; then echo "demo: waited in vain: $*" >&2; return 1; fi
        sleep 0.1
    done
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && taken "$port"; do :; done
    echo "$port"
}

say "What is needed"
bash .ci/setup demo
if [ -z "${BITWEEN:-}" ]; then
    cargo build --locked --bin bitween
    BITWEEN="${CARGO_TARGET_DIR:-target}/debug/bitween"
fi
bitween=$(realpath "$BITWEEN")

say "An XMPP server with two accounts that know each other"
xmpp_port=$(free_port)
server="$place/prosody"
mkdir -p "$server/data/localhost/accounts" "$server/data/localhost/roster"
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj "/CN=demo authority" \
    -keyout "$server/ca.key" -out "$server/ca.pem" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" \
    -keyout "$server/key.pem" -out "$server/request.pem" 2>/dev/null
printf 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' >"$server/extensions"
openssl x509 -req -days 1 -in "$server/request.pem" -CA "$server/ca.pem" -CAkey "$server/ca.key" -CAcreateserial \
    -extfile "$server/extensions" -out "$server/certificate.pem" 2>/dev/null
cat >"$server/prosody.cfg.lua" <<CONFIG
run_as_root = true
pidfile = "$server/pid"
data_path = "$server/data"
log = { { levels = { min = "info" }, to = "file", filename = "$server/prosody.log" } }
interfaces = { "127.0.0.1" }
c2s_ports = { $xmpp_port }
c2s_direct_tls_ports = { }
s2s_ports = { }
modules_enabled = { "roster"; "saslauth"; "tls"; "disco"; "pep"; "ping"; "smacks" }
modules_disabled = { "s2s"; "s2s_auth_certs" }
authentication = "internal_plain"
storage = "internal"
ssl = { key = "$server/key.pem"; certificate = "$server/certificate.pem" }
VirtualHost "localhost"
CONFIG
befriend() { # account, contact
    echo "return { [\"password\"] = \"password of $1\" };" >"$server/data/localhost/accounts/$1.dat"
    cat >"$server/data/localhost/roster/$1.dat" <<ROSTER
return { [false] = { ["version"] = 1; ["pending"] = { }; };
["$2@localhost"] = { ["subscription"] = "both"; ["groups"] = { }; }; };
ROSTER
}
befriend alice bob
befriend bob alice
prosody -F --config "$server/prosody.cfg.lua" >"$server/output" 2>&1 &
pids+=($!)
until_works taken "$xmpp_port"
echo "alice@localhost and bob@localhost, on 127.0.0.1:$xmpp_port"

say "A daemon for each of them"
daemon() {
    local home="$place/$1"
    mkdir -p "$home/downloads"
    (umask 077 && echo "password of $1" >"$home/password")
    cat >"$home/config.toml" <<CONFIG
download_dir = "downloads"
data_dir = "data"
local = "off"
[xmpp]
jid = "$1@localhost"
password_file = "password"
server = "127.0.0.1:$xmpp_port"
tls = "starttls"
ca_file = "$server/ca.pem"
allow_loopback_peers = true # all of this happens on one machine
[api]
port = 0
CONFIG
    echo "\$ bitween daemon --config $1/config.toml &"
    "$bitween" daemon --config "$home/config.toml" >"$home/log" 2>&1 &
    pids+=($!)
}
online() { "$bitween" account show --config "$place/$1/config.toml" | grep -qi online; }
daemon alice
daemon bob
until_works online alice
until_works online bob
show account alice show

say "alice shares a folder"
folder="$place/Holiday pictures"
mkdir -p "$folder/Köln/day 2"
for picture in "$folder/the sea.jpg" "$folder/Köln/cathedral.jpg" "$folder/Köln/day 2/Rhein.jpg"; do
    head -c 8000000 /dev/urandom >"$picture"
done
echo "What a week." >"$folder/read me.txt"
: >"$folder/empty.txt"
shared=$(show share alice "$folder")
echo "$shared"
hash=$(grep -oE '\b[0-9a-f]{40}\b' <<<"$shared" | head -n 1)
[ -n "$hash" ]

say "bob sees it and fetches it"
listed() { "$bitween" shares --config "$place/bob/config.toml" --json | grep -q "$hash"; }
until_works listed
show shares bob
show get bob "$hash" --wait

say "Every byte is the same"
diff -r "$folder" "$place/bob/downloads/Holiday pictures"
(cd "$place/bob/downloads" && find . -type f -exec sha256sum {} +)

say "The end"
show stop alice
show stop bob
echo "demo: bob has what alice shared"
