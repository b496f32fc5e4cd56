"""What a token costs in each pair of protocols, and what translating a large request costs.

    python -m bench.pair_cost [--streams 100] [--rate 20] [--seconds 4] [--repeats 3] [--only …]

Three measurements, each with every pair in one run, rounds of all pairs one after another:

- `gateway`: CPU of the gateway's process a relayed token, over sockets, billing on; paced streams.
- `relay`: CPU of the relay alone (decoding, metering, encoding) a token, in this process.
- `request`: CPU to translate a request of 1 MB, and how long the event loop stands still for it.

Ratios are against the verbatim pair of the same provider.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import trio

from bench.processes import Target, running_gateway
from bench.simulate import SimulatorSettings, open_simulator
from engine import Call, open_gateway, parse_config
from engine.capability_table import capabilities_of
from engine.events import Protocol
from engine.metering.tokens import counter_for
from engine.protocols.codec import Identity, UpstreamTarget
from engine.protocols.registry import codec_of
from engine.relay import RelaySettings, open_relay

PROTOCOLS: tuple[Protocol, ...] = ("openai_chat", "openai_responses", "anthropic", "gemini")
MODELS: dict[str, str] = {
    "openai_chat": "sim-openai",
    "openai_responses": "sim-responses",
    "anthropic": "sim-anthropic",
    "gemini": "sim-gemini",
}
UPSTREAM_MODELS = MODELS | {"openai_responses": "sim-openai"}
PAIRS = [(client, provider) for provider in PROTOCOLS for client in PROTOCOLS]
Pair = tuple[Protocol, Protocol]

_WARM_MAX_S = 1.0
_OPEN_TIMEOUT_S = 10.0
_RELAYED_TOKENS = 4_000
_REQUEST_BYTES = 1_000_000


def request_of(client: Protocol, provider: str, prompt: str) -> tuple[str, dict[str, Any]]:
    """Path and body of a streamed request."""
    model, messages = MODELS[provider], [{"role": "user", "content": prompt}]
    match client:
        case "openai_chat":
            return "/v1/chat/completions", {"model": model, "stream": True, "messages": messages}
        case "openai_responses":
            return "/v1/responses", {"model": model, "stream": True, "input": messages}
        case "anthropic":
            return "/v1/messages", {
                "model": model, "stream": True, "messages": messages, "max_tokens": 100_000,
            }  # fmt: skip
        case _:
            path = f"/v1beta/models/{model}:streamGenerateContent?alt=sse"
            return path, {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}


def call_of(pair: Pair, prompt: str) -> Call:
    """The same as an embedder makes it."""
    client, provider = pair
    _, document = request_of(client, provider, prompt)
    in_url = client == "gemini"
    return Call(
        body=orjson.dumps(document),
        key=None,
        protocol=client,
        model=MODELS[provider] if in_url else None,
        stream=True if in_url else None,
    )


async def gateway_cost(
    target: Target, pair: Pair, streams: int, rate: int, seconds: float
) -> float:
    """CPU microseconds of the gateway a relayed token, one an event."""
    warm_s = min(seconds, _WARM_MAX_S)
    tokens = int(rate * ((seconds + warm_s) * 3 + _OPEN_TIMEOUT_S))
    prompt = f"#sim tokens={tokens} tokens_per_second={rate}\nTell me more."
    path, document = request_of(*pair, prompt)
    body = orjson.dumps(document)
    request = (
        b"POST %s HTTP/1.1\r\nhost: localhost\r\nx-api-key: %s\r\ncontent-length: %d\r\n\r\n%s"
        % (path.encode(), target.key.encode(), len(body), body)
    )
    events = 0

    async def client() -> None:
        nonlocal events
        async with await trio.open_tcp_stream("127.0.0.1", target.port) as stream:
            await stream.send_all(request)
            async for data in stream:
                events += data.count(b"data: ")

    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(client)
        with trio.fail_after(warm_s + _OPEN_TIMEOUT_S):
            await trio.sleep(warm_s)
            while not events:  # noqa: ASYNC110 - another process has no event to wait for
                await trio.sleep(warm_s)
        cpu_s, before = target.cpu_s(), events
        with trio.fail_after(seconds + _OPEN_TIMEOUT_S):
            await trio.sleep(seconds)
            while events == before:  # noqa: ASYNC110 - what is loaded late stops everything
                await trio.sleep(seconds)
        cpu_s, relayed = target.cpu_s() - cpu_s, events - before
        nursery.cancel_scope.cancel()
    await trio.sleep(0.3)
    return cpu_s / relayed * 1e6


async def provider_streams() -> dict[str, bytes]:
    """The stream of each simulated provider, as its own client gets it."""
    text = "".join(
        f"""
