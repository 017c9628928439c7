"""What differs between implementations is asked of their protocol, never of their type."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ASKED = re.compile(r"\bisinstance\([^()]*(?:\([^()]*\)[^()]*)*\)")
IMPLEMENTATIONS = {
    "networks": r"Network\b|NetworkConfig|(Transformer|MLP|TreeUNet|UNet)(Config)?\b",
}
"""By protocol: the names of its implementations."""


def questions():
    """Every isinstance question of the project's own code, with its place."""
    for folder in ("hiermodel", "experiments", "figures", "paper_repro"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for match in ASKED.finditer(path.read_text()):
                yield f"{path.relative_to(ROOT)}: {match[0]}"


@pytest.mark.parametrize("protocol", IMPLEMENTATIONS)
def test_no_code_asks_which_implementation_it_has(protocol):
    names = re.compile(IMPLEMENTATIONS[protocol])
    assert not [question for question in questions() if names.search(question)]


def test_the_search_sees_a_question():
    text = "x = isinstance(f(network), UNetConfig | MLPConfig)"
    assert re.search(IMPLEMENTATIONS["networks"], ASKED.search(text)[0])
