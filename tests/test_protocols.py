"""What differs between implementations is asked of their protocol, never of their type."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMPLEMENTATIONS = {
    "networks": r"Network\b|NetworkConfig|(Transformer|MLP|TreeUNet|UNet)(Config)?\b",
    "processes": r"\b(DiscreteProcess|Process|Schedule)\b",
    "denoisers": r"\w*Denoiser\b",
    "worlds": r"(World|RunConfig|Splits)\b|\b(Grammar|Image)\w*",
}
"""By protocol: the names of its implementations."""


def questions(text, *functions):
    """Every question for a type: isinstance, issubclass, a comparison with type(…), a match.

    Calls of other functions that ask, if they are given.
    """
    functions = functions or ("isinstance", "issubclass")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            asks = getattr(node.func, "id", "") in functions
        elif isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            calls = [side.func for side in sides if isinstance(side, ast.Call)]
            asks = any(getattr(function, "id", "") == "type" for function in calls)
        else:
            asks = isinstance(node, ast.MatchClass)
        if asks:
            yield ast.unparse(node.cls if isinstance(node, ast.MatchClass) else node)


@pytest.mark.parametrize("protocol", IMPLEMENTATIONS)
def test_no_code_asks_which_implementation_it_has(protocol):
    names = re.compile(IMPLEMENTATIONS[protocol])
    for folder in ("hiermodel", "experiments", "figures", "paper_repro"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            asked = [one for one in questions(path.read_text()) if names.search(one)]
            assert not asked, path.relative_to(ROOT)


def test_no_code_asks_what_a_network_or_process_has():
    """Their protocols say it; only where users' modules come in, a network is told from one."""
    allowed = {"hiermodel/training/fitting.py": ["hasattr(network, 'target')"]}
    names = re.compile(r"hasattr\((\w+\.)*(network|process|schedule|world|splits)\b")
    for folder in ("hiermodel", "experiments", "figures", "paper_repro"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            asked = [one for one in questions(path.read_text(), "hasattr") if names.match(one)]
            place = str(path.relative_to(ROOT))
            assert asked == allowed.get(place, []), place


def test_the_search_sees_every_way_to_ask():
    text = (
        "isinstance(f(network), UNetConfig | MLPConfig)\n"
        "isinstance(x, (int, hm.DiscreteProcess))\n"
        "type(x) is Schedule\n"
        "match x:\n    case MeanDenoiser():\n        pass\n"
        "x = splits.unseen if isinstance(f(splits), Splits) else splits.test\n"
    )
    assert list(questions("hasattr(of.network, 'heads')", "hasattr"))
    for name in ("Splits", "UNetConfig", "DiscreteProcess", "Schedule", "MeanDenoiser"):
        assert any(name in question for question in questions(text))
