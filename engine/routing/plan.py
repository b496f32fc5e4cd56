"""Which deployments a request may be sent to, in their order: pure but for the chance passed in.

What is asked for, what there is, what is switched off, how everything does and what time it is go
in; attempts come out. Nothing begins here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from engine.errors import ModelNotFoundError, ModelUnavailableError
from engine.routing import explain as words
from engine.routing.auto import judge, ranked
from engine.routing.explain import misfit
from engine.routing.health import NO_KEY, Health, HealthBook, Off
from engine.routing.strategies import STRATEGIES, Field, owner
from engine.routing.values import (
    Asked,
    AutoTable,
    Candidate,
    Decision,
    Deployment,
    Features,
    Model,
    Passed,
    Plan,
    Tier,
)

R = TypeVar("R")

_RETRY_AFTER_MIN_S: Final = 1
_RETRY_AFTER_MAX_S: Final = 15


def plan(
    asked: Asked,
    models: Mapping[str, Model[R]],
    usable: Callable[[str], bool],
    off: Off,
    health: HealthBook,
    now: float,
    draw: Callable[[], float],
    *,
    explain: bool = False,
) -> Plan[R]:
    """The attempts that a request may make.

    Model by model (the one asked for, or those that it chooses among by itself, then its
    fallbacks), priority by priority, in each by the strategy of the model.

    Args:
        models: by name, and by alias.
        usable: whether the caller may use a model, by its own name.
        off: ("provider", its name), ("deployment", its path), ("model", its name).
        now: Trio's time.
        draw: chance, from 0 up to 1.
        explain: say of all that is passed over why it is, and raise nothing where nothing is left.

    Raises:
        ModelNotFoundError: there is no such model, or the caller may not use it.
        ModelUnavailableError: all of it is off, broken, limited or full; with when to come again.
    """
    model = models.get(asked.model)
    if model is None or not usable(model.name):
        raise no_such_model(asked.model)
    if model.auto is not None and not explain:
        _check_any_usable(asked.model, model.auto, usable)
    if len(model.deployments) == 1 and not (model.fallbacks or explain):
        sole = _sole(model, off, health, now, asked.expected_input_tokens)
        if sole is not None:
            return Plan((sole,))
    scene = _Scene(asked, models, usable, off, health, now, draw, len(off) > 0)
    search = _Search(scene, model)
    if not search.candidates:  # what is only guessed refuses nobody
        if scene.any_guessed(search.models):
            search = _Search(scene, model, strict=False)
        if not search.candidates and not scene.any_fits(search.models):
            search = _Search(scene, model, strict=False, fitting=False)
        if not search.candidates and not explain:
            raise _unavailable(asked.model, search.back_at(), now)
    return search.explained(model) if explain else search.plan()


def plan_bound(
    name: str,
    path: str,
    key: int,
    models: Mapping[str, Model[R]],
    usable: Callable[[str], bool],
    off: Off,
    health: HealthBook,
    now: float,
) -> Plan[R] | None:
    """The plan of a request for the model `name` that one deployment alone can serve, by one key:
    what it is about lives there. None: that is none of the model's any more, nor of those that it
    chooses among or falls back on.

    Raises:
        ModelNotFoundError, ModelUnavailableError: as `plan`.
    """
    model = models.get(name)
    if model is None or not usable(model.name):
        raise no_such_model(name)
    choices = () if model.auto is None else model.auto.choices
    others = (*(choice.model for choice in choices), *model.fallbacks)
    known = [model, *(models[other] for other in others if other in models and usable(other))]
    for each in known:
        for deployment in each.deployments:
            if deployment.path != path:
                continue
            does = health.of(deployment)
            if ("model", each.name) in off or health.is_off(deployment, does, off):
                raise _unavailable(name, None, now)
            if does.free_key(deployment, now, strict=False) == NO_KEY:
                raise _unavailable(name, does.back_at(deployment, now), now)
            return Plan((Candidate(each, deployment, key, words.BOUND, bound=True),))
    return None


def plan_pinned(
    asked: Asked,
    provider: str,
    key: int,
    models: Mapping[str, Model[R]],
    usable: Callable[[str], bool],
    off: Off,
    health: HealthBook,
    now: float,
) -> Plan[R] | None:
    """The plan of a request that names what one provider has, by one of its keys: whatever of its
    deployments serves the model, or what that chooses among or falls back on. None: none of them
    does.

    Raises:
        ModelNotFoundError, ModelUnavailableError: as `plan`.
    """
    model = models.get(asked.model)
    if model is None or not usable(model.name):
        raise no_such_model(asked.model)
    choices = () if model.auto is None else model.auto.choices
    others = (*(choice.model for choice in choices), *model.fallbacks)
    known = [model, *(models[other] for other in others if other in models and usable(other))]
    found: dict[str, Candidate[R]] = {}
    known_there, back_at = False, None
    for each in known:
        for deployment in each.deployments:
            if deployment.provider != provider or deployment.path in found:
                continue
            known_there, does = True, health.of(deployment)
            if ("model", each.name) in off or health.is_off(deployment, does, off):
                continue
            if does.free_key(deployment, now, strict=False) == NO_KEY:
                back_at = does.back_at(deployment, now)
                continue
            found[deployment.path] = Candidate(each, deployment, key, words.BOUND, bound=True)
    if not known_there:
        return None
    if not found:
        raise _unavailable(asked.model, back_at, now)
    fitting = [each for each in found.values() if not misfit(each.deployment.capabilities, asked)]
    return Plan(tuple(fitting or found.values()))


def _check_any_usable(name: str, table: AutoTable, usable: Callable[[str], bool]) -> None:
    """It would never serve whoever may use none of the models that it chooses among."""
    if not any(usable(choice.model) for choice in table.choices):
        raise no_such_model(name)


def no_such_model(name: str) -> ModelNotFoundError:
    """The refusal of a model that does not exist, or that who asks does not get to know of."""
    return ModelNotFoundError(
        f"The model '{name}' does not exist or you do not have access to it.", param="model"
    )


def _sole(
    model: Model[R], off: Off, book: HealthBook, now: float, tokens: int
) -> Candidate[R] | None:
    """The only deployment there is: whatever a request needs of it, nobody else has more."""
    deployment = model.deployments[0]
    health = book.of(deployment)
    if len(off) and (("model", model.name) in off or book.is_off(deployment, health, off)):
        return None
    key = health.free_key(deployment, now, tokens)
    return None if key == NO_KEY else Candidate(model, deployment, key, words.ONLY)


def _unavailable(name: str, back_at: float | None, now: float) -> ModelUnavailableError:
    message = f"The model '{name}' is not available now."
    if back_at is None:
        return ModelUnavailableError(message)
    after_s = min(max(math.ceil(back_at - now), _RETRY_AFTER_MIN_S), _RETRY_AFTER_MAX_S)
    return ModelUnavailableError(message, retry_after_s=after_s)


@dataclass(slots=True)
class _Scene(Generic[R]):
    """What `plan` was given."""

    asked: Asked
    models: Mapping[str, Model[R]]
    usable: Callable[[str], bool]
    off: Off
    book: HealthBook
    now: float
    draw: Callable[[], float]
    any_off: bool

    def allowed(self, names: Iterable[str]) -> Iterator[Model[R]]:
        """Those of these models that there are and that the caller may use."""
        for name in names:
            model = self.models.get(name)
            if model is not None and self.usable(model.name):
                yield model

    def model_is_off(self, model: Model[R]) -> bool:
        """Whether operators have switched it off."""
        return self.any_off and ("model", model.name) in self.off

    def is_off(self, deployment: Deployment[R], health: Health) -> bool:
        """Whether operators have switched it, or all of its provider, off."""
        return self.any_off and self.book.is_off(deployment, health, self.off)

    def in_service(self, models: Iterable[Model[R]]) -> Iterator[tuple[Deployment[R], Health]]:
        """All that is not switched off, and how it does."""
        for model in models:
            if not self.model_is_off(model):
                for deployment in model.deployments:
                    health = self.book.of(deployment)
                    if not self.is_off(deployment, health):
                        yield deployment, health

    def any_guessed(self, models: Iterable[Model[R]]) -> bool:
        """Whether somebody may be left alone for no more than a guess."""
        return any(health.limits or health.keys.out for _, health in self.in_service(models))

    def any_fits(self, models: Iterable[Model[R]]) -> bool:
        """Whether somebody could serve by what it can do, now or later."""
        in_service = self.in_service(models)
        return any(not misfit(each.capabilities, self.asked) for each, _ in in_service)

    def checker(
        self, taken: Collection[str], *, strict: bool, fitting: bool
    ) -> Callable[[Deployment[Any]], int]:
        """What finds the key by which a deployment may serve, `NO_KEY` of one that may not or is
        `taken`. Asked of each that is drawn, and of all where most are broken."""
        asked, now, book = self.asked, self.now, self.book
        tokens, any_off, known = asked.expected_input_tokens, self.any_off, book.known.get

        def free_key(deployment: Deployment[Any]) -> int:
            health = known(deployment.path) or book.of(deployment)
            until = health.breaker.until
            if until is not None and now < until:
                return NO_KEY
            if fitting and misfit(deployment.capabilities, asked):
                return NO_KEY
            if any_off and book.is_off(deployment, health, self.off):
                return NO_KEY
            if taken and deployment.path in taken:
                return NO_KEY
            return health.free_key(deployment, now, tokens, strict=strict)

        return free_key


class _Search(Generic[R]):
    """One way through all the models that may serve; made, it is done.

    Not `strict`, what is guessed of keys and limits does not count; not `fitting`, what deployments
    can do.

    Attributes:
        models: in their order.
    """

    def __init__(
        self, scene: _Scene[R], model: Model[R], *, strict: bool = True, fitting: bool = True
    ) -> None:
        self._scene = scene
        self._fitting = fitting
        self._room = scene.book.rules.attempts_max
        self._taken: set[str] = set()
        self._free_key = scene.checker(self._taken, strict=strict, fitting=fitting)
        self._decision: Decision | None = None
        self.candidates: list[Candidate[R]] = []
        self.models: list[Model[R]] = []
        prefix = ""
        if model.auto is None:
            self._add_model(model, prefix)
        else:
            self._decision, chosen = self._choose(model.auto)
            prefix = f"for a request that is {self._decision.level}, "
            for each in chosen:
                self._add_model(each, prefix)
        if model.fallbacks:
            for each in scene.allowed(model.fallbacks):
                self._add_model(each, "a fallback, ")

    def plan(self) -> Plan[R]:
        """What has been found."""
        candidates, decision = tuple(self.candidates), self._decision
        if decision is not None and candidates:
            decision = replace(decision, chosen=candidates[0].model.name)
        return Plan(candidates, (), decision)

    def back_at(self) -> float | None:
        """When somebody may serve again who may not now; None: nobody, before an operator acts."""
        scene = self._scene
        tokens = scene.asked.expected_input_tokens
        times = [
            health.back_at(deployment, scene.now, tokens)
            for deployment, health in scene.in_service(self.models)
            if not self._fitting or not misfit(deployment.capabilities, scene.asked)
        ]
        return min(times, default=None)

    def explained(self, model: Model[R]) -> Plan[R]:
        """What has been found for a model, and why nothing else has."""
        planned = {each.deployment.path: each.model for each in self.candidates}
        passed = []
        for each in self.models:
            if self._scene.model_is_off(each):
                passed.append(Passed(each.name, words.MODEL_OFF))
                continue
            for deployment in each.deployments:
                found = planned.get(deployment.path)
                if found is not each:
                    why = words.TAKEN if found is not None else self._why_not(deployment)
                    passed.append(Passed(deployment.path, why))
        choices = () if model.auto is None else model.auto.choices
        others = (*(choice.model for choice in choices), *model.fallbacks)
        usable = self._scene.usable
        passed += (Passed(name, words.NOT_ALLOWED) for name in others if not usable(name))
        back_at = None if self.candidates else self.back_at()
        return self.plan()._replace(passed=tuple(passed), retry_at=back_at)

    def _choose(self, table: AutoTable) -> tuple[Decision, Iterator[Model[R]]]:
        """How hard a request looks, and the models that suit it, the first to be tried first."""
        judgement = judge(self._scene.asked.features or Features(), table)
        choices = ranked(table.choices, judgement.level, self._rank_cost)
        score, level, reasons = judgement.score, judgement.level, judgement.reasons
        decision = Decision(score, level, reasons, "", table.reference)
        return decision, self._scene.allowed(choice.model for choice in choices)

    def _rank_cost(self, name: str) -> int | None:
        """What the cheapest deployment costs that could serve, of the first priority that has one;
        None: there is none."""
        asked, fitting = self._scene.asked, self._fitting
        for model in self._scene.allowed((name,)):
            for tier in model.tiers:
                for index in tier.by_cost:
                    deployment = tier.deployments[index]
                    if not fitting or not misfit(deployment.capabilities, asked):
                        return deployment.rank_cost
        return None

    def _add_model(self, model: Model[R], prefix: str) -> None:
        self.models.append(model)
        if len(self.candidates) >= self._room or self._scene.model_is_off(model):
            return
        if self.candidates:
            self._taken.update(each.deployment.path for each in self.candidates)
        for tier in model.tiers:
            if len(self.candidates) < self._room:
                self._add_tier(model, tier, prefix)

    def _add_tier(self, model: Model[R], tier: Tier[R], prefix: str) -> None:
        scene, candidates, room = self._scene, self.candidates, self._room
        field = Field(tier, scene.book, scene.now, scene.draw, self._free_key)
        deployments, keys = tier.deployments, field.keys
        sticky = None
        if model.sticky != "off":
            digest = scene.asked.session if model.sticky == "session" else scene.asked.prefix
            sticky = None if digest is None else owner(field, digest)
            if sticky is not None:
                why = prefix + words.STICKY
                candidates.append(Candidate(model, deployments[sticky], keys[sticky], why))
        order, why = STRATEGIES[model.strategy]
        why = prefix + (why if len(deployments) > 1 else words.ONLY)
        for index in order(field, room - len(candidates) + (sticky is not None)):
            if index != sticky and len(candidates) < room:
                candidates.append(Candidate(model, deployments[index], keys[index], why))

    def _why_not(self, deployment: Deployment[R]) -> str:
        scene = self._scene
        health = scene.book.of(deployment)
        if scene.is_off(deployment, health):
            return words.OFF
        if self._fitting and (lacking := misfit(deployment.capabilities, scene.asked)):
            return lacking
        tokens = scene.asked.expected_input_tokens
        return words.out_of_service(deployment, health, scene.now, tokens) or words.OVER
