"""Reading the configuration again: what it changes, what it leaves, and what it refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from engine import Exchange, Gateway, open_gateway, parse_config
from engine.errors import ConfigError, ModelNotFoundError
from engine.ledger.records import ConflictError
from engine.reload import BadConfigurationError, NothingToReloadError
from tests.engine.test_notices import notices, verified
from tests.gateways import (
    CONFIG_FILE,
    DOLLAR,
    Setup,
    charge,
    chat_body,
    config_text,
    drain,
    open_setup,
    run,
)
from tests.receivers import open_receiver

PLANS = """
[limits]
default_plan = "free"
[plans.free]
models = ["sim-*"]
monthly_budget_usd = 5
[plans.pro]
requests_per_min = 100
"""
PRICE = 'model = "sim-openai" }]\nprice = { input = 1, output = 2 }\n[models.sim-responses]'
DEARER = PRICE.replace("input = 1, output = 2", "input = 10, output = 20")


def rewrite(folder: Path, change: Callable[[str], str]) -> None:
    """Change the file that a reload reads."""
    file = folder / CONFIG_FILE
    before = file.read_text()
    after = change(before)
    assert after != before
    file.write_text(after)


def replaced(old: str, new: str) -> Callable[[str], str]:
    """A change of the first place where this stands."""
    return lambda text: text.replace(old, new, 1)


def added(more: str) -> Callable[[str], str]:
    """A change that adds tables."""
    return lambda text: text + more


BAD_FILES = {
    "no TOML": (added("["), "not valid TOML"),
    "an unknown key": (replaced("[billing]", "[billing]\nmarkpu = 2"), "did you mean 'markup'?"),
    "no such variable": (
        replaced('protocol = "openai"', 'protocol = "openai"\napi_key = "env:NOWHERE"'),
        "providers.sim.api_key needs the environment variable NOWHERE, which is not set",
    ),
    "no such provider": (replaced('provider = "sim"', 'provider = "smi"'), "did you mean 'sim'?"),
    "no price": (replaced(PRICE, PRICE.replace("price", "# price")), "models.sim-openai has no"),
    "an impossible price": (replaced("output = 2", "output = -2"), "price cannot be used"),
    "a price of nothing": (
        added('[[prices]]\nmodel = "gpt"\ninput = 1\n'),
        "names the model 'gpt', which is not configured",
    ),
    "an impossible markup": (replaced("[billing]", "[billing]\nmarkup = 0"), "must be more than 0"),
    "no such certificate": (
        replaced("[server]", '[server]\ntls_cert = "no.pem"\ntls_key = "no.pem"'),
        "server.tls_cert and its key cannot be used",
    ),
    "no such model of a plan": (replaced('"sim-*"', '"gpt-*"'), "plans.free.models names 'gpt-*'"),
    "no such default plan": (replaced('plan = "free"', 'plan = "fre"'), "did you mean 'free'?"),
    "a plan that is taken": (added("[plans.mine]\n"), "plans.mine is the name of a plan that an"),
    "a plan in use": (
        replaced("[plans.pro]", "[plans.max]"),
        "plans has no 'pro', and 1 account is on it",
    ),
    "a short secret": (added('[admin]\nsecret = "file:$SECRET"\n'), "admin.secret has 5 char"),
}


async def test_a_file_that_cannot_be_used_changes_nothing_and_says_why(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("short")
    async with open_setup(tmp_path, models=PLANS) as setup:
        gateway, file = setup.gateway, tmp_path / CONFIG_FILE
        await gateway.ledger.set_plan("mine", {})
        await gateway.ledger.set_account_plan(setup.account_id, "pro")
        good, rules = file.read_text(), gateway.running.rules
        for name, (change, problem) in BAD_FILES.items():
            file.write_text(change(good).replace("$SECRET", str(secret)))
            with pytest.raises(BadConfigurationError) as caught:
                await gateway.reload()
            assert caught.value.message.startswith(CONFIG_FILE), name
            assert problem in caught.value.message, name
            assert gateway.running.rules is rules, name
        _, receipt, error = await run(setup, setup.call("tokens=3"))
        assert (receipt.outcome, error) == ("completed", None)

        file.write_text(good)
        assert (await gateway.reload()).changed == ()


async def test_streams_that_run_keep_their_price_and_none_is_dropped(tmp_path: Path) -> None:
    async with open_setup(tmp_path, models=PLANS) as setup, AsyncExitStack() as stack:
        call = setup.call("tokens=12 tokens_per_second=40")
        exchanges: list[Exchange] = []
        for _ in range(50):
            opened = setup.gateway.open_exchange(setup.call("tokens=12 tokens_per_second=40"))
            exchanges.append(await stack.enter_async_context(opened))
        async with trio.open_nursery() as nursery:
            for exchange in exchanges:
                nursery.start_soon(exchange.head)
        rewrite(tmp_path, replaced(PRICE, DEARER))
        report = await setup.gateway.reload()
        assert report.changed == ("models.sim-openai",)
        assert report.needs_restart == ()
        async with trio.open_nursery() as nursery:
            for exchange in exchanges:
                nursery.start_soon(drain, exchange)
        input_tokens = exchanges[0].receipt.usage["input_tokens"]
        paid = {(each.receipt.outcome, each.receipt.price_nanodollars) for each in exchanges}
        assert paid == {("completed", charge(input_tokens, 12))}

        _, receipt, _ = await run(setup, call)
        assert receipt.price_nanodollars == 10 * charge(input_tokens, 12)


async def test_who_was_admitted_before_is_served_by_the_deployment_of_then(tmp_path: Path) -> None:
    """Its body is written for one provider, and must not reach another of another protocol."""
    async with open_setup(tmp_path) as setup:
        admitted = await setup.gateway.admit(setup.key, "inference")
        rewrite(tmp_path, replaced('provider = "sim", model = "sim-openai"', MOVED))
        await setup.gateway.reload()
        async with setup.gateway.open_exchange(setup.call("tokens=3"), admitted) as before:
            assert (await drain(before)).endswith(b"data: [DONE]\n\n")
        assert before.receipt.provider == "sim"
        _, after, _ = await run(setup, setup.call("tokens=3"))
        assert (after.provider, after.outcome) == ("sim-gemini", "completed")


MOVED = 'provider = "sim-gemini", model = "sim-gemini"'


async def test_models_come_and_go(tmp_path: Path) -> None:
    more = '[models.new]\ndeployments = [{ provider = "sim", model = "sim-openai" }]\nfree = true\n'
    async with open_setup(tmp_path) as setup:
        gateway, body = setup.gateway, setup.call("tokens=3", model="new")
        with pytest.raises(ModelNotFoundError):
            await run(setup, body)
        rewrite(tmp_path, added(more))
        assert (await gateway.reload()).changed == ("models.new",)
        _, receipt, _ = await run(setup, setup.call("tokens=3", model="new"))
        assert (receipt.outcome, receipt.price_nanodollars) == ("completed", 0)
        assert listed(setup)[-1] == "new"

        rewrite(tmp_path, lambda text: text.removesuffix(more))
        assert (await gateway.reload()).changed == ("models.new",)
        assert "new" not in listed(setup)


def listed(setup: Setup) -> list[str]:
    """The models that the key sees."""
    return [model.id for model in setup.gateway.models(setup.gateway.identify(setup.key, "read"))]


async def test_what_takes_a_restart_is_named_and_left(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        gateway = setup.gateway
        rewrite(tmp_path, replaced("[server]", "[server]\nexchanges_max = 7"))
        rewrite(tmp_path, replaced("[storage]", "[storage]\nhold_lease_s = 5"))
        rewrite(tmp_path, replaced("[billing]", "[billing]\ndrains_per_account_max = 2"))
        report = await gateway.reload()
        assert report.needs_restart == ("server.exchanges_max", "storage.hold_lease_s")
        assert report.changed == ("billing.drains_per_account_max",)
        assert gateway.config.server.exchanges_max != 7
        assert gateway.config.billing.drains_per_account_max == 2
        again = await gateway.reload()
        assert (again.needs_restart, again.changed) == (report.needs_restart, ())


async def test_reloads_are_made_one_after_another(tmp_path: Path) -> None:
    numbers = []
    async with open_setup(tmp_path) as setup:

        async def reload() -> None:
            numbers.append((await setup.gateway.reload()).number)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(reload)
        assert sorted(numbers) == [2, 3, 4, 5]


async def test_who_made_something_of_the_configuration_is_told(tmp_path: Path) -> None:
    told: list[int] = []
    async with open_setup(tmp_path) as setup:
        setup.gateway.follow_rules(lambda rules: told.append(rules.config.limits.requests_per_ip))
        rewrite(tmp_path, added("[limits]\nrequests_per_ip = 9\n"))
        await setup.gateway.reload()
    assert told == [9]


async def test_budgets_follow_their_plans(tmp_path: Path) -> None:
    async with open_setup(tmp_path, models=PLANS) as setup:
        gateway = setup.gateway
        plan = gateway.running.rules.plans["free"]
        await gateway.ledger.set_account_plan(
            setup.account_id, "free", monthly_budget_nanodollars=plan.monthly_budget_nanodollars
        )
        assert await limits_of(gateway) == [5 * DOLLAR]
        rewrite(tmp_path, replaced("monthly_budget_usd = 5", "monthly_budget_usd = 7"))
        await gateway.reload()
        await wait_for_limits(gateway, [7 * DOLLAR])
        rewrite(tmp_path, replaced("monthly_budget_usd = 7", ""))
    text = (tmp_path / CONFIG_FILE).read_text()
    async with open_gateway(parse_config(text, CONFIG_FILE, {})) as gateway:  # a restart, too
        await wait_for_limits(gateway, [])


async def test_an_account_that_comes_to_a_plan_while_it_changes_follows_it(tmp_path: Path) -> None:
    """It was put there with what the plan allowed a moment ago, and that is not written yet."""
    async with open_setup(tmp_path) as setup, trio.open_nursery() as nursery:
        gateway = setup.gateway
        await gateway.ledger.set_plan("made", {"monthly_budget_usd": 7})
        go_on = threading.Event()
        nursery.start_soon(gateway.ledger._journal.run, lambda _: go_on.wait(10))
        await wait_all_tasks_blocked()
        nursery.start_soon(
            partial(
                gateway.ledger.set_account_plan,
                setup.account_id,
                "made",
                monthly_budget_nanodollars=5 * DOLLAR,
            )
        )
        await wait_all_tasks_blocked()
        nursery.start_soon(gateway.running.spread_budgets)
        await wait_all_tasks_blocked()
        go_on.set()
        await wait_for_limits(gateway, [7 * DOLLAR])


async def test_no_plan_goes_away_below_an_account_that_comes_to_it(tmp_path: Path) -> None:
    """Or nothing would be served to it, and the next start would be refused."""
    async with open_setup(tmp_path, models=PLANS) as setup, trio.open_nursery() as nursery:
        gateway = setup.gateway
        ledger = gateway.ledger
        await ledger.set_plan("made", {})
        go_on = threading.Event()
        nursery.start_soon(ledger._journal.run, lambda _: go_on.wait(10))
        await wait_all_tasks_blocked()
        nursery.start_soon(ledger.set_account_plan, setup.account_id, "pro")
        nursery.start_soon(ledger.remove_plan, "made")
        await wait_all_tasks_blocked()
        rewrite(tmp_path, replaced("[plans.pro]", "[plans.other]"))
        with pytest.raises(BadConfigurationError, match=r"has no 'pro', and 1 account is on it"):
            await gateway.reload()
        with pytest.raises(ConflictError, match="being removed"):
            await ledger.set_account_plan(setup.account_id, "made")
        go_on.set()


async def limits_of(gateway: Gateway) -> list[int]:
    """All budgets, in nanodollars."""
    return [view.budget.limit_nanodollars for view in await gateway.ledger.budgets()]


async def wait_for_limits(gateway: Gateway, expected: list[int]) -> None:
    """A task of the gateway's own sees to it, after the answer."""
    with trio.fail_after(30):
        while await limits_of(gateway) != expected:  # noqa: ASYNC110 - there is no event for it
            await trio.sleep(0.002)


