"""From a key to what may be done with it: who asks, by which rules, with which model.

No database and no lock. Nothing here waits but a limiter that several processes share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import trio

from engine.admission.keys import KeyEntry, Scope
from engine.admission.plans import NO_LIMITS
from engine.errors import (
    InvalidRequestError,
    JobNotRemixableError,
    JobsLimitedError,
    ModelNotAllowedError,
    ModelUnavailableError,
    PermissionDeniedError,
    UnavailableError,
    no_such_job,
)
from engine.events import Call
from engine.job import JobAsk, JobSource
from engine.metering.batch_rates import batch_rates, up_to
from engine.metering.pricing import Rates
from engine.owned import Pin
from engine.owning import ElsewhereError
from engine.parsing.jobs import Prepared
from engine.parts import Parts
from engine.routing.plan import no_such_model, plan, plan_bound, plan_pinned
from engine.routing.values import Asked, Candidate, Model, Plan
from engine.rules import Admitted
from engine.upstream.bodies import close_body
from engine.upstream.providers import Provider
from engine.webhooks import check_webhook_url


def identify(parts: Parts, key: str | None, scope: Scope | None) -> Admitted:
    """Whose a key is, and by which rules it is served; without a `scope` any key will do. Nothing
    is taken of a limit.

    Raises:
        AuthenticationError: there is no key, or it is unknown, revoked or expired.
        KeyDisabledError, AccountDisabledError: an operator has switched it off.
        PermissionDeniedError: it is not made for this.
        UnavailableError: its account has a plan that is not there.
    """
    return _admitted(parts, parts.keys.find(key, parts.clock()), scope)


def identify_again(parts: Parts, entry: KeyEntry, scope: Scope | None) -> Admitted:
    """As `identify`, of a key that was found before: it may have been closed since. Raises as
    that."""
    parts.keys.check(entry, parts.clock())
    return _admitted(parts, entry, scope)


def _admitted(parts: Parts, entry: KeyEntry, scope: Scope | None) -> Admitted:
    if scope is not None:
        _check_scope(entry, scope)
    rules, of_account, limits = parts.rules, None, NO_LIMITS
    if (name := entry.account.plan) is not None:
        of_account = rules.plans.get(name)
        if of_account is None:  # never: whoever takes a plan away looks who is on it
            raise UnavailableError("The plan of the account is not set up.", retry_after_s=30)
        limits = of_account.limits
    return Admitted(entry, of_account, rules, entry.demand(limits))


async def admit(parts: Parts, key: str | None, scope: Scope) -> Admitted:
    """As `identify`, and one request is taken of the limits a minute.

    Raises:
        GatewayError: as `identify`.
        RateLimitedError: there have been too many.
    """
    admitted = identify(parts, key, scope)
    await parts.limiter.take_request(admitted.demand)
    return admitted


async def admit_call(parts: Parts, call: Call, before: Admitted | None) -> Admitted:
    """Whoever makes a call: by its key or, where that was admitted `before` the body came, looked
    at again. Raises as `admit`."""
    if before is None:
        return await admit(parts, call.key, "inference")
    parts.keys.check(before.entry, parts.clock())
    _check_scope(before.entry, "inference")
    return before


def _check_scope(entry: KeyEntry, scope: Scope) -> None:
    if scope not in entry.terms.scopes:
        raise PermissionDeniedError(f"The API key is not made for this: its scopes lack '{scope}'.")


class Choice:
    """The plan of one call: made once, so that all of the call goes by one plan at one price,
    whatever is switched or priced anew meanwhile."""

    __slots__ = ("_admitted", "_asked", "_batch", "_parts", "_pin", "_plan", "_source", "_trains")

    def __init__(self, parts: Parts, admitted: Admitted, source: JobSource | None = None) -> None:
        """What is made of a `source` is asked of who has that, and of nobody else."""
        self._parts = parts
        self._admitted = admitted
        self._source = source
        self._pin: Pin | None = None
        self._batch = self._trains = False
        self._asked: Asked | None = None
        self._plan: Plan[Rates] | None = None

    def keep_to(self, pin: Pin | None) -> None:
        """Ask nobody else: the request names what this one has. Before the plan is made; that of a
        batch, whose lines are read by it, is made anew."""
        assert self._plan is None or self._batch, "what is named is known before it is planned"
        self._pin, self._plan = pin, None

    def __call__(self, asked: Asked) -> Plan[Rates]:
        """The attempts that the request may make, of models with what this account pays for them.

        Raises:
            ModelNotFoundError: there is none of that name in the account's plan.
            ModelNotAllowedError: the plan has it, the key does not.
            ModelUnavailableError: operators have switched it off, or nothing of it can serve now.
            NotFoundError: the source is another account's.
            JobNotRemixableError: who has the source is not asked any more.
            InvalidRequestError: who has what the request names does not serve the model.
        """
        if self._plan is None:
            self._asked, self._plan = asked, self._find(asked)
        return self._plan

    def for_batch(self, longest_input_tokens: int | None = None) -> None:
        """All is asked for in a batch, of whoever keeps what it is sent, at the rates of batches;
        said before the plan is made. Once it is known how long the longest request is, said again.
        """
        self._batch = True
        if self._plan is not None and longest_input_tokens is not None:
            self._plan = _in_short(self._plan, longest_input_tokens)

    def for_training(self) -> None:
        """The model itself is to be trained, where it is; said before the plan is made."""
        self._trains = True

    @property
    def plan(self) -> Plan[Rates]:
        """What it was; asked for after it was made."""
        assert self._plan is not None, "the request has been parsed"
        return self._plan

    @property
    def reference(self) -> Rates | None:
        """What this account pays for the model that savings are told against."""
        decision = self.plan.auto
        if decision is None or decision.reference is None:
            return None
        return self._paid_for(self._parts.catalogue[decision.reference]).price

    def writers(self) -> tuple[Candidate[Rates], ...]:
        """Whoever may write on where the answer has broken off, by how all do now; they may be
        others than those of the plan, at the same prices."""
        assert self._asked is not None, "the request has been parsed"
        try:
            return self._find(self._asked._replace(begun=True)).candidates
        except ModelUnavailableError:
            return ()

    def usable(self, name: str) -> bool:
        """Whether the account's plan and the key allow a model, by its own name."""
        of_account = self._admitted.plan
        allowed = of_account is None or name in of_account.models
        return allowed and name in self._admitted.entry.terms.models

    def _find(self, asked: Asked) -> Plan[Rates]:
        parts = self._parts
        self._check_allowed(asked.model)
        if self._source is not None:
            found = self._bound_to(self._source)
        elif self._pin is not None:
            found = self._pinned_to(self._pin, asked)
        else:
            found = plan(
                asked,
                parts.catalogue,
                self.usable,
                parts.switches,
                parts.health,
                trio.current_time(),
                parts.chance.random,
            )
        priced = tuple(map(self._priced, found.candidates))
        if self._batch:
            priced = tuple(_batched(priced, parts.providers))
        if self._trains:
            priced = _training(priced, parts.providers, parts.catalogue[asked.model].name)
        return found if priced == found.candidates else found._replace(candidates=priced)

    def _bound_to(self, source: JobSource) -> Plan[Rates]:
        """The plan of what is made of a job that lives with one key of one provider."""
        parts = self._parts
        if source.account_id != self._admitted.entry.principal.account_id:
            raise no_such_job(source.job_id)
        provider = parts.providers.get(source.provider)
        found = None
        if provider is not None and source.credential in provider.credential_ids:
            found = plan_bound(
                source.model,
                f"{source.provider}/{source.upstream_model}",
                provider.credential_ids.index(source.credential),
                parts.catalogue,
                self.usable,
                parts.switches,
                parts.health,
                trio.current_time(),
            )
        if found is None:
            raise JobNotRemixableError(
                "The provider that has made this, or the key of it that it was made with, is not "
                "asked any more; ask for a new one."
            )
        return found

    def _pinned_to(self, pin: Pin, asked: Asked) -> Plan[Rates]:
        """The plan of a request that names what one key of one provider has."""
        parts, found = self._parts, None
        if (place := parts.owners.key_of(pin, parts.providers)) is not None:
            found = plan_pinned(
                asked,
                pin.provider,
                place[1],
                parts.catalogue,
                self.usable,
                parts.switches,
                parts.health,
                trio.current_time(),
            )
        if found is None:
            raise ElsewhereError(
                f"What the request names by id is with a provider that does not serve the model "
                f"'{asked.model}'. Ask the model that it was made with, or send the content itself."
            )
        return found

    def _check_allowed(self, name: str) -> None:
        """Of an alias, whether its model is."""
        admitted, model = self._admitted, self._parts.catalogue.get(name)
        own_name = name if model is None else model.name
        if admitted.plan is not None and own_name not in admitted.plan.models:
            raise no_such_model(name)
        if model is not None and own_name not in admitted.entry.terms.models:
            raise ModelNotAllowedError(
                f"The API key may not use the model '{name}'.", param="model"
            )

    def _priced(self, candidate: Candidate[Rates]) -> Candidate[Rates]:
        model = self._paid_for(candidate.model)
        return candidate if model is candidate.model else candidate._replace(model=model)

    def _paid_for(self, model: Model[Rates]) -> Model[Rates]:
        """With what this account pays."""
        admitted = self._admitted
        return admitted.rules.priced(model, admitted.entry.principal.account_id, admitted.plan)


