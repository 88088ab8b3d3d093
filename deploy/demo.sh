#!/usr/bin/env bash
# Shows dwspool at work: builds it, starts two throwaway coordinators (a PostgreSQL 15 primary and
# its streaming standby, on loopback) and dwspool in front of them, and runs the psycopg2 program
# of the DWS documentation through it, with nothing changed but host and port.
#
# usage: deploy/demo.sh                                 everything local
#        deploy/demo.sh --coordinator HOST:PORT [...]   a real one; the program's database, user and
#            [--database NAME] [--user NAME]            password may be replaced; the password is
#                                                       asked for, or taken from $DWS_PASSWORD
# Everything it starts lies under one temporary folder and ends with it. Safe to run twice, also at
# the same time.
set -euo pipefail
cd "$(dirname "$0")/.."

coordinators=()
database=gaussdb
user=dbadmin
while [ $# -gt 0 ]; do
  case "$1" in
    --coordinator) coordinators+=("${2:?--coordinator wants HOST:PORT}"); shift 2 ;;
    --database) database=${2:?--database wants a name}; shift 2 ;;
    --user) user=${2:?--user wants a name}; shift 2 ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

step "Packages"
deploy/install-deps.sh build demo
echo "all there"

step "Build"
cmake --preset release -DDWSPOOL_TESTS=OFF >/dev/null
cmake --build --preset release --target dwspool | tail -n 1
dwspool=$PWD/build/release/dwspool
"$dwspool" --version