[providers.{name}]
protocol = "{name.removesuffix("_chat").replace("_", "-")}"
base_url = "%s/{"v1beta" if name == "gemini" else "v1"}"
http2 = "prior-knowledge"
[models.{model}]
deployments = [{{ provider = "{name}", model = "{UPSTREAM_MODELS[name]}" }}]
free = true
"""
        for name, model in MODELS.items()
    )
    streams: dict[str, bytes] = {}
    with TemporaryDirectory() as folder:
        async with open_simulator(SimulatorSettings()) as sim:
            store = f'[storage]\nurl = "sqlite:{Path(folder)}/ledger.db"\n'
            config = parse_config(store + text.replace("%s", sim.base_url), "bench", {})
            async with open_gateway(config) as gateway:
                account = await gateway.ledger.create_account("bench")
                _, key = await gateway.create_key(account.account_id, "bench")
                for protocol in PROTOCOLS:
                    prompt = f"#sim tokens={_RELAYED_TOKENS}\nTell me more."
                    asked = call_of((protocol, protocol), prompt)
                    call = Call(
                        body=asked.body,
                        key=key,
                        protocol=protocol,
                        model=asked.model,
                        stream=asked.stream,
                    )
                    async with gateway.open_exchange(call) as exchange:
                        streams[protocol] = b"".join([chunk async for chunk in exchange])
    return streams


def relay_cost(pair: Pair, stream: bytes) -> float:
    """CPU microseconds a token of the relay alone, fed an event at a time."""
    client, provider = codec_of(pair[0]), codec_of(pair[1])
    settings = RelaySettings(
        client=client,
        provider=provider,
        request=client.parse_request(call_of(pair, "x")),
        count=counter_for("o200k_base"),
        identity=Identity("req_1", "m", 0),
        end_marker=True,
        body_max_bytes=_REQUEST_BYTES,
    )
    blank = b"\r\n\r\n" if b"\r\n\r\n" in stream else b"\n\n"
    frames = [frame + blank for frame in stream.split(blank) if frame]
    relay = open_relay(settings)
    started = time.process_time()
    for frame in frames:
        relay.feed(frame)
    relay.end_of_input()
    relay.finish()
    return (time.process_time() - started) / _RELAYED_TOKENS * 1e6


def large_request(client: Protocol, provider: str) -> bytes:
    """A conversation of about a megabyte."""
    _, document = request_of(client, provider, "Go on.")
    turns: list[dict[str, Any]] = []
    words = "All work and no play makes a dull day. " * 25
    for number in range(_REQUEST_BYTES // (len(words) + 60)):
        user = number % 2 == 0
        if client == "gemini":
            turns.append({"role": "user" if user else "model", "parts": [{"text": words}]})
        else:
            turns.append({"role": "user" if user else "assistant", "content": words})
    name = {"gemini": "contents", "openai_responses": "input"}.get(client, "messages")
    return orjson.dumps(document | {name: [*turns, *document[name]]})


async def request_cost(pair: Pair) -> tuple[float, float]:
    """CPU milliseconds to translate a large request, and the loop's longest standstill (ms)."""
    client, provider = codec_of(pair[0]), codec_of(pair[1])
    asked = call_of(pair, "x")
    call = Call(
        body=large_request(*pair),
        key=None,
        protocol=pair[0],
        model=asked.model,
        stream=asked.stream,
    )
    model = UPSTREAM_MODELS[pair[1]]

    def translate() -> None:
        request = client.parse_request(call)
        if client is provider:
            client.encode_verbatim(request, model, None)
            return
        target = UpstreamTarget(model, capabilities_of(pair[1], model), stream=True)
        provider.encode_request(client.decode_request(request), target)

    longest_s, beaten = 0.0, trio.current_time()

    async def beat() -> None:
        nonlocal longest_s, beaten
        while True:
            await trio.sleep(0.001)
            now = trio.current_time()
            longest_s, beaten = max(longest_s, now - beaten), now

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        await trio.sleep(0.02)
        longest_s = 0.0
        started = time.process_time()
        translate()
        cpu_s = time.process_time() - started
        await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    return cpu_s * 1e3, longest_s * 1e3


def report(title: str, unit: str, measure: Callable[[Pair], float], repeats: int) -> None:
    """Measure every pair in rounds, and print the median, range and ratio to verbatim."""
    figures: dict[Pair, list[float]] = {pair: [] for pair in PAIRS}
    for _ in range(repeats):
        for pair in PAIRS:
            figures[pair].append(measure(pair))
    sys.stdout.write(f"{title}\n")
    for pair in PAIRS:
        client, provider = pair
        ratios = [
            mine / verbatim
            for mine, verbatim in zip(figures[pair], figures[provider, provider], strict=True)
            if verbatim  # the kernel counts CPU in ticks: a short run may take less than one
        ]
        ratio = f"{statistics.median(ratios):.2f} x verbatim" if ratios else "too short to compare"
        sys.stdout.write(
            f"  {client:>11} client, {provider:>11} provider: "
            f"{statistics.median(figures[pair]):6.1f} {unit} "
            f"({min(figures[pair]):.1f} to {max(figures[pair]):.1f}), {ratio}\n"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m bench.pair_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--rate", type=int, default=20, help="tokens a second of each stream")
    parser.add_argument("--seconds", type=float, default=4.0, help="a pair and round")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="gateway,relay,request", help="which measurements")
    options = parser.parse_args(arguments)
    wanted = set(options.only.split(","))
    sys.stdout.write(
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores\n"
    )
    if "relay" in wanted:
        streams = trio.run(provider_streams)
        report(
            "CPU of the relay alone, a token:",
            "us",
            lambda pair: relay_cost(pair, streams[pair[1]]),
            options.repeats,
        )
    if "request" in wanted:
        lags: list[float] = []

        def translated(pair: Pair) -> float:
            cpu_ms, lag_ms = trio.run(request_cost, pair)
            lags.append(lag_ms)
            return cpu_ms

        report("CPU to translate a request of 1 MB:", "ms", translated, options.repeats)
        sys.stdout.write(
            f"  the event loop stood still for {statistics.median(lags):.1f} ms, "
            f"at most {max(lags):.1f}\n"
        )
    if "gateway" in wanted:
        with running_gateway() as target:
            report(
                f"CPU of the gateway, a token, {options.streams} streams at {options.rate}/s:",
                "us",
                lambda pair: trio.run(
                    gateway_cost, target, pair, options.streams, options.rate, options.seconds
                ),
                options.repeats,
            )


if __name__ == "__main__":
    main()