def _batched(
    candidates: Sequence[Candidate[Rates]], providers: Mapping[str, Provider]
) -> Iterator[Candidate[Rates]]:
    """Those that take batches, at the rates of these.

    Raises:
        InvalidRequestError: none does, or nobody knows what the model costs in one.
    """
    taking = [each for each in candidates if providers[each.deployment.provider].state == "openai"]
    if not taking:
        raise InvalidRequestError(
            f"The provider of the model '{candidates[0].model.name}' takes no batches; choose "
            "another model.",
            param="input_file_id",
        )
    for each in taking:
        price = batch_rates(each.model.price)
        if price is None:
            raise InvalidRequestError(
                f"The model '{each.model.name}' has no price for batches here; ask its operator "
                "for one, or choose another model.",
                param="input_file_id",
            )
        cost = batch_rates(each.deployment.cost) or each.deployment.cost
        yield each._replace(
            model=replace(each.model, price=price), deployment=replace(each.deployment, cost=cost)
        )


def _training(
    candidates: Sequence[Candidate[Rates]], providers: Mapping[str, Provider], model: str
) -> tuple[Candidate[Rates], ...]:
    """Those of the model itself, at who trains it.

    Raises:
        InvalidRequestError: nobody does, or nobody knows what that costs.
    """
    taking = [
        each
        for each in candidates
        if each.model.name == model and providers[each.deployment.provider].state == "openai"
    ]
    if not taking:
        raise InvalidRequestError(
            f"The provider of the model '{model}' trains nothing; choose another model.",
            param="model",
        )
    if "trained_tokens" not in taking[0].model.price.more:
        raise InvalidRequestError(
            f"The model '{model}' has no price for training here; ask its operator for one, or "
            "choose another model.",
            param="model",
        )
    return tuple(taking)


