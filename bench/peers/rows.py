"""The peers, a row each. Versions are pinned here and, with all they need, in lock files beside.

What is stated of a peer in `notes` was seen when its row was made, at the version that it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.peers.row import (
    NodePackages,
    Nothing,
    PeerRow,
    Program,
    PythonPackages,
    Source,
    SystemProgram,
)
from bench.suite.model import Http, Protocol

_MODELS: Final[Mapping[Protocol, str]] = {
    "openai_chat": "sim-openai",
    "openai_responses": "sim-openai",
    "anthropic": "sim-anthropic",
    "gemini": "sim-gemini",
}
"""What the simulated provider knows, by its API."""
_PROTOCOLS: Final = frozenset(_MODELS)
_SIMULATED_KEYS: Final = (
    ("authorization", "Bearer sk-sim"),
    ("x-api-key", "sk-sim"),
    ("x-goog-api-key", "sk-sim"),
)
"""The simulated provider takes any."""

# -- nginx ------------------------------------------------------------------------------------

_NGINX_CONFIG: Final = """\
daemon off;
master_process off;
worker_rlimit_nofile 20000;
pid $folder/nginx.pid;
error_log stderr crit;
events { worker_connections 20000; }
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    client_max_body_size 64m;
    keepalive_requests 1000000;
    upstream provider { server $provider_address; keepalive 512; }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;
    proxy_read_timeout 600s;
    server {
        listen 127.0.0.1:$port LISTEN backlog=4096;
        location / { proxy_pass http://provider; }
    }
}
"""


def _nginx(name: str, listen: str, http: Http) -> PeerRow:
    return PeerRow(
        name=name,
        install=SystemProgram(
            "nginx",
            "-v",
            "install it (Debian and Ubuntu: `apt install --no-install-recommends nginx`)",
        ),
        program=Program(
            command=("$program", "-p", "$folder", "-c", "$folder/nginx.conf"),
            files={"nginx.conf": _NGINX_CONFIG.replace(" LISTEN", listen)},
        ),
        headers=_SIMULATED_KEYS,
        models=_MODELS,
        protocols=_PROTOCOLS,
        http=frozenset({http}),
        notes="passes bytes on and bills nothing: the limit; one process, no buffering, "
        "HTTP/1.1 to the provider",
    )


# -- Parshall ---------------------------------------------------------------------------------

_PARSHALL: Final = (
    "$python", "-P", "-c",
    "$prelude\nfrom frontends.cli import main\nmain(prog_name='parshall')",
)  # fmt: skip
_CONFIGURED: Final = ("--config", "$folder/parshall.toml")
_FUNDS_USD: Final = "1000000"
_PARSHALL_ADMIN_KEY: Final = "of-an-operator-whom-nobody-asks-here"
"""It serves nothing without one."""
# Both commands in one process: half of what they take is for starting.
_PARSHALL_ADMIN: Final = f"""
import contextlib, io
from frontends.cli import main
config = {list(_CONFIGURED)}
with contextlib.redirect_stdout(io.StringIO()):
    main(["accounts", "create", "bench", "--fund", "{_FUNDS_USD}", *config], standalone_mode=False)
main(["keys", "create", "bench", "--json", *config], prog_name="parshall")
"""
_PARSHALL_MODELS: Final = {**_MODELS, "openai_responses": "sim-responses"}
"""The name chooses the API, which two of the provider's names do not."""
_PARSHALL_APIS: Final[Mapping[Protocol, tuple[str, str]]] = {
    "openai_chat": ("openai", "/v1"),
    "openai_responses": ("openai-responses", "/v1"),
    "anthropic": ("anthropic", "/v1"),
    "gemini": ("gemini", "/v1beta"),
}
"""The name of each API in a configuration, and where it begins."""


def _parshall_config(http2: str) -> str:
    parts = ['[storage]\nurl = "sqlite:$folder/ledger.db"\n']
    for api, (protocol, path) in _PARSHALL_APIS.items():
        parts.append(
            f"[providers.{protocol}]\n"
            f'protocol = "{protocol}"\n'
            f'base_url = "$provider{path}"\n'
            f'http2 = "{http2}"\n'
            "connections_max = 10000\n"
            f"[models.{_PARSHALL_MODELS[api]}]\n"
            f'deployments = [{{ provider = "{protocol}", model = "{_MODELS[api]}" }}]\n'
            "price = { input = 1, output = 2 }\n"
        )
    return "".join(parts)


