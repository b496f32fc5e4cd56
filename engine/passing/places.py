"""Who is asked: the provider that has what a request names, or the one that keeps new things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import trio

from engine.config_state import Family
from engine.errors import (
    InvalidRequestError,
    ModelNotAllowedError,
    ModelUnavailableError,
    NotFoundError,
    PermissionDeniedError,
)
from engine.ledger.owned_rows import OwnedRow
from engine.owned import Pin
from engine.parts import Parts
from engine.routing.plan import no_such_model
from engine.rules import Admitted
from engine.upstream.providers import Provider

_NOBODY: Final = (
    "No provider keeps this here: the operator has to configure one of the kind 'openai' (or with "
    "state = \"openai\"), and where there are several, say which as 'provider' of [state]."
)


class FamilyNotAllowedError(PermissionDeniedError):
    """The plan of the account does not have this family of routes (403)."""

    code = "family_not_allowed"


class Place(NamedTuple):
    """A provider by one of its keys."""

    provider: Provider
    key: int

    @property
    def pin(self) -> Pin:
        """As what is made there is remembered."""
        return Pin(self.provider.name, self.provider.credential_id(self.key))


def check_family(parts: Parts, admitted: Admitted, family: Family) -> None:
    """Whether an account may use a family of routes.

    Raises:
        NotFoundError: it is not switched on here.
        FamilyNotAllowedError: the account's plan does not have it.
    """
    if family not in parts.config.state.families:
        raise NotFoundError(
            f"'{family}' is not passed through here: the operator can add it to 'families' of "
            "[state]."
        )
    plan = admitted.plan
    if plan is not None and plan.families is not None and family not in plan.families:
        raise FamilyNotAllowedError(f"The account's plan does not have '{family}'.")


def place_of(parts: Parts, pin: Pin | None) -> Place:
    """Who has what is pinned; who gets what is new, without a pin.

    Raises:
        NotFoundError: nobody keeps anything; says how that is switched on.
        InvalidRequestError: who has it is not configured any more.
        ModelUnavailableError: operators have switched it off.
    """
    if pin is not None:
        found = parts.owners.key_of(pin, parts.providers)
        if found is None:
            raise InvalidRequestError(
                "Who keeps what the request names is not configured any more; make it anew."
            )
        place = Place(*found)
    else:
        provider = _default(parts)
        health, keys = parts.health, len(provider.credential_ids)
        place = Place(provider, health.first_key(provider.name, keys, trio.current_time()))
    if ("provider", place.provider.name) in parts.switches:
        raise ModelUnavailableError("The operator has switched off who keeps this.")
    return place


def _default(parts: Parts) -> Provider:
    name = parts.config.state.provider
    keepers = [
        each
        for each in parts.providers.values()
        if each.state is not None and name in (None, each.name)
    ]
    if len(keepers) != 1:
        raise NotFoundError(_NOBODY)
    return keepers[0]


def put_model(
    parts: Parts, admitted: Admitted, provider: Provider, body: dict[str, Any]
) -> str | None:
    """Have a body name its model as the provider does; the model's own name here.

    Raises:
        ModelNotFoundError: there is none of that name in the account's plan.
        ModelNotAllowedError: the plan has it, the key does not.
        InvalidRequestError: it is not this provider's.
    """
    said = body.get("model")
    if said is None:
        return None
    model = parts.catalogue.get(said) if isinstance(said, str) else None
    plan, terms = admitted.plan, admitted.entry.terms
    if model is None or (plan is not None and model.name not in plan.models):
        raise no_such_model(str(said)[:200])
    if model.name not in terms.models:
        raise ModelNotAllowedError(f"The API key may not use the model '{said}'.", param="model")
    for deployment in model.deployments:
        if deployment.provider == provider.name:
            body["model"] = deployment.upstream_model
            return model.name
    raise InvalidRequestError(
        f"The model '{said}' is not served by who keeps this; choose another one.", param="model"
    )


def shown_models(
    parts: Parts, admitted: Admitted, provider: Provider, first: Iterable[str | None]
) -> Mapping[bytes, bytes]:
    """The names of models in this provider's answers, and what the account calls them: `first` by
    these, where two have one deployment."""
    wanted = {name for name in first if name is not None}
    plan, found = admitted.plan, dict[bytes, bytes]()
    for model in sorted(parts.catalogue.values(), key=lambda each: each.name not in wanted):
        if plan is not None and model.name not in plan.models:
            continue
        for deployment in model.deployments:
            if deployment.provider == provider.name:
                found.setdefault(deployment.upstream_model.encode(), model.name.encode())
    return found


def models_of(rows: Iterable[OwnedRow]) -> list[str | None]:
    """The models that things are bound to."""
    return [row.model for row in rows]
