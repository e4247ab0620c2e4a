#!/usr/bin/env bash
# The image's steps where no container engine runs: the same commands, in a fresh folder, then a start and its
# health check, as a user who owns nothing but the data folder.
set -euo pipefail
python=${1:-python3}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir -p "$work/src" "$work/data"
# What the image's build context holds, and nothing else.
(cd "$root" && git ls-files -z requirements.lock pyproject.toml README.md LICENSE CHANGELOG.md saga compensations examples) |
  (cd "$root" && xargs -0 cp --parents -t "$work/src")
cd "$work/src"
"$python" -m venv "$work/saga"
"$work/saga/bin/pip" install -q --require-hashes --only-binary :all: -r requirements.lock
"$work/saga/bin/pip" install -q --no-deps .
"$work/saga/bin/python" -m compileall -q "$work/saga/lib"
chmod -R go-w "$work/saga"
chmod 755 "$work"
chown -R nobody "$work/data" 2>/dev/null || true
cd "$work/data"
run=()
if [ "$(id -u)" = 0 ]; then run=(setpriv --reuid=65534 --clear-groups); fi
export SAGA_STORE="sqlite:///$work/data/saga.db" SAGA_PORT=17242 SAGA_URL=http://127.0.0.1:17242
if SAGA_HOST=0.0.0.0 "${run[@]}" "$work/saga/bin/saga" serve >refused.log 2>&1; then
  echo "it started on every address without credentials"; exit 1
fi
grep -q SAGA_ADMIN_TOKEN refused.log
SAGA_HOST=0.0.0.0 SAGA_ADMIN_TOKEN=$(head -c 24 /dev/urandom | base64) "${run[@]}" "$work/saga/bin/saga" serve >serve.log 2>&1 &
server=$!
"${run[@]}" "$work/saga/bin/saga" health --wait 30 || { cat serve.log; exit 1; }
kill -TERM "$server"; wait "$server"
echo "the image's steps work: built, refused to start open, started, healthy, stopped"
