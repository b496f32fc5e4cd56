"""What would become of a request, and how deployments do: for people, and nothing is sent.

The plan is the one that an exchange would make now, by the same rules, with all that was passed
over and why. Beside a running gateway it is made with its health; of a configuration alone, with
all deployments well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from random import Random
from typing import Any, Final

import orjson
import trio

from engine.admission.switches import Switches
from engine.clock import Clock
from engine.config import Config
from engine.conversation import FileStandIn
from engine.errors import InvalidRequestError, ModelUnavailableError
from engine.events import Call, Operation, Protocol
from engine.metering.pricing import Rates
from engine.parsing.jobs import (
    Encode,
    FilesNamedError,
    HeldNamedError,
    Prepared,
    do_here,
    target_of,
)
from engine.parts import Parts
from engine.prices import shown
from engine.protocols.registry import client_codec
from engine.routing.health import HealthBook
from engine.routing.plan import plan
from engine.routing.values import Asked, Candidate, Model, Passed, Plan
from engine.rules import build_rules
from engine.upstream.bodies import close_body

Json = dict[str, Any]

_LATE_SHARE = 0.95


async def explain(parts: Parts, call: Call, account_plan: str | None = None) -> Json:
    """The plan for a request to a running gateway, as `_Explanation.to_json` writes it.

    `account_plan` is the plan of the account that asks; None: of one that may use everything.

    Raises:
        InvalidRequestError: the body is no request of its protocol.
        ModelNotFoundError: there is no such model, or not for this account.
    """
    rules = parts.rules
    allowed = None if account_plan is None else rules.plans.get(account_plan)

    def usable(name: str) -> bool:
        return allowed is None or name in allowed.models

    def planned(asked: Asked) -> Plan[Rates]:
        now, draw = trio.current_time(), parts.chance.random
        return plan(
            asked,
            parts.catalogue,
            usable,
            parts.switches,
            parts.health,
            now,
            draw,
            explain=True,
        )

    explanation = _Explanation(planned)
    with explanation.refusals():
        for _ in range(3):
            try:
                prepared = await parts.prepare(call, explanation.choose)
                break
            except (HeldNamedError, FilesNamedError) as named:
                call = _with_named(call, named)
        explanation.prepared = prepared
        close_body(prepared.body)
    return explanation.to_json()


def explain_config(config: Config, clock: Clock) -> Callable[[Call], Json]:
    """What explains requests by a configuration alone: everything is well and allowed to everybody.

    Raises:
        ConfigError: a model without a price, or an impossible one.
    """
    rules = build_rules(config, clock)
    chance = Random(config.routing.seed)  # noqa: S311
    health = HealthBook(config.routing, chance.random)
    off = Switches()

    def planned(asked: Asked) -> Plan[Rates]:
        return plan(
            asked, rules.catalogue, _everything, off, health, 0.0, chance.random, explain=True
        )

    def explained(call: Call) -> Json:
        explanation = _Explanation(planned)

        def ask(asked: Asked) -> Encode:
            client = client_codec(call.protocol, call.operation).name
            candidates = explanation.choose(asked).candidates
            return Encode(
                tuple(
                    target_of(client, each.deployment, rules.providers[each.deployment.provider])
                    for each in candidates
                ),
                in_memory=True,
            )

        with explanation.refusals():
            for _ in range(3):
                try:
                    prepared = do_here(call, ask, rules.wanted)
                    break
                except (HeldNamedError, FilesNamedError) as named:
                    call = _with_named(call, named)
            assert isinstance(prepared, Prepared), "a body was asked for"
            explanation.prepared = prepared
        return explanation.to_json()

    return explained


def _with_named(call: Call, named: HeldNamedError | FilesNamedError) -> Call:
    """The call with files that are taken for small PDFs, and with whatever else it names taken for
    its own: nobody looks at any for an explanation."""
    if isinstance(named, HeldNamedError):
        return replace(call, held=frozenset(ref.object_id for ref in named.refs))
    file = FileStandIn("application/pdf", "file.pdf", 0)
    return replace(call, files={use.written: file for use in named.uses})


def _everything(_name: str) -> bool:
    return True


class _Explanation:
    """Of one request: what it asks, the plan, and what each deployment's protocol makes of it."""

    def __init__(self, planned: Callable[[Asked], Plan[Rates]]) -> None:
        self._planned = planned
        self._asked: Asked | None = None
        self._plan: Plan[Rates] | None = None
        self._refusal: InvalidRequestError | ModelUnavailableError | None = None
        self.prepared: Prepared | None = None

    def choose(self, asked: Asked) -> Plan[Rates]:
        """The plan. Raises ModelUnavailableError: nobody could serve it now."""
        self._asked = asked
        self._plan = found = self._planned(asked)
        if not found.candidates:
            raise ModelUnavailableError(f"The model '{asked.model}' is not available now.")
        return found

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Where the request is prepared: what its client would be refused with is a part of the
        explanation. Raises InvalidRequestError: it is no request at all."""
        try:
            yield
        except (InvalidRequestError, ModelUnavailableError) as error:
            if self._asked is None:
                raise
            self._refusal = error

    def to_json(self) -> Json:
        """The request as it was understood, what was chosen and why, and what was not.

        `candidates` are in the order in which they would be tried; the one that is `first` would be
        sent the request, those before it `cannot_say` it. `refused` is what the client would get
        instead.
        """
        asked, found = self._asked, self._plan
        assert asked is not None, "what is explained was parsed"
        candidates = () if found is None else found.candidates
        prepared, error = self.prepared, self._refusal
        return {
            "model": asked.model,
            "asked": _asked_json(asked),
            "auto": None if found is None or found.auto is None else asdict(found.auto),
            "candidates": [
                _candidate_json(number, candidate, prepared)
                for number, candidate in enumerate(candidates)
            ],
            "passed": [_passed_json(each) for each in (() if found is None else found.passed)],
            "dropped": [] if prepared is None else list(prepared.dropped),
            "max_output_tokens": None if prepared is None else prepared.max_output_tokens,
            "refused": None if error is None else {"code": error.code, "message": error.message},
        }


def _asked_json(asked: Asked) -> Json:
    features = asked.features
    return {
        "protocol": asked.protocol,
        "stream": asked.stream,
        "choices": asked.choices,
        "expected_input_tokens": asked.expected_input_tokens,
        "max_output_tokens": asked.max_output_tokens,
        "media": sorted(asked.media),
        "tools": asked.tools,
        "json_schema": asked.json_schema,
        "reasoning": asked.reasoning,
        "session": asked.session is not None,
        "continuable": asked.continuable,
        "features": None if features is None else asdict(features),
    }


def _candidate_json(number: int, candidate: Candidate[Rates], prepared: Prepared | None) -> Json:
    deployment = candidate.deployment
    told = shown(deployment.cost)
    unsaid = () if prepared is None else prepared.unsaid
    return {
        "number": number + 1,
        "model": candidate.model.name,
        "deployment": deployment.path,
        "key": candidate.key,
        "why": candidate.why,
        "first": prepared is not None and prepared.target == number,
        "cannot_say": unsaid[number] if number < len(unsaid) else None,
        "cost_usd_per_million": {name: told.pop(name) for name in ("input", "output")},
        "cost_usd": told,
    }


def _passed_json(passed: Passed) -> Json:
    return {"deployment": passed.path, "why": passed.why}


def routes_json(parts: Parts) -> Json:
    """How all deployments and models do now. Times are in milliseconds and seconds, from now."""
    now = trio.current_time()
    models: list[Model[Rates]] = list(parts.catalogue.values())
    served: dict[str, list[str]] = {}
    for model in models:
        for deployment in model.deployments:
            served.setdefault(deployment.path, []).append(model.name)
    everywhere = [deployment for model in models for deployment in model.deployments]
    rows = {row.path: row for row in parts.health.rows(everywhere, now)}
    return {
        "deployments": [
            {
                "deployment": path,
                "models": names,
                "state": rows[path].state,
                "off": _is_off(parts, path),
                "busy": rows[path].busy,
                "opened": rows[path].opened,
                "first_token_ms": round(rows[path].first_token_s * 1_000, 1),
                "limited_s": round(rows[path].limited_s, 1),
                "keys": rows[path].keys,
                "keys_out": rows[path].keys_out,
            }
            for path, names in served.items()
        ],
        "models": [_model_json(parts, model) for model in models if model.deployments],
    }


def _is_off(parts: Parts, path: str) -> bool:
    provider = path.partition("/")[0]
    return ("provider", provider) in parts.switches or ("deployment", path) in parts.switches


def _model_json(parts: Parts, model: Model[Rates]) -> Json:
    late_s = parts.health.model(model).first_tokens.quantile_s(_LATE_SHARE)
    return {
        "model": model.name,
        "strategy": model.strategy,
        "sticky": model.sticky,
        "fallbacks": list(model.fallbacks),
        "hedge": model.hedge,
        "continuation": model.continuation,
        "off": ("model", model.name) in parts.switches,
        "first_token_p95_ms": None if late_s is None else round(late_s * 1_000, 1),
    }


OPERATIONS: Final[Mapping[str, tuple[Operation, ...]]] = {
    "openai": ("embed", "image", "image_edit", "moderate", "rerank", "speech"),
    "gemini": ("chat", "embed", "embed_batch"),
}
"""What may be asked for with a JSON body, by protocol, the first one by default; of others chats.
"""


def call_of(
    document: Mapping[str, Any],
    protocol: Protocol,
    model: str | None,
    stream: bool | None,
    operation: str | None = None,
) -> Call:
    """A call as a client would make it, from the body of its request.

    Raises:
        InvalidRequestError: of Gemini's, whose URL names the model, none is named; or there is no
            such operation.
    """
    known = OPERATIONS.get(protocol, ("chat",))
    found = known[0] if operation is None else next((o for o in known if o == operation), None)
    if found is None:
        raise InvalidRequestError(f"The operation of '{protocol}' is one of {', '.join(known)}.")
    if protocol == "gemini" and model is None:
        raise InvalidRequestError("Gemini's requests name their model in the URL: name it here.")
    return Call(
        body=orjson.dumps(document),
        key=None,
        protocol=protocol,
        operation=found,
        model=model if protocol == "gemini" else None,
        stream=bool(stream) if protocol == "gemini" else None,
    )
