"""What a running server is doing, on the command line."""

from __future__ import annotations

from pathlib import Path

import click

from frontends.cli_admin import database_options, run
from frontends.cli_output import EXAMPLES, Json, print_result


@click.group()
def debug() -> None:
    """What a running server is doing."""


@debug.command("upstream", epilog=EXAMPLES["debug upstream"])
@database_options
def upstream(db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Show the connections to providers: streams, windows, round trips, dials and failures.

    Windows are in bytes, of the connection and of its narrowest stream: what may be sent and what
    may be received. Round trips are measured by HTTP/2 pings. --json has all figures.
    """
    figures = run(db, config_path, "debug.upstream")
    if as_json:
        print_result(figures, as_json=True)
        return
    print_result([_origin(origin) for origin in figures["origins"]], as_json=False)
    rows = [
        _connection(origin["authority"], connection)
        for origin in figures["origins"]
        for connection in origin["connection_statistics"]
    ]
    if rows:
        click.echo()
        print_result(rows, as_json=False)


def _origin(origin: Json) -> Json:
    names = ("connections", "dialing", "open_streams", "waiting", "dials", "dials_failed")
    return {
        "origin": origin["authority"],
        "proxy": origin["proxy"],
        **{name: origin[name] for name in names},
        "last_failure": origin["last_failure"],
    }


def _connection(authority: str, connection: Json) -> Json:
    return {
        "origin": authority,
        "protocol": connection["protocol"],
        "state": connection["state"],
        "age": f"{connection['age_s']:.0f} s",
        "streams": connection["open_streams"],
        "free": connection["free_streams"],
        "uploads": connection["uploads"],
        "may_send": _windows(connection, "send"),
        "may_receive": _windows(connection, "receive"),
        "round_trip": _milliseconds(connection["round_trip_last_s"]),
        "smoothed": _milliseconds(connection["round_trip_smoothed_s"]),
    }


def _windows(connection: Json, direction: str) -> str | None:
    """`connection / narrowest stream`."""
    window, stream = (
        connection[f"{direction}_window_bytes"],
        connection[f"stream_{direction}_window_min_bytes"],
    )
    if window is None:
        return None
    return f"{window:,}" if stream is None else f"{window:,} / {stream:,}"


def _milliseconds(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds * 1_000:.1f} ms"
