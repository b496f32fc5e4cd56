"""`python -m bench.routing [--config FILE] [--prompts FILE] [--json]`.

Each prompt is planned as a gateway would, by a configuration: the one below, with three models of
OpenAI's at listed prices, or an operator's own. What it would cost is reckoned with our own count
of its tokens and with an assumed length of the answer (`report.OUTPUT_TOKENS`). Exit code 1: fewer
of the hard prompts go to a strong model, or of the easy ones to a weak one, than there should be.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson

from bench.routing.prompts import PROMPTS_FILE, LabelledPrompt, read_prompts
from bench.routing.report import OUTPUT_TOKENS, Cost, Report, Routed, markdown, summarise
from engine import Config, load_config, parse_config
from engine.clock import wall_ms
from engine.events import Call
from engine.explaining import call_of, explain_config
from engine.metering.tokens import count_prompt

Json = dict[str, Any]

CONFIG: Final = """
[providers.openai]
protocol = "openai"
base_url = "https://api.openai.com/v1"
[models."gpt-5-nano"]
deployments = [{ provider = "openai", model = "gpt-5-nano" }]
[models."gpt-5-mini"]
deployments = [{ provider = "openai", model = "gpt-5-mini" }]
[models."gpt-5"]
deployments = [{ provider = "openai", model = "gpt-5" }]
[auto]
reference = "gpt-5"
models = [
    { name = "gpt-5-nano", strength = 1 },
    { name = "gpt-5-mini", strength = 2 },
    { name = "gpt-5", strength = 3 },
]
"""
_ENCODING: Final = "o200k_base"


def route_all(config: Config, prompts: Sequence[LabelledPrompt]) -> list[Routed]:
    """Plan each prompt for the configuration's `auto`.

    Raises:
        ConfigError: it cannot be used, or has no `[auto]` with a reference.
    """
    auto = config.auto
    if auto is None or auto.reference is None:
        raise config.error(("auto",), "is needed, with a reference")
    explained = explain_config(config, wall_ms)
    reference = _cost(_first(explained, auto.reference))
    return [_route(explained, auto.name, prompt, reference) for prompt in prompts]


def _route(
    explained: Callable[[Call], Json], auto: str, prompt: LabelledPrompt, reference: Cost
) -> Routed:
    found = explained(call_of(prompt.body(auto), "openai_chat", None, None))
    first = found["candidates"][0]
    texts = [message["content"] for message in prompt.body(auto)["messages"]]
    tokens = count_prompt(texts, _ENCODING), OUTPUT_TOKENS[prompt.level]
    return Routed(
        label=prompt.level,
        level=found["auto"]["level"],
        kind=prompt.kind,
        score=found["auto"]["score"],
        model=first["model"],
        usd=_cost(first).of(*tokens),
        reference_usd=reference.of(*tokens),
    )


def _first(explained: Callable[[Call], Json], model: str) -> Json:
    """The deployment that serves a model."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    candidate: Json = explained(call_of(body, "openai_chat", None, None))["candidates"][0]
    return candidate


def _cost(candidate: Json) -> Cost:
    said = candidate["cost_usd_per_million"]
    return Cost(Decimal(said["input"]), Decimal(said["output"]))


def report_of(config: Config, prompts: Sequence[LabelledPrompt]) -> Report:
    """Plan all prompts, and what that comes to."""
    return summarise(route_all(config, prompts))


def main() -> None:
    """Plan the prompts and print the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=__doc__)
    parser.add_argument("--config", type=Path, help="TOML file with an [auto] that has a reference")
    parser.add_argument("--prompts", type=Path, default=PROMPTS_FILE, help="JSON lines")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    options = parser.parse_args()
    config = parse_config(CONFIG, "bench.routing", {})
    if options.config is not None:
        config = load_config(options.config, os.environ)
    report = report_of(config, read_prompts(options.prompts))
    shown = orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2).decode()
    sys.stdout.write(f"{shown if options.json else markdown(report)}\n")
    if not report.good:
        sys.exit(1)


if __name__ == "__main__":
    main()