def _parshall(name: str, http2: str, upstream: str) -> PeerRow:
    return PeerRow(
        name=name,
        install=Source(),
        program=Program(
            command=(
                *_PARSHALL, "serve", *_CONFIGURED, "--bind", "127.0.0.1:$port",
                "--log-level", "warning",
            ),
            environment={"PYTHONPATH": "$installed", "PARSHALL_ADMIN_KEY": _PARSHALL_ADMIN_KEY},
            files={"parshall.toml": _parshall_config(http2)},
            health="/readyz",
            start_timeout_s=30.0,
            admin=(("$python", "-P", "-c", _PARSHALL_ADMIN),),
            key="secret",
        ),
        headers=(("authorization", "Bearer $key"),),
        models=_PARSHALL_MODELS,
        protocols=_PROTOCOLS,
        http=frozenset({"http1", "http2"}),
        translates=True,
        notes=f"bills every request durably; {upstream} to the provider",
    )  # fmt: skip


# -- others -----------------------------------------------------------------------------------

_LITELLM_CONFIG: Final = """\
model_list:
  - model_name: sim-openai
    litellm_params: {model: openai/sim-openai, api_base: "$provider/v1", api_key: sk-sim}
  - model_name: sim-anthropic
    litellm_params: {model: anthropic/sim-anthropic, api_base: "$provider", api_key: sk-sim}
litellm_settings: {telemetry: false, request_timeout: 600}
general_settings: {master_key: sk-bench}
"""

_LITELLM: Final = PeerRow(
    name="litellm",
    version="1.106.2",
    install=PythonPackages("litellm.lock", "environment/bin/litellm"),
    program=Program(
        command=(
            "$program", "--config", "$folder/litellm.yaml", "--num_workers", "1",
            "--host", "127.0.0.1", "--port", "$port",
        ),
        environment={
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches prices when it starts
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "NO_DOCS": "True",
        },
        files={"litellm.yaml": _LITELLM_CONFIG},
        health="/health/liveliness",
        start_timeout_s=120.0,
    ),
    headers=(("authorization", "Bearer sk-bench"),),
    models={"openai_chat": "sim-openai", "anthropic": "sim-anthropic"},
    protocols=frozenset({"openai_chat", "anthropic"}),
    translates=True,
    tokens_per_s_max=400.0,
    notes="one worker, without a database: keeps no books; HTTP/1.1 to the provider",
)  # fmt: skip

_PORTKEY: Final = PeerRow(
    name="portkey",
    version="1.15.2",
    install=NodePackages(
        ("portkey/package.json", "portkey/package-lock.json", "portkey/loopback.cjs"),
        "node_modules/@portkey-ai/gateway/build/start-server.js",
    ),
    program=Program(
        command=(
            "node", "--require", "$installed/loopback.cjs",
            "$program", "--headless", "--port=$port",
        ),
        environment={"NODE_ENV": "production"},
        health="/",
        start_timeout_s=30.0,
    ),
    headers=(
        ("x-portkey-provider", "openai"),
        ("x-portkey-custom-host", "$provider/v1"),
        ("authorization", "Bearer sk-sim"),
    ),
    models={"openai_chat": "sim-openai"},
    tokens_per_s_max=4_000.0,
    notes="keeps no books; HTTP/1.1 to the provider; with @hono/node-server 1.3.3, because with "
    "the newest that npm chooses every stream is answered 500",
)  # fmt: skip

_SMG: Final = PeerRow(
    name="smg",
    version="1.13.0",
    install=PythonPackages("smg.lock", "environment/bin/smg"),
    program=Program(
        command=(
            "$program", "launch", "--host", "127.0.0.1", "--port", "$port",
            "--worker-urls", "$provider", "--backend", "openai", "--policy", "round_robin",
            "--disable-load-monitoring", "--log-level", "warn",
            "--prometheus-host", "127.0.0.1", "--prometheus-port", "$port2",
        ),
        health="/readiness",
        start_timeout_s=30.0,
    ),
    headers=(("authorization", "Bearer sk-sim"),),
    models={"openai_chat": "sim-openai"},
    http=frozenset({"http1", "http2"}),
    notes="in Rust, keeps no books; policy round_robin, its own retries on; HTTP/1.1 to the "
    "provider; accepts 128 connections at once",
)  # fmt: skip

_DIRECT: Final = PeerRow(
    name="direct",
    install=Nothing(),
    base_url="$provider",
    headers=_SIMULATED_KEYS,
    models=_MODELS,
    protocols=_PROTOCOLS,
    http=frozenset({"http1", "http2"}),
    notes="no gateway: the simulated provider itself",
)

ROWS: Final[Mapping[str, PeerRow]] = {
    row.name: row
    for row in (
        _DIRECT,
        _nginx("nginx", "", "http1"),
        _nginx("nginx-http2", " http2", "http2"),
        _parshall("parshall", "prior-knowledge", "HTTP/2"),
        _parshall("parshall-h1", "off", "HTTP/1.1"),
        _LITELLM,
        _PORTKEY,
        _SMG,
    )
}
"""By name."""

DEFAULT_PEERS: Final = ("direct", "nginx", "parshall", "smg", "portkey", "litellm")
"""Who is in a table unless somebody chooses."""
