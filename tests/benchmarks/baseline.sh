#!/usr/bin/env bash
# What a competent person would write for one cluster on these very hosts, and run once: the same packages, the same locked
# release with compiled bytecode, a configuration, the same one DAG, units, a database, a user; done when every component of
# every host is healthy.
# No check mode, no second run, no other version, no refusal: what a converge by site.yml is compared with.
# Usage: baseline.sh SSH_CONFIG VERSION "REQUIREMENT" MASTER... -- WORKER...
set -euo pipefail

roles=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/roles
locks=$roles/airflow_install/files/locks
ssh_config=$1 version=$2 requirement=$3
shift 3
masters=() workers=()
while [ "$1" != -- ]; do masters+=("$1") && shift; done
shift
workers=("$@")

# put HOST FILE : the file's content is what this is told.
put() { ssh -F "$ssh_config" "$1" "cat >$2"; }
on() { ssh -F "$ssh_config" "$1" "bash -euo pipefail -s -- $(printf '%q ' "${@:2}")"; }
# Waits for all that was started in the background, and fails with any of it.
all() { local pid; for pid in "${pids[@]}"; do wait "$pid"; done; pids=(); }
pids=()

# shellcheck disable=SC2016 # the host expands it
common='
export DEBIAN_FRONTEND=noninteractive
fresh() { [ -n "$(find /var/lib/apt/lists -maxdepth 0 -mtime -1)" ] || apt-get update -qq </dev/null; }
packages() { fresh && apt-get install -y -qq --no-install-recommends "$@" >/dev/null </dev/null; }
'

database() {
    on db1 <<END
$common
packages acl postgresql python3-psycopg2
cat >/etc/postgresql/15/main/conf.d/airflow.conf <<CONF
listen_addresses = '*'
max_connections = 300
CONF
echo "host airflow airflow samenet scram-sha-256" >>/etc/postgresql/15/main/pg_hba.conf
systemctl restart postgresql
runuser -u postgres -- psql -q -c "CREATE ROLE airflow LOGIN PASSWORD 'baseline'"
runuser -u postgres -- createdb --owner airflow --template template0 --encoding UTF-8 --locale C.UTF-8 airflow
END
}

broker() {
    on broker1 <<END
$common
packages redis-server
cat >>/etc/redis/redis.conf <<CONF
bind * -::*
requirepass baseline
appendonly yes
CONF
systemctl restart redis-server
END
}

