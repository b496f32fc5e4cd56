"""Reads the import arrows of a source tree, and the rules they have to keep.

An arrow is one import of one module of ours by another, wherever it stands: at the top, inside a
function, under TYPE_CHECKING, relative or not, or by `importlib.import_module("literal")`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"engine.wire"}),
    frozenset(
        {
            "engine.agent",
            "engine.alarm",
            "engine.batch",
            "engine.capabilities",
            "engine.capability_table",
            "engine.clock",
            "engine.conversation",
            "engine.demand",
            "engine.errors",
            "engine.events",
            "engine.file_ids",
            "engine.job",
            "engine.lateness",
            "engine.load",
            "engine.media",
            "engine.media_params",
            "engine.media_schemas",
            "engine.nurseries",
            "engine.owned",
            "engine.queue_work",
            "engine.spool",
            "engine.toml",
            "engine.tuning",
            "engine.uploads",
            "engine.usage",
        }
    ),
    frozenset(
        {
            "engine.protocols",
            "engine.upstream",
            "engine.routing",
            "engine.admission",
            "engine.metering",
            "engine.ledger",
            "engine.storage",
        }
    ),
    frozenset(
        {
            "engine.advice",
            "engine.agents",
            "engine.bounds",
            "engine.catalogue",
            "engine.config",
            "engine.config_access",
            "engine.config_agents",
            "engine.config_checks",
            "engine.config_files",
            "engine.config_jobs",
            "engine.config_job_specs",
            "engine.config_models",
            "engine.config_plans",
            "engine.config_prices",
            "engine.config_routing",
            "engine.config_rows",
            "engine.config_state",
            "engine.config_tables",
            "engine.config_webhooks",
            "engine.drains",
            "engine.egress",
            "engine.file_choices",
            "engine.funds",
            "engine.idempotency",
            "engine.inlining",
            "engine.notices",
            "engine.overrides",
            "engine.owning",
            "engine.plan_budgets",
            "engine.prices",
            "engine.referring",
            "engine.relay",
            "engine.repeats",
            "engine.seam",
            "engine.sink",
            "engine.stopping",
            "engine.storing",
            "engine.telemetry",
            "engine.telemetry_routing",
            "engine.transcript",
            "engine.webhooks",
            "engine.writers",
        }
    ),
    frozenset(
        {
            "engine.attempt",
            "engine.attempt_log",
            "engine.billing",
            "engine.handing",
            "engine.holding",
            "engine.jobs",
            "engine.keyring",
            "engine.leg",
            "engine.listing",
            "engine.measuring",
            "engine.opening",
            "engine.reconcile",
            "engine.recording",
            "engine.reserving",
            "engine.parsing",
            "engine.parts",
            "engine.passage",
            "engine.pulling",
            "engine.rules",
            "engine.submitting",
            "engine.tally",
            "engine.watch",
        }
    ),
    frozenset(
        {
            "engine.admitting",
            "engine.agent_calls",
            "engine.charging",
            "engine.counting",
            "engine.explaining",
            "engine.probing",
            "engine.store_meter",
            "engine.upkeep",
        }
    ),
    frozenset(
        {
            "engine.attempts",
            "engine.batches",
            "engine.fine_tuning",
            "engine.continuing",
            "engine.splitting",
            "engine.course",
            "engine.preparing",
            "engine.racing",
            "engine.rounds",
            "engine.request_files",
            "engine.retrying",
        }
    ),
    frozenset({"engine.conclusion", "engine.drain"}),
    frozenset({"engine.exchange"}),
    frozenset({"engine.jobs_api", "engine.operations", "engine.passing", "engine.reload"}),
    frozenset({"engine.wiring"}),
    frozenset({"engine.gateway"}),
    frozenset({"engine.checking"}),
    frozenset({"engine"}),  # the facade: what `from engine import …` offers
    frozenset({"bench"}),
    frozenset({"frontends"}),
    frozenset({"tests"}),
)
"""Lowest first. A part imports parts of lower layers; of its own layer what `APART` leaves."""

APART = frozenset({"engine.upstream", "engine.routing", "engine.metering", "engine.ledger"})
"""Never import one another: what one needs of another arrives as a plain value."""

NEVER_IN_ENGINE = frozenset(
    {"asyncio", "quart", "quart_trio", "hypercorn", "werkzeug", "flask", "click", "anyio"}
)
"""The engine is Trio only: no web framework, no other event loop, no command line."""

OURS = ("engine", "frontends", "bench", "tests")
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}


@dataclass(frozen=True, order=True)
class Arrow:
    """`importer` (a part, e.g. "engine.wire") imports `imported` at `path:line`."""

    importer: str
    imported: str
    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.importer} -> {self.imported}"


def part_of(module: str) -> str:
    """The part a dotted module belongs to: engine's children are parts, other packages are whole.

    >>> part_of("engine.wire.http2"), part_of("frontends.server.binds")
    ('engine.wire', 'frontends')
    """
    names = module.split(".")
    return ".".join(names[:2]) if names[0] == "engine" else names[0]


def read_arrows(root: Path) -> list[Arrow]:
    """Every arrow between parts of the tree at `root`, and from parts to foreign packages."""
    paths = sorted(path for top in OURS for path in (root / top).rglob("*.py"))
    modules = {_module_of(path.relative_to(root)): path for path in paths}
    arrows = []
    for module, path in modules.items():
        importer = part_of(module)
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        source = path.read_bytes()
        by_call = b"import_module" in source or b"__import__" in source
        nodes = (ast.walk if by_call else _statements)(ast.parse(source, str(path)))
        for name, line in _imported_names(nodes, package):
            imported = part_of(_longest_module(name, modules))
            if imported != importer:
                where = path.relative_to(root).as_posix()
                arrows.append(Arrow(importer, imported, where, line))
    return sorted(set(arrows))


def violations(arrows: Iterable[Arrow]) -> list[str]:
    """What is wrong with these arrows, one line each; none when the layout holds."""
    found = [fault for arrow in arrows if (fault := _fault(arrow)) is not None]
    return found + _cycles(arrows)


def _fault(arrow: Arrow) -> str | None:
    importer, imported = arrow.importer, arrow.imported
    top = imported.partition(".")[0]
    if top not in OURS:
        forbidden = importer.partition(".")[0] == "engine" and top in NEVER_IN_ENGINE
        return f"{arrow}: the engine is Trio only" if forbidden else None
    for part in (importer, imported):
        if part not in RANK:
            return f"{arrow}: {part} has no place in LAYERS"
    if importer == "engine.wire":
        return f"{arrow}: wire imports nothing of ours"
    if RANK[imported] > RANK[importer]:
        return f"{arrow}: points back up"
    if importer in APART and imported in APART:
        return f"{arrow}: these two stay apart"
    return None


def _cycles(arrows: Iterable[Arrow]) -> list[str]:
    graph: dict[str, set[str]] = {}
    for arrow in arrows:
        if arrow.imported in RANK:
            graph.setdefault(arrow.importer, set()).add(arrow.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"a cycle: {' <- '.join(error.args[1])}"]
    return []


def _module_of(path: Path) -> str:
    names = path.with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def _longest_module(name: str, modules: Iterable[str]) -> str:
    """`engine.errors.GatewayError` is of `engine.errors`, `engine.open_gateway` of `engine`."""
    while name not in modules and name.partition(".")[0] in OURS and "." in name:
        name = name.rpartition(".")[0]
    return name


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that may hold statements, without the expressions: most of a tree."""
    left = [tree]
    while left:
        node = left.pop()
        yield node
        for name in ("body", "orelse", "handlers", "finalbody", "cases"):
            if isinstance(inner := getattr(node, name, None), list):
                left += inner


def _imported_names(nodes: Iterable[ast.AST], package: str) -> Iterator[tuple[str, int]]:
    for node in nodes:
        match node:
            case ast.Import():
                for alias in node.names:
                    yield alias.name, node.lineno
            case ast.ImportFrom():
                base = _absolute(node, package)
                for alias in node.names:
                    yield f"{base}.{alias.name}", node.lineno
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name, node.lineno


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if node.level == 0:
        return node.module or ""
    names = package.split(".")
    names = names[: len(names) - node.level + 1]
    return ".".join([*names, *([node.module] if node.module else [])])