def _in_short(plan: Plan[Rates], longest_input_tokens: int) -> Plan[Rates]:
    """With prices of no longer contexts than there are."""
    return plan._replace(
        candidates=tuple(
            each._replace(
                model=replace(each.model, price=up_to(each.model.price, longest_input_tokens))
            )
            for each in plan.candidates
        )
    )


def check_room(parts: Parts, under_way: int) -> None:
    """Whether there may be one more beside those that are under way of its kind.

    Raises:
        UnavailableError: there are as many as there may be, or the gateway is stopping.
    """
    if parts.stopping:
        raise UnavailableError("The gateway is stopping.", retry_after_s=1)
    if under_way >= parts.config.server.exchanges_max:
        raise UnavailableError("The gateway is at its limit of open requests.", retry_after_s=1)


async def check_kept(parts: Parts, account_id: str, plan: Plan[Rates], prepared: Prepared) -> None:
    """Whether the account may have what a provider would keep of the answer; and whether it has the
    earlier thoughts that a provider would read where it keeps them.

    Raises:
        OwnedLimitError: it has as much as it may have.
        NotFoundError: they are none of its own.
        GatewayError: as `Owners.find`.
    """
    keepers = [each for each in plan.candidates if parts.providers[each.deployment.provider].state]
    if not keepers:
        return
    request = prepared.request
    try:
        if request.stores:
            await parts.owners.check_room(account_id)
        if request.thoughts:
            await parts.owners.find(account_id, request.thoughts)
    except BaseException:
        close_body(prepared.body)
        raise


def check_jobs(parts: Parts, account_id: str, ask: JobAsk) -> None:
    """Whether the account may have one more job, and who it names may be told of it.

    Raises:
        JobsLimitedError: it has as many as it may.
        EgressRefusedError, InvalidRequestError: as `check_webhook_url`.
    """
    if ask.webhook_url is not None:
        check_webhook_url(ask.webhook_url, parts.config)
    most = parts.config.jobs.open_per_account_max
    if parts.ledger.open_jobs_of(account_id) >= most:
        raise JobsLimitedError(
            f"The account has {most} jobs under way, which is as many as it may have; wait until "
            "one has ended, or cancel one.",
            retry_after_s=10,
        )
