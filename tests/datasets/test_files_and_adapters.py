"""Data sets in files, and in the forms of other libraries."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import hiermodel as hm
from hiermodel.datasets.__main__ import main

NAME = "rhm-v4-m2-s2-L2"


def test_the_command_writes_what_load_gives(tmp_path, capsys):
    path = tmp_path / "data.npz"
    also = ["--also", "log_probs", "token_entropies", "trees"]
    main([NAME, "--num", "9", "--split", "test", "--seed", "3", "--out", str(path), *also])
    data = hm.datasets.load(NAME, num=9, split="test", seed=3)
    written = np.load(path, allow_pickle=False)
    for field in ("sequences", "log_probs", "token_entropies"):
        np.testing.assert_array_equal(written[field], getattr(data, field))
    for level, nodes in enumerate(data.trees):
        np.testing.assert_array_equal(written[f"tree_{level}"], nodes)
    assert (str(written["name"]), str(written["split"]), str(written["seed"])) == (
        NAME,
        "test",
        "3",
    )
    assert "9 sequences" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["data.npz"]


def test_the_same_data_are_the_same_file(tmp_path):
    data = hm.datasets.load(NAME, num=5)
    for name in ("a.npz", "b.npz"):
        hm.datasets.write_npz(data, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "--out", "a.npz"], "name='nothing' is not allowed"),
        ([NAME, "--out", "a.csv"], r"out='a.csv' is not allowed: out must end in .npz or .parquet"),
        ([NAME, "--num", "3", "--out", "no/such/folder/a.npz"], "No such file"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        main(arguments)
    assert not list(tmp_path.iterdir())


def test_an_unknown_column_is_refused(tmp_path):
    with pytest.raises(ValueError, match="columns='leaves' is not allowed"):
        hm.datasets.write_npz(hm.datasets.load(NAME, num=3), tmp_path / "a.npz", ("leaves",))


@pytest.mark.parametrize(
    ("package", "convert"),
    [
        ("grain", hm.datasets.to_grain),
        ("datasets", hm.datasets.to_hugging_face),
        ("pyarrow", lambda data: hm.datasets.write_parquet(data, "a.parquet")),
    ],
)
def test_what_is_not_installed_is_named(package, convert, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"needs the package {package}, .*pip install {package}"):
        convert(hm.datasets.load(NAME, num=3))


def test_a_folder_that_happens_to_be_called_so_is_no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", ModuleType("datasets"))
    with pytest.raises(ImportError, match="pip install datasets"):
        hm.datasets.to_hugging_face(hm.datasets.load(NAME, num=3))


def test_grain_gets_the_data_set_as_its_source(monkeypatch):
    fake = SimpleNamespace(MapDataset=SimpleNamespace(source=lambda source: ("source", source)))
    monkeypatch.setitem(sys.modules, "grain", fake)
    data = hm.datasets.load(NAME, num=3)
    assert hm.datasets.to_grain(data) == ("source", data)


def test_grain_gives_the_rows():
    pytest.importorskip("grain")
    data = hm.datasets.load(NAME, num=6)
    batches = list(hm.datasets.to_grain(data).batch(3))
    np.testing.assert_array_equal(np.concatenate(batches), data.sequences)


def test_hugging_face_gives_the_columns():
    pytest.importorskip("datasets.arrow_dataset")
    data = hm.datasets.load(NAME, num=6)
    rows = hm.datasets.to_hugging_face(data)
    np.testing.assert_array_equal(rows[:]["sequences"], data.sequences)
    np.testing.assert_array_equal(rows[:]["log_probs"], data.log_probs)


def test_parquet_holds_the_columns(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    data = hm.datasets.load(NAME, num=6)
    columns = ("sequences", "log_probs", "token_entropies", "trees")
    hm.datasets.write_parquet(data, tmp_path / "a.parquet", columns)
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.schema.metadata[b"name"].decode() == NAME
    np.testing.assert_array_equal(table["sequences"].to_pylist(), data.sequences)
    np.testing.assert_array_equal(table["log_probs"].to_numpy(), data.log_probs)
    np.testing.assert_array_equal(table["tree_1"].to_pylist(), data.trees[1])
