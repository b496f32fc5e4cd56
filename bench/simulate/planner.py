"""From a request to what comes of it: which models there are, what it is told, its answer."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping

from bench.simulate.behaviour import Behaviour
from bench.simulate.chat import ChatRequest
from bench.simulate.compose import compose
from bench.simulate.dialect import Dialect
from bench.simulate.directives import DirectiveError, Directives
from bench.simulate.errors import ApiError
from bench.simulate.operations import known_models
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.settings import SimulatorSettings
from bench.simulate.text import seed_of
from bench.simulate.tokens import count_tokens
from engine.wire.http import Headers


class Planner:
    """One for all connections of a simulator; `instance` tells its ids from those of others."""

    def __init__(self, settings: SimulatorSettings, behaviour: Behaviour) -> None:
        self._settings = settings
        self._behaviour = behaviour
        self._numbers = itertools.count(1)
        self._seed = settings.seed.encode()
        self.instance = seed_of(self._seed, str(time.time_ns()).encode()).hex()[:12]
        self.models = known_models(settings)

    def own_id(self) -> tuple[int, str]:
        """The number of a request, and its id."""
        number = next(self._numbers)
        return number, f"req_{self.instance}{number:020x}"

    def known(self, dialect: Dialect, model: str) -> str:
        """The model.

        Raises:
            ApiError: there is none of this name.
        """
        if not self._settings.any_model and model not in self.models[dialect.name]:
            raise dialect.unknown_model(model)
        return model

    def learn(self, model: str) -> None:
        """One more that chats, fine-tuned here."""
        for name in ("openai", "openai-completions", "openai-responses"):
            self.models[name] = (*self.models[name], model)

    def knows_job(self, model: str) -> bool:
        """Whether it makes films or music."""
        return self._settings.any_model or model in self._settings.job_models

    def directives(self, chat: ChatRequest, number: int) -> Directives:
        """What the request with this number is told.

        Raises:
            ApiError: its words are not understood.
        """
        try:
            return self._behaviour.of(chat.model, chat.directives, number)
        except DirectiveError as error:
            raise ApiError(str(error), param="messages", code="invalid_directive") from None

    def plan(
        self,
        dialect: Dialect,
        chat: ChatRequest,
        directives: Directives,
        headers: Headers,
        number: int,
    ) -> ChatPlan:
        """Its answer.

        Raises:
            ApiError: it cannot be as it is told.
        """
        seed = seed_of(self._seed, chat.seed_material)
        try:
            answer = compose(chat, directives, seed, dialect)
        except DirectiveError as error:
            raise ApiError(str(error), param="messages", code="invalid_directive") from None
        return ChatPlan(
            request=chat,
            directives=directives,
            answer=answer,
            answer_id=dialect.answer_id(self.instance, number),
            created=int(time.time()),
            input_tokens=count_tokens(chat.texts) + chat.framing_tokens,
            headers=headers,
            ahead_max_tokens=self._settings.ahead_max_tokens,
        )

    def whole(
        self, dialect: Dialect, path: str, headers: Mapping[bytes, bytes], body: bytes
    ) -> tuple[int, str, bytes]:
        """The whole answer to a request that came in no connection: status, id, body."""
        number, own_id = self.own_id()
        request = Request("POST", path, "", dict(headers), body, "none")
        try:
            chat = dialect.parse(request)
            self.known(dialect, chat.model)
            directives = self.directives(chat, number)
            if directives.status is not None:
                raise dialect.status_error(directives.status, directives.retry_after)
            plan = self.plan(dialect, chat, directives, [], number)
        except ApiError as error:
            _, written = dialect.write_error(error, request, own_id)
            return error.status, own_id, written
        return 200, own_id, dialect.unary(plan, plan.limit, plan.counts(plan.limit))
