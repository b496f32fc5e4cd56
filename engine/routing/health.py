"""How each deployment does: what plans are made by, and what attempts leave behind.

Kept while the configuration is read anew. Nothing here reads a clock: `now` is Trio's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from engine.routing.breaker import Breaker, State
from engine.routing.budget import Budget
from engine.routing.failures import Failure, Verdict, judge
from engine.routing.keys import KeyLimits, ProviderKeys
from engine.routing.latency import PeakEwma, Quantiles
from engine.routing.limits_seen import read_allowances
from engine.routing.values import Candidate, Deployment, Model, Role, RoutingRules
from engine.wire.http import Headers

NO_KEY: Final = -1
_CHECKS_FAILED_MAX: Final = 3
_SOON_S: Final = 1.0


class Off(Protocol):
    """What operators have switched off; `version` changes whenever it does."""

    @property
    def version(self) -> int: ...
    def __contains__(self, place: object, /) -> bool: ...
    def __len__(self) -> int: ...


@dataclass(slots=True)
class Health:
    """Of one deployment.

    Attributes:
        keys: of its provider.
        retries: how many there may be beside its first attempts.
        latency: of its first tokens.
        busy: attempts under way.
        limits: by key; only of those of which the provider has said something.
        next_key: keys are taken in turn.
    """

    breaker: Breaker
    keys: ProviderKeys
    retries: Budget
    latency: PeakEwma = field(default_factory=PeakEwma)
    busy: int = 0
    limits: dict[int, KeyLimits] = field(default_factory=dict)
    next_key: int = 0
    is_off: bool = False
    off_seen: int = -1
    """Of which change of what is off `is_off` is."""

    def free_key(
        self, deployment: Deployment[Any], now: float, tokens: int = 0, *, strict: bool = True
    ) -> int:
        """The key that an attempt beginning now would take, `NO_KEY` where none may begin.

        Not `strict`, what is only guessed does not count (`KeyLimits.has_at`, `ProviderKeys`): it
        is a reason to ask others first, and none to ask nobody.
        """
        if self.breaker.until is not None and not self.breaker.admits(now):
            return NO_KEY
        if deployment.concurrency_max is not None and self.busy >= deployment.concurrency_max:
            return NO_KEY
        if not self.limits and not self.keys.out:
            return self.next_key if self.next_key < deployment.keys else 0
        for step in range(deployment.keys):
            key = (self.next_key + step) % deployment.keys
            if self._key_free_at(key, now, tokens, strict=strict) <= now:
                return key
        return NO_KEY

    def is_full(self, deployment: Deployment[Any]) -> bool:
        """Whether there are as many attempts under way as it may have."""
        return deployment.concurrency_max is not None and self.busy >= deployment.concurrency_max

    def back_at(self, deployment: Deployment[Any], now: float, tokens: int = 0) -> float:
        """When an attempt may begin where none may now, whatever is only guessed."""
        keys_at = self.keys_free_at(deployment, now, tokens, strict=False)
        at = max(self.breaker.opens_at(now), keys_at)
        return max(at, now + _SOON_S) if self.is_full(deployment) else at

    def keys_free_at(
        self, deployment: Deployment[Any], now: float, tokens: int = 0, *, strict: bool = True
    ) -> float:
        """When the first of its keys is, or was, free."""
        keys = range(deployment.keys)
        return min(self._key_free_at(key, now, tokens, strict=strict) for key in keys)

    def limits_of(self, key: int) -> KeyLimits:
        """What is known of a key's limits here."""
        return self.limits.setdefault(key, KeyLimits())

    def _key_free_at(self, key: int, now: float, tokens: int, *, strict: bool) -> float:
        at, limits = now, self.limits.get(key)
        if limits is not None:
            at = max(at, limits.until)
        if strict:
            if limits is not None:
                at = max(at, limits.has_at(now, tokens))
            if (out := self.keys.out.get(key)) is not None:
                at = max(at, out.until)
        return at


@dataclass(slots=True)
class ModelHealth:
    """Of one model: how late its first tokens are, whichever deployment they come from, and how
    many hedges there may be."""

    hedges: Budget
    first_tokens: Quantiles = field(default_factory=Quantiles)


@dataclass(frozen=True, slots=True)
class HealthRow:
    """What operators are shown of a deployment.

    Attributes:
        opened: how often its breaker has opened.
        first_token_s: the mean of late; 0: nothing is known.
        limited_s: for how long its provider wants no more of it, by any key.
        keys_out: how many of its provider's keys are left alone.
    """

    path: str
    state: State
    busy: int
    opened: int
    first_token_s: float
    limited_s: float
    keys: int
    keys_out: int