async def test_it_does_not_start_without_the_plan_of_an_account(tmp_path: Path) -> None:
    async with open_setup(tmp_path, models=PLANS) as setup:
        await setup.gateway.ledger.set_account_plan(setup.account_id, "pro")
    text = config_text(tmp_path / "ledger.db", "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="plans has no 'pro', and 1 account is on it"):
        async with open_gateway(parse_config(text, "p.toml", {})):
            pass


async def test_what_operators_have_made_is_there_after_a_restart(tmp_path: Path) -> None:
    async with open_setup(tmp_path, models=PLANS) as setup:
        ledger = setup.gateway.ledger
        await ledger.set_plan("mine", {"models": ["sim-openai"]})
        await ledger.set_account_plan(setup.account_id, "mine")
        rates = {"input": "3", "output": "3"}
        await ledger.set_price("plan", "mine", "sim-openai", rates)
        assert listed(setup) == ["sim-openai"]
    async with open_gateway(setup.gateway.config) as gateway:
        admitted = gateway.identify(setup.key, "read")
        [model] = gateway.models(admitted)
        assert (model.id, model.price.input) == ("sim-openai", 3_000_000)


async def test_notices_go_where_the_file_says_now(tmp_path: Path) -> None:
    async with open_receiver() as first, open_receiver() as second:
        async with open_setup(tmp_path) as setup:
            price = charge(len(chat_body("tokens=20")), 20)
            ledger = setup.gateway.ledger
            for receiver, percent in ((first, 1), (second, 2)):
                section = notices(tmp_path, receiver.url)
                (tmp_path / CONFIG_FILE).write_text(
                    config_text(tmp_path / "ledger.db", setup.sim.base_url, models=section)
                )
                await setup.gateway.reload()
                await ledger.set_budget(
                    setup.account_id, None, "month", price, hard=False, soft_percents=(percent,)
                )
                await run(setup, setup.call("tokens=20"))
                await receiver.wait(lambda messages: len(messages) == 1)
        assert verified(first.messages[0])["type"] == verified(second.messages[0])["type"]


async def test_there_may_be_nothing_to_read(tmp_path: Path) -> None:
    config = parse_config(config_text(tmp_path / "l.db", "http://127.0.0.1:1"), "p.toml", {})
    async with open_gateway(config) as gateway:
        with pytest.raises(NothingToReloadError):
            await gateway.reload()


AUTO = '[auto]\nmodels = [{ name = "sim-openai", strength = 3 }]\n'


async def test_routing_is_read_again_and_what_is_known_of_deployments_stays(
    tmp_path: Path,
) -> None:
    async with open_setup(tmp_path, routing="") as setup:
        gateway, parts = setup.gateway, setup.gateway._parts
        kept = parts.health.of(parts.catalogue["sim-openai"].deployments[0])
        gone = parts.health.of(parts.catalogue["sim-gemini"].deployments[0])
        rewrite(tmp_path, added(AUTO))
        rewrite(tmp_path, replaced("[routing]", "[routing]\nattempts_max = 2\nseed = 7"))
        rewrite(tmp_path, replaced('model = "sim-gemini"', 'model = "sim-other"'))
        assert (await gateway.reload()).changed == (
            "models.sim-gemini",
            "routing.attempts_max",
            "routing.seed",
            "auto",
        )
        assert parts.health.rules.attempts_max == 2
        assert parts.chance.random() == Random(7).random()
        assert parts.health.of(parts.catalogue["sim-openai"].deployments[0]) is kept
        rewrite(tmp_path, replaced('model = "sim-other"', 'model = "sim-gemini"'))
        rewrite(tmp_path, replaced(AUTO, ""))
        assert (await gateway.reload()).changed == ("models.sim-gemini", "auto")
        assert parts.health.of(parts.catalogue["sim-gemini"].deployments[0]) is not gone
        assert "auto" not in parts.catalogue
