#!/usr/bin/env bash
# A MongoDB-compatible server (FerretDB) for the tests, without a container engine: FerretDB from the Go module proxy,
# in front of PostgreSQL with the DocumentDB extension from Debian testing, which is unpacked into a folder of its own.
# Needs Debian, root and Go. The first start takes about two minutes, the next ones two seconds: what was fetched and
# built stays in ${SAGA_TEST_CACHE:-~/.cache/saga-tests}/mongodb.
#
#   mongodb.sh up [PORT]    start it on loopback (default port 27610, its database on the next one); prints its address
#   mongodb.sh kill [PORT]  kill -9 of gateway and database, as a loss of the machine would; `up` starts them again
#   mongodb.sh down [PORT]  stop it and remove its data
#
# Ends with 77 and a word why where it cannot be had.
set -euo pipefail

FERRETDB=github.com/FerretDB/FerretDB/v2/cmd/ferretdb@v2.7.0
POSTGRES=18

action=${1:-}
port=${2:-27610}
pg_port=$((port + 1))
cache=${SAGA_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/saga-tests}/mongodb
root=$cache/root
state=$cache/state-$port
# As seen from inside the folder.
bin=/usr/lib/postgresql/$POSTGRES/bin
data=/var/lib/postgresql/saga-$port

cannot() { echo "no MongoDB-compatible server here: $*" >&2; exit 77; }

postgres() { chroot "$root" su postgres -c "$1"; }

built() { [ -x "$cache/ferretdb" ] && [ -f "$root/built" ]; }

build() {
  built && return
  command -v go >/dev/null || cannot "Go is not installed"
  [ "$(id -u)" = 0 ] || cannot "it takes root to unpack Debian into a folder"
  command -v debootstrap >/dev/null || command -v apt-get >/dev/null || cannot "this is not Debian"
  mkdir -p "$cache"
  exec 8>"$cache/building"
  flock 8 # of two that start at once, one builds
  built || { gateway && database; }
  exec 8>&-
}

gateway() {
  [ -x "$cache/ferretdb" ] ||
    GOBIN=$cache CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' "$FERRETDB" >&2 || cannot "FerretDB could not be built"
}

database() {
  command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap; } >&2 ||
    cannot "debootstrap could not be installed"
  rm -rf --one-file-system "$root"
  debootstrap --variant=minbase --include="ca-certificates,postgresql-$POSTGRES-documentdb" testing "$root" "$(mirror)" >&2 ||
    cannot "PostgreSQL could not be fetched"
  rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/usr/share/{doc,man,locale}
  touch "$root/built"
}

# Where this machine gets its own packages from.
mirror() {
  local sources
  sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || :)
  { grep -Eo '^(URIs:|deb ).*' <<<"$sources" | grep -Eo 'https?://[^ ]+' | grep -v security || :; } | head -1 |
    grep . || echo http://deb.debian.org/debian
}

# Many connections, because each open sorted cursor holds one; no socket file, because after a kill it would stand in
# the way of the next start.
settings() {
  cat <<CONF
port = $pg_port
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 300
deadlock_timeout = '20ms'
shared_preload_libraries = 'pg_cron,pg_documentdb_core,pg_documentdb'
cron.database_name = 'postgres'
CONF
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

up() {
  build
  mkdir -p "$state"
  if [ ! -f "$root$data/PG_VERSION" ]; then
    postgres "$bin/initdb -D $data -A trust --locale=C.UTF-8 -E UTF8" >/dev/null
    settings >>"$root$data/postgresql.conf"
  fi
  if ! listening "$pg_port"; then
    for _ in $(seq 20); do # after a kill the old processes linger for a moment
      postgres "$bin/pg_ctl -D $data -l $data/log -w start" >/dev/null 2>&1 && break
      sleep 0.5
    done
  fi
  local ready="set client_min_messages = warning; create extension if not exists documentdb cascade"
  postgres "psql -h 127.0.0.1 -p $pg_port -qc '$ready'" >&2
  if ! listening "$port"; then
    setsid "$cache/ferretdb" --listen-addr="127.0.0.1:$port" --debug-addr=- --no-auth --telemetry=disable \
      --log-level=ERROR --state-dir="$state" --postgresql-url="postgres://postgres@127.0.0.1:$pg_port/postgres" \
      >>"$state/log" 2>&1 </dev/null &
    echo $! >"$state/pid"
  fi
  for _ in $(seq 100); do listening "$port" && break; sleep 0.1; done
  echo "mongodb://127.0.0.1:$port"
}

signal_both() {
  kill "-$1" "$(cat "$state/pid" 2>/dev/null)" 2>/dev/null || :
  kill "-$1" "$(head -1 "$root$data/postmaster.pid" 2>/dev/null)" 2>/dev/null || :
}

down() {
  [ -d "$state" ] || return 0
  signal_both INT
  for _ in $(seq 50); do listening "$pg_port" || break; sleep 0.1; done
  signal_both KILL
  rm -rf "$root$data" "$state"
}

case $action in
up) up ;;
kill) signal_both KILL ;;
down) down ;;
*) sed -n '2,12p' "$0" | cut -c3-; exit 2 ;;
esac