class Visit:
    """One attempt at a deployment: it is busy until this is closed, with an outcome or without.

    What is told twice, or after it was closed, counts once.
    """

    __slots__ = (
        "_account", "_book", "_candidate", "_closed", "_generation", "_health", "_heard",
        "begun_at",
    )  # fmt: skip

    def __init__(
        self, book: HealthBook, candidate: Candidate[Any], health: Health, now: float, account: str
    ) -> None:
        self._account = account
        self._book = book
        self._candidate = candidate
        self._health = health
        self._generation = self._health.breaker.begin(now)
        self._heard = False
        self._closed = False
        self.begun_at = now
        self._health.busy += 1

    def answered(self, headers: Headers, now: float, wall_ms: int) -> None:
        """The head of its answer has come, which may say what is left of the provider's limits."""
        found = read_allowances(headers, now, wall_ms)
        key, limits = self._candidate.key, self._health.limits
        if found and (key in limits or any(found.values())):
            self._health.limits_of(key).heard(found)

    def generated(self, now: float) -> None:
        """The first output of a stream has come."""
        if not self._heard and not self._closed:
            self._note_latency(now)
        self.succeeded(now)

    def succeeded(self, now: float) -> None:
        """The deployment does what it should: it generates, or has answered as a whole."""
        if self._heard or self._closed:
            return
        self._heard = True
        health, key = self._health, self._candidate.key
        health.breaker.succeeded(now, self._generation, self._account)
        if health.keys.out:
            health.keys.taken(key, self.begun_at)
        if health.limits and (limits := health.limits.get(key)) is not None:
            limits.taken(self.begun_at)

    def failed(self, failure: Failure, now: float) -> Verdict:
        """It has failed, and is over; what follows."""
        verdict = judge(failure)
        if self._closed:
            return verdict
        candidate, health, draw = self._candidate, self._health, self._book.draw
        if verdict.outcome == "failure":
            self._heard = True
            account = "" if failure.kind == "unreachable" else self._account
            health.breaker.failed(now, self._generation, draw(), account)
        elif verdict.outcome == "success":
            self.succeeded(now)
        if verdict.limits or (verdict.limits_said and failure.retry_after_s is not None):
            health.limits_of(candidate.key).refused(now, failure.retry_after_s, draw())
        if verdict.key_out_s:
            provider = candidate.deployment.provider
            health.keys.refused(provider, candidate.key, verdict.key_out_s, now)
        self.close(now)
        return verdict

    def lost_race(self, now: float) -> None:
        """Another attempt generated first, and this one is over: its first output would have taken
        this long at least, which says nothing of whether the deployment is well, and nothing of how
        late it is where it had only begun."""
        late = now - self.begun_at > self._health.latency.mean_s(now)
        if late and not self._heard and not self._closed:
            self._note_latency(now)
        self.close(now)

    def close(self, now: float) -> None:
        """It is over, or nobody waits for it any more."""
        if self._closed:
            return
        self._closed = True
        self._health.busy -= 1
        if not self._heard:
            self._health.breaker.let_go(now, self._generation)

    def _note_latency(self, now: float) -> None:
        taken_s = now - self.begun_at
        self._health.latency.note(now, taken_s)
        self._book.model(self._candidate.model).first_tokens.note(taken_s)