folder=$(mktemp -d -t dwspool-demo-XXXXXX)
chmod 755 "$folder"
dwspool_pid=""
cleanup() {
  status=$?
  trap - EXIT INT TERM
  if [ -n "$dwspool_pid" ]; then
    kill "$dwspool_pid" 2>/dev/null || true
    wait "$dwspool_pid" 2>/dev/null || true
  fi
  for data in "$folder"/pg*/data; do
    if [ -f "$data/postmaster.pid" ]; then as_postgres "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true; fi
  done
  if [ $status -ne 0 ]; then tail -n 20 "$folder"/*.log 2>/dev/null || true; fi
  rm -rf "$folder"
  exit $status
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bin=/usr/lib/postgresql/15/bin
as_postgres() {  # PostgreSQL does not run as root
  if [ "$(id -u)" -eq 0 ]; then (cd / && setpriv --reuid=postgres --regid=postgres --clear-groups "$@"); else "$@"; fi
}
free_port() {
  /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

password=password
if [ ${#coordinators[@]} -eq 0 ]; then
  step "Two throwaway coordinators"
  mkdir "$folder/pg1" "$folder/pg2"
  if [ "$(id -u)" -eq 0 ]; then chown postgres "$folder/pg1" "$folder/pg2"; fi
  port1=$(free_port) port2=$(free_port)
  as_postgres "$bin/initdb" -D "$folder/pg1/data" -A trust -U postgres -N --locale=C -E UTF8 >/dev/null
  cat >"$folder/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
fsync = off
password_encryption = scram-sha-256
CONF
  printf 'local all all trust\nhost replication all 127.0.0.1/32 trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n' \
    >"$folder/pg_hba.conf"
  cp "$folder/pg_hba.conf" "$folder/pg1/data/pg_hba.conf"
  { cat "$folder/postgresql.conf"; echo "port = $port1"; echo "unix_socket_directories = '$folder/pg1'"; } >>"$folder/pg1/data/postgresql.conf"
  as_postgres "$bin/pg_ctl" -D "$folder/pg1/data" -l "$folder/pg1/server.log" -w start >/dev/null
  psql -qX -h 127.0.0.1 -p "$port1" -U postgres -d postgres \
    -c "create role $user login password '$password'" -c "create database $database owner $user"
  as_postgres "$bin/pg_basebackup" -h 127.0.0.1 -p "$port1" -U postgres -D "$folder/pg2/data" -R -X stream -c fast
  { echo "port = $port2"; echo "unix_socket_directories = '$folder/pg2'"; } >>"$folder/pg2/data/postgresql.conf"
  as_postgres "$bin/pg_ctl" -D "$folder/pg2/data" -l "$folder/pg2/server.log" -w start >/dev/null
  echo "primary on 127.0.0.1:$port1, streaming standby on 127.0.0.1:$port2"
  clusters="clusters:
  main: {coordinators: [\"127.0.0.1:$port1\", \"127.0.0.1:$port2\"]}
databases:
  $database: {cluster: main, target: read-write}
  ${database}_standby: {cluster: main, target: read-only, database: $database}"
else
  if [ -n "${DWS_PASSWORD:-}" ]; then
    password=$DWS_PASSWORD
  elif [ -t 0 ]; then
    read -rsp "Password of $user on ${coordinators[0]}: " password
    echo
  fi
  list=$(printf '"%s", ' "${coordinators[@]}")
  clusters="clusters:
  main: {coordinators: [${list%, }]}
databases:
  $database: {cluster: main}"
fi

step "dwspool in front"
port=$(free_port) http_port=$(free_port)
(umask 077 && printf '%s' "$password" >"$folder/password")
cat >"$folder/dwspool.yaml" <<CONF
listen: ["127.0.0.1:$port"]
http: "127.0.0.1:$http_port"
log: {file: $folder/dwspool.log}
$clusters
users:
  $user: {password_file: $folder/password}
CONF
cat "$folder/dwspool.yaml"
"$dwspool" --config "$folder/dwspool.yaml" &
dwspool_pid=$!
for _ in $(seq 100); do
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  kill -0 "$dwspool_pid" 2>/dev/null || { echo "dwspool did not start" >&2; exit 1; }
  sleep 0.05
done
"$dwspool" check --config "$folder/dwspool.yaml"

step "The psycopg2 program of the documentation, host and port changed, nothing else"
sed -e "s/host='[^']*'/host='127.0.0.1'/" -e "s/port='[^']*'/port='$port'/" deploy/demo/python_dws.py >"$folder/python_dws.py"
if [ ${#coordinators[@]} -gt 0 ]; then
  /usr/bin/python3 - "$folder/python_dws.py" "$database" "$user" "$folder/password" <<'PY'
import re, sys
path, database, user, file = sys.argv[1:]
text = open(path).read()
text = re.sub(r"database='[^']*'", lambda _: "database=%r" % database, text)
text = re.sub(r"user='[^']*'", lambda _: "user=%r" % user, text)
text = re.sub(r"password='[^']*'", lambda _: "password=%r" % open(file).read(), text)
open(path, "w").write(text)
PY
  chmod 600 "$folder/python_dws.py"
else
  diff deploy/demo/python_dws.py "$folder/python_dws.py" || true
fi
/usr/bin/python3 "$folder/python_dws.py" | tee "$folder/program.out"
for expected in "Opened database successfully" "Table created successfully" "Insert data successfully" \
  "Operation done successfully" "After Update, Operation done successfully" "After Delete,Operation done successfully"; do
  grep -qF "$expected" "$folder/program.out" || { echo "The program did not say: $expected" >&2; exit 1; }
done

step "What happened"
if [ ${#coordinators[@]} -eq 0 ]; then
  written=$(psql -AtqX -h 127.0.0.1 -p "$port1" -U postgres -d postgres -c "select pg_current_wal_lsn()")
  for _ in $(seq 100); do  # the standby follows a moment later
    [ "$(psql -AtqX -h 127.0.0.1 -p "$port2" -U postgres -d postgres -c "select pg_last_wal_replay_lsn() >= '$written'")" = t ] && break
    sleep 0.05
  done
  PGPASSWORD=$password psql -X -h 127.0.0.1 -p "$port" -U "$user" -d "${database}_standby" \
    -c "select *, pg_is_in_recovery() as read_from_the_standby from test order by 1"
fi

if [ ${#coordinators[@]} -eq 0 ]; then
  step "A switchover under load: kill the primary, promote the standby"
  # What is committed is on the standby, too.
  psql -qX -h 127.0.0.1 -p "$port1" -U postgres -d postgres \
    -c "alter system set synchronous_standby_names = '*'" -c "select pg_reload_conf()" >/dev/null
  for _ in $(seq 100); do
    [ "$(psql -AtqX -h 127.0.0.1 -p "$port1" -U postgres -d postgres -c "select count(*) from pg_stat_replication where sync_state = 'sync'")" = 1 ] && break
    sleep 0.05
  done
  primary_pid=$(head -n 1 "$folder/pg1/data/postmaster.pid")
  promote="$bin/pg_ctl -D $folder/pg2/data -w promote >/dev/null"
  if [ "$(id -u)" -eq 0 ]; then promote="cd / && setpriv --reuid=postgres --regid=postgres --clear-groups $promote"; fi
  /usr/bin/python3 deploy/demo/switchover.py "$port" "$port1" "$port2" "$database" "$user" "$folder/password" \
    "kill -9 $primary_pid; sleep 1; $promote"
fi

curl -s "http://127.0.0.1:$http_port/metrics" 2>/dev/null | grep -E '^dwspool_(queries|transactions|backend_connections_opened|client_logins|replays)_total' || true
cat <<TXT

The program's transactions ran over pooled connections: dwspool answered each BEGIN itself and sent
it along with the first statement. When the primary died, it ran open transactions again on the new one;
08007 above is a COMMIT that was on its way: its outcome is unknown, and nobody runs it twice. How to
go on:

  config/dwspool.yaml      every key, with its default; copy it and put in your coordinators
  dwspool check --config   tries every coordinator before your applications do
  deploy/demo.sh --coordinator HOST:PORT --database NAME --user NAME
                           this demo, against a coordinator of your own
  doc/replay.md            what is run again when, and what an application sees
  README.md                pool modes, what is carried from statement to statement, operation
TXT
