"""The import arrows point one way; and the reader of arrows sees every kind of import."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.arrows import LAYERS, OURS, RANK, read_arrows, violations

ROOT = Path(__file__).parent.parent


def plant(root: Path, files: dict[str, str]) -> list[str]:
    """Violations of a tree with these files, and with an empty module for every part."""
    for part in RANK:
        (root / part.replace(".", "/")).mkdir(parents=True, exist_ok=True)
        (root / part.replace(".", "/") / "__init__.py").touch()
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return violations(read_arrows(root))


def test_our_arrows_point_one_way() -> None:
    arrows = read_arrows(ROOT)

    assert {arrow.importer.partition(".")[0] for arrow in arrows} <= set(OURS)
    assert arrows, "no arrow was read: is the tree where the test thinks it is?"
    assert violations(arrows) == []


def test_every_part_stands_in_one_layer() -> None:
    assert sum(len(layer) for layer in LAYERS) == len(RANK)


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("engine/wire/sse.py", "from engine.errors import GatewayError", "wire imports nothing"),
        ("engine/wire/sse.py", "from ..errors import GatewayError", "wire imports nothing"),
        ("engine/errors/x.py", "import engine.ledger", "points back up"),
        ("engine/ledger/x.py", "from engine import open_gateway", "points back up"),
        ("engine/ledger/x.py", "from engine.metering.usage import Usage", "stay apart"),
        ("engine/ledger/x.py", "from .. import metering", "stay apart"),
        ("engine/routing/x.py", "def f():\n    from engine import upstream", "stay apart"),
        (
            "engine/metering/x.py",
            "import typing as t\nif t.TYPE_CHECKING:\n    import engine.ledger.receipts",
            "stay apart",
        ),
        ("engine/relay/x.py", "import engine.exchange", "points back up"),
        ("engine/exchange/x.py", "from bench import simulate", "points back up"),
        ("bench/x.py", "import frontends.app", "points back up"),
        ("frontends/x.py", "from tests import arrows", "points back up"),
        ("engine/gateway/x.py", "import quart_trio", "Trio only"),
        ("engine/gateway/x.py", "from hypercorn.config import Config", "Trio only"),
        (
            "engine/upstream/x.py",
            "import importlib\nimportlib.import_module('engine.ledger')",
            "stay apart",
        ),
        ("engine/novelty/x.py", "import engine.errors", "has no place in LAYERS"),
    ],
)
def test_a_planted_arrow_is_found(tmp_path: Path, path: str, source: str, fault: str) -> None:
    assert [line for line in plant(tmp_path, {path: source}) if fault in line]


def test_the_line_of_a_violation_is_named(tmp_path: Path) -> None:
    (found,) = plant(tmp_path, {"engine/wire/x.py": "import os\n\nimport engine.errors\n"})

    assert found.startswith("engine/wire/x.py:3: engine.wire -> engine.errors")


def test_a_cycle_within_a_layer_is_found(tmp_path: Path) -> None:
    files = {
        "engine/protocols/x.py": "import engine.storage",
        "engine/storage/x.py": "import engine.protocols",
    }

    assert [line for line in plant(tmp_path, files) if line.startswith("a cycle")]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("frontends/x.py", "from engine import open_gateway, errors\nimport bench.simulate"),
        ("engine/gateway/x.py", "from engine.ledger import open_ledger\nimport trio"),
        ("engine/wire/x.py", "from . import http\nfrom .http import Headers\nimport h2"),
        ("engine/admission/x.py", "from engine.ledger import Ledger"),
        ("bench/x.py", "from engine.wire.http2 import Http2Connection"),
        ("frontends/x.py", "import quart_trio, hypercorn, click"),
    ],
)
def test_an_arrow_that_points_down_is_left_alone(tmp_path: Path, path: str, source: str) -> None:
    assert plant(tmp_path, {path: source}) == []