class HealthBook:
    """All deployments and models that anybody has asked for.

    Attributes:
        rules: of this moment; see `renew`.
        known: by path, those that anybody has asked for.
        draw: chance, from 0 to 1.
    """

    def __init__(
        self, rules: RoutingRules | None = None, draw: Callable[[], float] = random.random
    ) -> None:
        self.rules = RoutingRules() if rules is None else rules
        self.draw = draw
        self.known: dict[str, Health] = {}
        self._models: dict[str, ModelHealth] = {}
        self._keys: dict[str, ProviderKeys] = {}
        self._checks_failed: dict[str, int] = {}
        self._off: Off | None = None
        self._off_version = -1
        self._off_changes = 0

    def of(self, deployment: Deployment[Any]) -> Health:
        """How a deployment does; one that two models have does the same in both."""
        health = self.known.get(deployment.path)
        if health is None:
            health = self.known[deployment.path] = Health(
                Breaker(self.rules.breaker),
                self._keys.setdefault(deployment.provider, ProviderKeys()),
                Budget(self.rules.retry_share_max),
            )
        return health

    def model(self, model: Model[Any]) -> ModelHealth:
        """How a model does."""
        found = self._models.get(model.name)
        if found is None:
            found = self._models[model.name] = ModelHealth(Budget(self.rules.hedge_share_max))
        return found

    def begin(
        self,
        candidate: Candidate[Any],
        now: float,
        *,
        role: Role = "first",
        tokens: int = 0,
        account: str = "",
    ) -> Visit | None:
        """An attempt with about so many tokens of input begins, for an account; None where it may
        not, since others have begun there after the plan was made. What a retry takes of the
        deployment's budget (`Health.retries`), or a hedge of the model's, is taken before."""
        deployment, key = candidate.deployment, candidate.key
        health = self.of(deployment)
        if health.free_key(deployment, now, tokens, strict=False) == NO_KEY:
            return None
        if role != "retry":
            health.retries.earn()
        if role == "first" and candidate.model.hedge:
            self.model(candidate.model).hedges.earn()
        health.next_key = (key + 1) % deployment.keys
        if health.limits and (limits := health.limits.get(key)) is not None:
            limits.sent(tokens)
        return Visit(self, candidate, health, now, account)

    def other_key(
        self, candidate: Candidate[Any], now: float, tokens: int = 0
    ) -> Candidate[Any] | None:
        """The same deployment by another key of its provider that is free; None: there is none."""
        deployment = candidate.deployment
        if candidate.bound:
            return None
        key = self.of(deployment).free_key(deployment, now, tokens)
        if key in (NO_KEY, candidate.key):
            return None
        return Candidate(candidate.model, deployment, key, "another key of the provider")

    def first_key(self, provider: str, keys: int, now: float) -> int:
        """The first of a provider's keys that it has not refused of late; where it has refused all
        of them, the first."""
        out = self._keys[provider].out if provider in self._keys else {}
        return next((key for key in range(keys) if key not in out or now >= out[key].until), 0)

    def is_off(self, deployment: Deployment[Any], health: Health, off: Off) -> bool:
        """Whether operators have switched it off: looked up once a deployment and change."""
        if off is not self._off or off.version != self._off_version:
            self._off, self._off_version = off, off.version
            self._off_changes += 1
        if health.off_seen != self._off_changes:
            health.off_seen = self._off_changes
            places = ("provider", deployment.provider), ("deployment", deployment.path)
            health.is_off = any(place in off for place in places)
        return health.is_off

    def checked(self, provider: str, now: float, *, well: bool) -> None:
        """A provider was asked whether it is well: its open breakers let a request through at once,
        or three bad answers in a row open all of them."""
        failed = 0 if well else min(self._checks_failed.get(provider, 0) + 1, _CHECKS_FAILED_MAX)
        self._checks_failed[provider] = failed
        keys = self._keys.get(provider)
        for health in self.known.values():
            if health.keys is not keys:
                continue
            if well:
                health.breaker.probe_soon(now)
            elif failed == _CHECKS_FAILED_MAX:
                health.breaker.trip(now, self.draw())

    def renew(
        self,
        rules: RoutingRules,
        deployments: Collection[Deployment[Any]],
        models: Iterable[Model[Any]],
        new_keys: Collection[str] = (),
    ) -> None:
        """Other rules hold from now on, and this is all there is: what is known of others is
        forgotten, and of the keys and limits of those providers that have new keys."""
        self.rules = rules
        names = {model.name for model in models}
        paths = {deployment.path for deployment in deployments}
        providers = {deployment.provider for deployment in deployments}
        renewed = [self._keys[provider] for provider in self._keys.keys() & set(new_keys)]
        for keys in renewed:
            keys.out.clear()
        self.known = {k: v for k, v in self.known.items() if k in paths}
        self._models = {k: v for k, v in self._models.items() if k in names}
        self._keys = {k: v for k, v in self._keys.items() if k in providers}
        self._checks_failed = {k: v for k, v in self._checks_failed.items() if k in providers}
        for health in self.known.values():
            if any(health.keys is keys for keys in renewed):
                health.limits.clear()
            health.retries.share = rules.retry_share_max
            health.breaker.rules = rules.breaker
            if not rules.breaker.failures:
                health.breaker.reset()
        for known in self._models.values():
            known.hedges.share = rules.hedge_share_max

    def rows(self, deployments: Iterable[Deployment[Any]], now: float) -> list[HealthRow]:
        """What is known of these, each once."""
        return [self._row(each, now) for each in {d.path: d for d in deployments}.values()]

    def _row(self, deployment: Deployment[Any], now: float) -> HealthRow:
        health = self.of(deployment)
        untils = [max(each.until, each.guessed_until) for each in health.limits.values()]
        limited = len(untils) >= deployment.keys
        return HealthRow(
            path=deployment.path,
            state=health.breaker.state(now),
            busy=health.busy,
            opened=health.breaker.generation,
            first_token_s=health.latency.mean_s(now),
            limited_s=max(0.0, min(untils) - now) if limited else 0.0,
            keys=deployment.keys,
            keys_out=sum(row.until > now for row in health.keys.out.values()),
        )
