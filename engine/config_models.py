"""What is wrong with models and their routing that no single value of a configuration can say."""

from __future__ import annotations

from typing import Final

from engine.config_routing import AutoConfig, ModelConfig, RoutingConfig
from engine.config_tables import Config
from engine.routing.features import WORDS
from engine.routing.values import WEIGHTS
from engine.toml import Keys, TableReader

_ATTEMPTS_MAX: Final = 16
_FALLBACKS_MAX: Final = 8
_WEIGHT_MAX: Final = 1_000_000
_PRIORITY_MAX: Final = 1_000
_SCORE_MAX: Final = 100
_STRENGTH_MAX: Final = 3
_WORDS_MAX: Final = 1_000
"""Of one feature: they are looked up by each prompt."""
_WORD_MAX_CHARS: Final = 100


def check_models(config: Config, reader: TableReader) -> None:
    """Models, their names and fallbacks, and what chooses among them.

    Raises:
        ConfigError: with the line.
    """
    _check_routing(config.routing, reader)
    for name, model in config.models.items():
        _check_deployments(name, model, config, reader)
        if model.free and model.price is not None:
            raise reader.error(("models", name, "free"), "contradicts the price beside it")
    _check_names(config, reader)
    for name, model in config.models.items():
        _check_fallbacks(name, model, config, reader)
    if config.auto is not None:
        _check_auto(config.auto, config, reader)


def _check_routing(routing: RoutingConfig, reader: TableReader) -> None:
    path = ("routing",)
    if routing.attempts_max > _ATTEMPTS_MAX:
        raise reader.error((*path, "attempts_max"), f"must be {_ATTEMPTS_MAX} at most")
    shares = {
        (*path, "retry_share_max"): routing.retry_share_max,
        (*path, "hedge_share_max"): routing.hedge_share_max,
        (*path, "breaker", "share"): routing.breaker.share,
    }
    for keys, share in shares.items():
        if share > 1:
            raise reader.error(keys, f"is a share, from 0 to 1, not {share:g}")
    if routing.breaker.open_max_s < routing.breaker.open_s:
        raise reader.error(
            (*path, "breaker", "open_max_s"),
            f"must be 'open_s' ({routing.breaker.open_s:g}) or more",
        )


def _check_deployments(name: str, model: ModelConfig, config: Config, reader: TableReader) -> None:
    path = ("models", name, "deployments")
    seen: set[str] = set()
    for deployment in model.deployments:
        if deployment.provider not in config.providers:
            raise reader.error(
                path,
                f"names the provider '{deployment.provider}', which is not configured"
                + reader.suggestion(deployment.provider, config.providers),
            )
        place = f"{deployment.provider}/{deployment.model}"
        if place in seen:
            raise reader.error(path, f"has '{place}' twice: give it one 'weight'")
        seen.add(place)
        for key, value, most in (
            ("weight", deployment.weight, _WEIGHT_MAX),
            ("priority", deployment.priority, _PRIORITY_MAX),
        ):
            if value > most:
                raise reader.error((*path, key), f"must be {most:,} at most, not {value:,}")


def _check_names(config: Config, reader: TableReader) -> None:
    """Each name means one thing."""
    owners: dict[str, str] = {}
    for name, model in config.models.items():
        path = ("models", name, "aliases")
        for alias in model.aliases:
            if not alias:
                raise reader.error(path, "holds an empty name")
            if alias in config.models:
                raise reader.error(path, f"has '{alias}', which is the name of a model")
            if alias in owners:
                raise reader.error(path, f"has '{alias}', which '{owners[alias]}' has already")
            owners[alias] = name
    auto = config.auto
    if auto is not None and (auto.name in config.models or auto.name in owners):
        raise reader.error(("auto", "name"), f"is taken: '{auto.name}' is a model's")


def _check_fallbacks(name: str, model: ModelConfig, config: Config, reader: TableReader) -> None:
    path = ("models", name, "fallbacks")
    if len(model.fallbacks) > _FALLBACKS_MAX:
        raise reader.error(path, f"must be {_FALLBACKS_MAX} at most")
    for fallback in model.fallbacks:
        _check_known(fallback, path, config, reader)
    if len(set(model.fallbacks)) < len(model.fallbacks):
        raise reader.error(path, "names one model twice")
    cycle = _cycle(name, config)
    if cycle is not None:
        raise reader.error(path, f"leads back to itself: {' -> '.join(cycle)}")


def _cycle(name: str, config: Config) -> tuple[str, ...] | None:
    """The way along fallbacks from a model to itself."""
    seen: set[str] = set()
    waiting: list[tuple[str, ...]] = [(name,)]
    while waiting:
        way = waiting.pop()
        for following in config.models[way[-1]].fallbacks:
            if following == name:
                return (*way, following)
            if following in config.models and following not in seen:
                seen.add(following)
                waiting.append((*way, following))
    return None


def _check_known(name: str, path: Keys, config: Config, reader: TableReader) -> None:
    """A model by its own name."""
    if name in config.models:
        return
    owner = next((own for own, model in config.models.items() if name in model.aliases), None)
    if owner is not None:
        raise reader.error(path, f"names '{name}', an alias: write '{owner}'")
    raise reader.error(
        path,
        f"names the model '{name}', which is not configured"
        + reader.suggestion(name, config.models),
    )


def _check_auto(auto: AutoConfig, config: Config, reader: TableReader) -> None:
    if not auto.name:
        raise reader.error(("auto", "name"), "must not be empty")
    for each in auto.models:
        _check_known(each.name, ("auto", "models"), config, reader)
        if each.strength > _STRENGTH_MAX:
            raise reader.error(
                ("auto", "models"),
                f"says strength = {each.strength} of '{each.name}': 1, 2 and {_STRENGTH_MAX} there "
                "are, for requests that are easy, medium and hard",
            )
    if len({each.name for each in auto.models}) < len(auto.models):
        raise reader.error(("auto", "models"), "names one model twice")
    if auto.reference is not None:
        _check_known(auto.reference, ("auto", "reference"), config, reader)
    if not auto.medium <= auto.hard <= _SCORE_MAX:
        raise reader.error(
            ("auto",), f"needs 'medium' <= 'hard' <= {_SCORE_MAX}, not {auto.medium}, {auto.hard}"
        )
    _check_features(auto, reader)


def _check_features(auto: AutoConfig, reader: TableReader) -> None:
    for feature, weight in auto.weights.items():
        path = ("auto", "weights", feature)
        if feature not in WEIGHTS:
            raise reader.error(path, f"is no feature{reader.suggestion(feature, WEIGHTS)}")
        if not 0 <= weight <= _SCORE_MAX:
            raise reader.error(path, f"must be from 0 to {_SCORE_MAX}, not {weight}")
    for feature, words in auto.words.items():
        path = ("auto", "words", feature)
        if feature not in WORDS:
            raise reader.error(path, f"is told by no words{reader.suggestion(feature, WORDS)}")
        if len(words) > _WORDS_MAX:
            raise reader.error(path, f"must be {_WORDS_MAX:,} at most")
        for word in words:
            if not word.strip() or len(word) > _WORD_MAX_CHARS:
                raise reader.error(path, f"must be words, of {_WORD_MAX_CHARS} characters at most")
