"""What the command line prints: tables for people, JSON for scripts, errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

import click

FAILED = 1
CONFIG_FAILED = 3
LOCKED = 4

Json = Any


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


EXAMPLES = {
    "parshall": _examples(
        "parshall serve                               the demo",
        "parshall serve --config parshall.toml",
        "parshall accounts create alice --fund 25",
        "parshall keys create alice --name laptop",
    ),
    "serve": _examples(
        "parshall serve",
        "parshall serve --config parshall.toml --bind 0.0.0.0:8787 --supervised",
        "parshall serve --bind unix:/run/parshall/parshall.sock --db /var/lib/parshall/parshall.db",
    ),
    "simulate": _examples(
        "parshall simulate --bind 127.0.0.1:8788",
        "parshall simulate --defaults 'tokens=500 tokens_per_second=60 first_token_ms=300'",
        "parshall simulate --directives",
    ),
    "bench": _examples(
        "parshall bench run --out results                      five scenarios, all peers",
        "parshall bench run paced --peer parshall --peer nginx --out paced",
        "parshall bench compare results later-results",
        "parshall bench peers install litellm portkey smg",
    ),
    "bench run": _examples(
        "parshall bench run --budget 20m --out results",
        "parshall bench run paced unary --peer parshall --peer nginx --out paced",
        "parshall bench run paced --peer parshall@HEAD~5 --peer parshall --out before-and-after",
        "parshall bench run --peer mine=http://127.0.0.1:9000,pid=4711 --provider-port 8788 "
        "--out mine",
    ),
    "bench report": _examples("parshall bench report results"),
    "bench compare": _examples("parshall bench compare results later-results"),
    "bench peers": _examples(
        "parshall bench peers", "parshall bench peers install litellm portkey smg"
    ),
    "bench scenarios": _examples(
        "parshall bench scenarios", "parshall bench scenarios paced > mine.toml"
    ),
    "openapi": _examples("parshall openapi > openapi.json"),
    "config check": _examples("parshall config check parshall.toml"),
    "accounts create": _examples(
        "parshall accounts create alice", "parshall accounts create alice --fund 25"
    ),
    "accounts fund": _examples(
        "parshall accounts fund alice 25.50",
        "parshall accounts fund alice 100 --reference invoice-2031",
    ),
    "accounts adjust": _examples(
        "parshall accounts adjust alice 5 --reason 'the outage of May'",
        "parshall accounts adjust alice -12.50 --reason 'funded twice' --reference ticket-81",
    ),
    "accounts show": _examples("parshall accounts show", "parshall accounts show alice --json"),
    "accounts usage": _examples(
        "parshall accounts usage alice --by day,model",
        "parshall accounts usage alice --from 2026-05-01 --to 2026-06-01 --by key --json",
    ),
    "accounts set": _examples(
        "parshall accounts set alice --plan pro", "parshall accounts set alice --no-plan"
    ),
    "keys create": _examples(
        "parshall keys create alice --name laptop",
        "parshall keys create alice --name ci --expires-in 90d --preset per-30 --model 'gpt-5*'",
        "parshall keys create alice --name trial --budget 5 --per month",
    ),
    "keys show": _examples("parshall keys show key_0123456789abcdef"),
    "keys set": _examples(
        "parshall keys set key_0123456789abcdef --requests-per-min 60",
        "parshall keys set key_0123456789abcdef --model gpt-5 --expires-in 30d",
    ),
    "keys rotate": _examples("parshall keys rotate key_0123456789abcdef --overlap 24h"),
    "keys list": _examples("parshall keys list", "parshall keys list alice --json"),
    "keys revoke": _examples("parshall keys revoke key_0123456789abcdef"),
    "plans list": _examples("parshall plans list"),
    "plans show": _examples("parshall plans show pro --json"),
    "plans set": _examples(
        "parshall plans set trial --requests-per-min 30 --model gpt-5-mini --monthly-budget 5",
        "parshall plans set team --tokens-per-min 1000000 --concurrent-streams 50",
    ),
    "plans remove": _examples("parshall plans remove trial"),
    "prices list": _examples("parshall prices list"),
    "prices set": _examples(
        "parshall prices set gpt-5 --for account --owner alice --input 1.10 --output 9",
        "parshall prices set gpt-5 --for plan --owner pro --input 1.2 --output 9.5 "
        "--rate cached_input=0.1",
        "parshall prices set dall-e-3 --for all --rate images=0.04 --image 'hd 1024x1792=0.12'",
    ),
    "prices remove": _examples("parshall prices remove gpt-5 --for account --owner alice"),
    "exchanges list": _examples(
        "parshall exchanges list", "parshall exchanges list --account alice --json"
    ),
    "exchanges end": _examples("parshall exchanges end req_0123456789abcdef"),
    "switches list": _examples("parshall switches list"),
    "switches off": _examples(
        "parshall switches off provider openai --reason 'their incident of today'",
        "parshall switches off deployment openai/gpt-5-2025-08-07",
        "parshall switches off account alice --reason abuse --end-open",
    ),
    "switches on": _examples("parshall switches on provider openai"),
    "reload": _examples("parshall reload", "parshall reload --config parshall.toml --json"),
    "status": _examples("parshall status"),
    "log": _examples("parshall log --limit 20", "parshall log --subject key_0123456789abcdef"),
    "budgets set": _examples(
        "parshall budgets set alice 50 --per month",
        "parshall budgets set alice 2 --per day --key key_0123456789abcdef --tell-at 50",
        "parshall budgets set alice 500 --per month --soft --tell-at 80 --tell-at 120",
    ),
    "budgets remove": _examples("parshall budgets remove alice --per month"),
    "budgets show": _examples("parshall budgets show", "parshall budgets show alice --json"),
    "receipts show": _examples("parshall receipts show req_0123456789abcdef --json"),
    "reconcile": _examples(
        "parshall reconcile --provider openai costs.json",
        "parshall reconcile --provider anthropic cost_report.json --post",
        "parshall reconcile --provider openai costs-of-may.csv --all --json",
    ),
    "receipts list": _examples(
        "parshall receipts list alice --limit 20",
        "parshall receipts list alice --model gpt-5 --outcome client_left --from 2026-05-01",
    ),
    "receipts export": _examples(
        "parshall receipts export --from 2026-05-01 --to 2026-06-01 --output may.csv",
        "parshall receipts export --by day,model --from 2026-05-01",
        "parshall receipts export --account alice --format jsonl",
    ),
    "receipts refund": _examples(
        "parshall receipts refund req_0123456789abcdef --reason 'the answer was cut'",
        "parshall receipts refund req_0123456789abcdef 0.02 --reason goodwill --reference t-81",
    ),
    "debug upstream": _examples(
        "parshall debug upstream", "parshall debug upstream --config parshall.toml --json"
    ),
    "providers check": _examples(
        "parshall providers check --config parshall.toml",
        "parshall providers check --config parshall.toml --provider openai --timeout 60",
        "parshall providers check --config parshall.toml --json",
    ),
    "route health": _examples("parshall route health", "parshall route health --json"),
    "route explain": _examples(
        "parshall route explain request.json",
        "parshall route explain request.json --protocol anthropic --account alice --json",
        "parshall route explain request.json --protocol openai --operation embed",
        "parshall route explain request.json --config parshall.toml     without a server",
    ),
    "ledger audit": _examples("parshall ledger audit --db parshall.db"),
    "ledger backup": _examples(
        "parshall ledger backup /backups/parshall-2026-05-01.db --db parshall.db"
    ),
    "ledger restore": _examples(
        "parshall ledger restore /backups/parshall-2026-05-01.db --db drill.db    a drill",
        "parshall ledger restore /backups/parshall-2026-05-01.db --db parshall.db --force",
    ),
    "ledger archive": _examples(
        "parshall ledger archive /backups/receipts --before 2026-01-01 --db parshall.db"
    ),
    "ledger replay": _examples(
        "parshall ledger replay --db parshall.db", "parshall ledger replay --repair"
    ),
}


@contextmanager
def explain() -> Iterator[None]:
    """Turns the errors that people can act on into one line and an exit code."""
    from engine.errors import ConfigError, GatewayError
    from engine.ledger.records import LedgerError, LedgerLockedError
    from frontends.control import CommandRefusedError, ControlFailedError
    from frontends.server.binds import BindError

    try:
        yield
    except ConfigError as error:
        fail(str(error), CONFIG_FAILED)
    except LedgerLockedError as error:
        fail(f"{error} Another database: --db.", LOCKED)
    except ControlFailedError as error:
        fail(f"another process holds the database, and {error}", LOCKED)
    except CommandRefusedError as error:
        fail(error.message, CONFIG_FAILED if error.code == "bad_configuration" else FAILED)
    except GatewayError as error:
        fail(error.message, FAILED)
    except (LedgerError, BindError, OSError) as error:
        fail(str(error), FAILED)


def fail(message: str, code: int) -> NoReturn:
    """Say why, and end with an exit code."""
    click.echo(f"parshall: error: {message}", err=True)
    sys.exit(code)


def print_result(result: Json, *, as_json: bool, title: str | None = None) -> None:
    """A list of objects as a table, one object as names and values; or either as JSON."""
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    from tabulate import tabulate

    if isinstance(result, list):
        if not result:
            click.echo("(none)")
            return
        rows = [[_cell(value) for value in row.values()] for row in result]
        headers = [_heading(name) for name in result[0]]
        click.echo(tabulate(rows, headers=headers, disable_numparse=True))
        return
    click.echo(tabulate(list(_flat(result)), tablefmt="plain", disable_numparse=True))


def print_one(row: Json, *, as_json: bool) -> None:
    """One account or key, as a table or as JSON."""
    print_result(row if as_json else with_state(row), as_json=as_json)


def with_state(row: Json) -> Json:
    """A row of a table that says whether an account or a key can be used, and if not, why."""
    expires_at = row.get("expires_at")
    state = "OFF" if row["off"] else "on"
    if row.get("revoked_at") is not None:
        state = "revoked"
    elif expires_at is not None and datetime.fromisoformat(expires_at) <= datetime.now(UTC):
        state = "expired"
    return {name: value for name, value in row.items() if name != "off"} | {"state": state}


def _heading(name: str) -> str:
    return name.replace("_", " ").upper()


def _cell(value: Json) -> str:
    match value:
        case None:
            return "-"
        case True:
            return "yes"
        case False:
            return "NO"
        case {"nanodollars": int(), "usd": str(usd)}:
            return f"${_short(usd)}"
        case [{}, *_]:
            return "; ".join(map(_cell, value))
        case list():
            return ", ".join(map(str, value)) or "-"
        case dict():
            return ", ".join(f"{name}={_cell(each)}" for name, each in value.items()) or "-"
        case _:
            return str(value)


def _short(usd: str) -> str:
    """Exact, with cents at least: '25.500000000' is '25.50', '0.000123456' stays."""
    whole, _, fraction = usd.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _flat(value: Json, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested objects as dotted names and cells."""
    items = value.items() if isinstance(value, dict) else enumerate(value, 1)
    for name, inner in items:
        path = f"{prefix}{name}"
        is_money = isinstance(inner, dict) and inner.keys() == {"nanodollars", "usd"}
        plain = isinstance(inner, list) and not any(isinstance(v, dict | list) for v in inner)
        if isinstance(inner, dict | list) and inner and not is_money and not plain:
            yield from _flat(inner, f"{path}.")
        else:
            yield path, _cell(inner) if inner not in ({}, []) else "-"
