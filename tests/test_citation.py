"""CITATION.cff has what CFF 1.2.0 requires, paper.md what JOSS does; references are there."""

import datetime
import re
from pathlib import Path

import pytest
import yaml

import hiermodel as hm

ROOT = Path(__file__).parents[1]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
REQUIRED = {"cff-version", "message", "title", "authors"}
KNOWN = REQUIRED | {
    *("abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords"),
    *("license", "license-url", "preferred-citation", "references", "repository"),
    *("repository-artifact", "repository-code", "type", "url", "version"),
}
PERSON = {"family-names", "given-names", "name-particle", "name-suffix", "alias"}
PAPER = (ROOT / "paper.md").read_text()
FRONT = yaml.safe_load(PAPER.split("---")[1])


def is_named(author):
    """An entity by its name, or a person by one of theirs."""
    names = [author["name"]] if "name" in author else [author[key] for key in PERSON & set(author)]
    return bool(names) and all(isinstance(name, str) and name.strip() for name in names)


def test_the_citation_has_the_keys_of_the_format():
    assert set(CITATION) >= REQUIRED
    assert set(CITATION) <= KNOWN
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] in ("software", "dataset")
    assert all(CITATION[key].strip() for key in ("message", "title"))
    assert len(set(CITATION["keywords"])) == len(CITATION["keywords"])


def test_the_citation_is_of_this_version():
    assert CITATION["version"] == hm.__version__
    date = datetime.date.fromisoformat(CITATION["date-released"])
    assert f"{hm.__version__} " in (ROOT / "CHANGELOG.md").read_text()
    assert str(date) in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("work", [CITATION, *CITATION["references"]])
def test_everything_cited_has_a_title_and_named_authors(work):
    assert work["title"].strip()
    assert work["type"].strip()
    assert work["authors"]
    assert all(map(is_named, work["authors"]))


@pytest.mark.parametrize("author", [{}, {"name": " "}, {"family-names": ""}, {"orcid": "0"}])
def test_an_author_without_a_name_is_noticed(author):
    assert not is_named(author)


def test_the_paper_has_the_head_that_its_journal_wants():
    assert set(FRONT) >= {"title", "tags", "authors", "affiliations", "date", "bibliography"}
    known = {place["index"] for place in FRONT["affiliations"]}
    assert all(place["name"].strip() for place in FRONT["affiliations"])
    for author in FRONT["authors"]:
        assert is_named(author)
        assert set(map(int, str(author["affiliation"]).split(","))) <= known


def test_the_references_of_the_paper_are_there():
    entries = re.findall(r"^@\w+\{([^,]+),", (ROOT / FRONT["bibliography"]).read_text(), re.M)
    assert len(set(entries)) == len(entries)
    assert set(re.findall(r"@([a-z]+\d{4}\w+)", PAPER)) == set(entries)