# node NAME : everything that does not need the database.
node() {
    put "$1" /root/dag.py <"$roles/airflow_config/files/dataops_canary.py"
    put "$1" /root/uv.txt <"$locks/uv.txt"
    put "$1" /root/lock.txt <"$locks/$version.txt"
    on "$1" "$1" "$requirement" "${masters[@]}" <<END
$common
name=\$1 requirement=\$2
shift 2
groupadd --system airflow
useradd --system --gid airflow --home-dir /var/lib/airflow --shell /usr/sbin/nologin airflow
install -d -o airflow -g airflow -m 750 /var/lib/airflow /var/lib/airflow/dags /var/lib/airflow/plugins /var/log/airflow
install -m 644 /root/dag.py /var/lib/airflow/dags/
packages ca-certificates python3-venv haproxy

export PIP_CACHE_DIR=/var/cache/airflow-uv/pip UV_CACHE_DIR=/var/cache/airflow-uv/uv UV_LINK_MODE=copy
python3 -m venv /opt/uv
/opt/uv/bin/pip --quiet --disable-pip-version-check install --require-hashes -r /root/uv.txt
/opt/uv/bin/uv venv --quiet --python /usr/bin/python3 /opt/airflow
echo "\$requirement" >/root/requirements.txt
/opt/uv/bin/uv pip install --quiet --python /opt/airflow --compile-bytecode --require-hashes \
    --constraint /root/lock.txt --requirement /root/requirements.txt

cat >/etc/airflow.cfg <<CONF
[api]
secret_key = 0123456789abcdef0123456789abcdef
[api_auth]
jwt_secret = 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
[celery]
broker_url = redis://:baseline@broker1:6379/0
result_backend = db+postgresql+psycopg2://airflow:baseline@db1:5432/airflow
worker_concurrency = 1
[celery_broker_transport_options]
visibility_timeout = 90000
[core]
auth_manager = airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager
dags_folder = /var/lib/airflow/dags
plugins_folder = /var/lib/airflow/plugins
execution_api_server_url = http://127.0.0.1:8089/execution/
executor = CeleryExecutor
fernet_key = MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=
load_examples = False
[database]
sql_alchemy_conn = postgresql+psycopg2://airflow:baseline@db1:5432/airflow
[logging]
base_log_folder = /var/log/airflow
CONF
chown root:airflow /etc/airflow.cfg
chmod 640 /etc/airflow.cfg

cat >/etc/haproxy/haproxy.cfg <<CONF
defaults
    mode http
    timeout connect 3s
    timeout client 5m
    timeout server 5m
frontend airflow
    bind 127.0.0.1:8089
    default_backend masters
backend masters
    option httpchk GET /execution/health
    default-server check inter 2s init-addr last,libc,none
CONF
for master; do echo "    server \$master \$master:8080" >>/etc/haproxy/haproxy.cfg; done

unit() {
    cat >"/etc/systemd/system/airflow-\$1.service" <<CONF
[Unit]
After=network-online.target
Wants=network-online.target
[Service]
User=airflow
Environment=AIRFLOW_HOME=/var/lib/airflow AIRFLOW_CONFIG=/etc/airflow.cfg
Environment=PATH=/opt/airflow/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/opt/airflow/bin/airflow \$2
Restart=always
RestartSec=5
KillMode=mixed
[Install]
WantedBy=multi-user.target
CONF
}
case \$name in
    m*) for one in api-server scheduler dag-processor triggerer; do unit \$one \$one; done ;;
    w*) unit worker "celery worker --celery-hostname \$name --queues default" ;;
esac
systemctl daemon-reload
systemctl restart haproxy
END
}

migrate() {
    on "${masters[0]}" <<'END'
run() { runuser -u airflow -- env AIRFLOW_HOME=/var/lib/airflow AIRFLOW_CONFIG=/etc/airflow.cfg PATH="/opt/airflow/bin:$PATH" airflow "$@" </dev/null; }
run db migrate
run users create --role Admin --username admin --password baseline --email admin@example.invalid --firstname A --lastname B
END
}

start_master() {
    on "$1" <<'END'
systemctl enable --quiet --now airflow-api-server airflow-scheduler airflow-dag-processor airflow-triggerer
python3 - <<'PYTHON'
import json, time, urllib.request

while True:
    try:
        health = json.load(urllib.request.urlopen("http://127.0.0.1:8080/api/v2/monitor/health"))
    except (OSError, ValueError):
        health = {}
    if health and all(part["status"] == "healthy" for part in health.values()):
        break
    time.sleep(0.5)
PYTHON
END
}

# beating NUMBER : waits for so many heartbeats. The health page tells of the youngest one of any host.
beating() {
    on db1 "$1" <<'END'
jobs="SELECT count(DISTINCT hostname || job_type) FROM job WHERE state = 'running'"
until [ "$(runuser -u postgres -- psql -qAt -c "$jobs" airflow)" = "$1" ]; do sleep 0.5; done
END
}

start_worker() {
    on "$1" <<'END'
systemctl enable --quiet --now airflow-worker
until journalctl --unit airflow-worker --output cat | grep -q ' ready'; do sleep 0.5; done
END
}

database & pids+=($!)
broker & pids+=($!)
for host in "${masters[@]}" "${workers[@]}"; do node "$host" & pids+=($!); done
all
migrate
for host in "${masters[@]}"; do start_master "$host" & pids+=($!); done
for host in "${workers[@]}"; do start_worker "$host" & pids+=($!); done
beating $((3 * ${#masters[@]})) & pids+=($!)
all
