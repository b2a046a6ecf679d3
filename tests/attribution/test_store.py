"""Maps on disk: whole shards or none, read back as they were written, damage told in one line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ecglens.attribution import explain, read_attributions
from ecglens.attribution.store import Stacked, merge, missing_shards, read_plan, shard_written_whole, write_plan
from ecglens.errors import EcglensError
from made import FEW, created, random_examples, tiny
from nets import Linear, classifier, gap, seeded, signals


def _few(n: int = 6):
    examples = random_examples(n, length=24)
    return tiny(examples), examples


def _explain(folder, n: int = 6, method: str = "saliency", **told):
    model, examples = _few(n)
    return explain(model, examples, [method], target="true", out=folder, quiet=True, **told)


def _bytes(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ------------------------------------------------------------------------------------------------ there and back


@pytest.mark.parametrize("method", ["saliency", "mean-activation"])
def test_maps_come_back_as_the_method_gave_them_in_the_order_asked(method, tmp_path):
    model, examples = _few()
    rows, target = np.array([4, 0, 4, 5]), np.array([1, 2, 0, 0])
    explain(model, examples, [method], target=target, rows=rows, out=tmp_path, quiet=True)
    found = read_attributions(tmp_path)
    assert found.methods == (method,)
    expected = explain(model, examples.take(rows), [method], target=target, quiet=True)
    np.testing.assert_array_equal(found[method][:], expected[method][:])
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.target, target)
    np.testing.assert_array_equal(found.predicted, model.logits(examples).argmax(1)[rows])
    assert found[method].dtype == np.float32
    assert found.rows.dtype == found.target.dtype == found.predicted.dtype == np.int64


def test_the_store_is_plain_arrays_and_a_plan(tmp_path):
    given_back = _explain(tmp_path, n=10, method="integrated-gradients")
    assert sorted(_bytes(tmp_path)) == [
        "plan.json",
        "shard-00000/integrated-gradients.completeness-error.npy",
        "shard-00000/integrated-gradients.npy",
        "shard-00000/predicted.npy",
        "shard-00000/rows.npy",
        "shard-00000/target.npy",
    ]
    maps = np.load(tmp_path / "shard-00000" / "integrated-gradients.npy")
    assert (maps.shape, maps.dtype) == ((10, 2, 24), np.float32)
    np.testing.assert_array_equal(given_back["integrated-gradients"][:], maps)
    assert given_back.folder == tmp_path


def test_reading_a_store_does_not_load_the_maps(tmp_path):
    _explain(tmp_path)
    stacked = read_attributions(tmp_path)._stacked("saliency")
    assert all(isinstance(part, np.memmap) for part in stacked._parts)


@FEW
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.data())
def test_rows_of_stacked_parts_are_those_of_the_parts_put_together(sizes, data):
    whole = np.arange(3 * sum(sizes)).reshape(-1, 3)
    parts = np.split(whole, np.cumsum(sizes)[:-1])
    rows = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)), np.int64)
    stacked = Stacked(parts)
    np.testing.assert_array_equal(stacked.rows(rows), whole[rows])
    assert (len(stacked), stacked.shape, stacked.dtype) == (len(whole), whole.shape, whole.dtype)


def test_half_precision_halves_the_store_and_is_told_in_the_plan(tmp_path):
    whole, half = _explain(tmp_path / "whole"), _explain(tmp_path / "half", kept="float16")
    stored = np.load(tmp_path / "half" / "shard-00000" / "saliency.npy")
    assert stored.dtype == np.float16
    assert half["saliency"][:].dtype == np.float32
    np.testing.assert_array_equal(half["saliency"][:], whole["saliency"][:].astype(np.float16).astype(np.float32))
    assert read_plan(tmp_path / "half")["kept"] == "float16"


# ------------------------------------------------------------------------------------------------ whole or not at all


def test_a_shard_that_fails_leaves_nothing_and_one_that_does_not_is_whole(tmp_path):
    with pytest.raises(ValueError), shard_written_whole(tmp_path, 3, 4) as writer:
        writer.add("a", np.zeros((2, 5), np.float32))
        raise ValueError
    assert list(tmp_path.iterdir()) == []
    with shard_written_whole(tmp_path, 3, 4) as writer:
        writer.add("a", np.arange(10, dtype=np.float32).reshape(2, 5))
        writer.add("a", np.arange(10, 20, dtype=np.float32).reshape(2, 5))
        assert not (tmp_path / "shard-00003").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["shard-00003"]
    np.testing.assert_array_equal(np.load(tmp_path / "shard-00003" / "a.npy"), np.arange(20).reshape(4, 5))


def test_a_model_that_the_method_cannot_read_leaves_no_file(tmp_path):
    examples = random_examples(3)
    with pytest.raises(EcglensError, match="jones-lstm names none"):
        explain(created("jones-lstm", examples), examples, ["mean-activation"], out=tmp_path, quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_method_leaves_no_file(tmp_path):
    with pytest.raises(EcglensError, match="unknown method 'salience'; did you mean 'saliency'"):
        _explain(tmp_path, method="salience")
    assert list(tmp_path.iterdir()) == []


class Rooted(Linear):
    """Logits of the roots of absolute values: no slope at zero."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.abs().sqrt())


def test_a_map_that_is_not_a_number_is_refused_and_leaves_no_shard(tmp_path):
    x = signals(300)
    x[280, 0, 5] = 0
    with pytest.raises(EcglensError, match="saliency of net gave a map that holds NaN"):
        explain(classifier(seeded(Rooted)), x, ["saliency"], out=tmp_path, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_data_that_is_not_a_number_is_refused_by_the_row_and_leaves_no_shard(tmp_path):
    model, examples = _few(300)
    for broken in (np.nan, np.inf):
        examples.signals[280, 0, 5] = broken
        with pytest.raises(EcglensError, match="example 280 of the data holds NaN or infinity"):
            explain(model, examples, ["saliency"], target="true", out=tmp_path / str(broken), quiet=True)
        assert not list((tmp_path / str(broken)).glob("*shard*"))
    rows = np.delete(np.arange(300), 280)
    assert len(explain(model, examples, ["saliency"], rows=rows, quiet=True)["saliency"]) == 299


def test_a_second_question_to_the_same_folder_leaves_the_first_whole(tmp_path):
    _explain(tmp_path)
    before = _bytes(tmp_path)
    with pytest.raises(EcglensError, match="holds maps made otherwise"):
        _explain(tmp_path, seed=1)
    assert _bytes(tmp_path) == before


def test_the_same_question_again_reads_what_is_there_and_computes_nothing(tmp_path):
    first = _explain(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = _explain(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    np.testing.assert_array_equal(first["saliency"][:], again["saliency"][:])


# ------------------------------------------------------------------------------------------------ another question


def _with(**changed):
    """Words to explain that differ in one thing."""
    return changed


OTHERWISE = {
    "model": _with(model=1),
    "data": _with(data=1),
    "target": _with(target="predicted"),
    "output": _with(output="probability"),
    "kept": _with(kept="float16"),
    "seed": _with(seed=1),
    "methods": _with(methods=["saliency", "uniform"]),
    "asked": _with(rows=np.array([0, 1, 2, 3, 5, 4])),
    "n": _with(rows=np.arange(5)),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_a_store_made_otherwise_is_refused_by_what_differs(what, tmp_path):
    model, examples = _few()
    told = {"target": "true", "out": tmp_path, "quiet": True}
    explain(model, examples, ["saliency"], **told)
    changed = dict(OTHERWISE[what])
    if changed.pop("model", None):
        model = tiny(examples, seed=1)
    if changed.pop("data", None):
        examples = random_examples(6, length=24, seed=1)
    methods = changed.pop("methods", ["saliency"])
    with pytest.raises(EcglensError, match="made otherwise") as caught:
        explain(model, examples, methods, **told | changed)
    assert what in str(caught.value).split("(")[1].split(" differ:")[0].split(", ")
    assert "\n" not in str(caught.value)


def test_other_options_of_a_method_are_another_question(tmp_path):
    told = {"target": "true", "out": tmp_path, "quiet": True}
    explain(*_few(), ["smoothgrad"], options={"smoothgrad": {"samples": 3}}, **told)
    with pytest.raises(EcglensError, match="methods differ"):
        explain(*_few(), ["smoothgrad"], options={"smoothgrad": {"samples": 4}}, **told)


def test_another_background_is_another_question(tmp_path):
    model = gap()
    told = {"out": tmp_path, "quiet": True, "options": {"integrated-gradients": {"baseline": "mean", "most_steps": 16}}}
    explain(model, signals(), ["integrated-gradients"], background=signals(4, seed=1), **told)
    with pytest.raises(EcglensError, match="made otherwise"):
        explain(model, signals(), ["integrated-gradients"], background=signals(4, seed=2), **told)


def test_other_regions_given_as_data_are_another_question(tmp_path):
    from ecglens.examples.regions import Regions

    def regions(stop: int) -> Regions:
        return Regions(("r",), ("I",), np.array([0]), np.zeros((5, 1), np.int64), np.full((5, 1), stop))

    told = {"out": tmp_path, "quiet": True}
    explain(gap(), signals(), ["occlusion"], options={"occlusion": {"regions": regions(4)}}, **told)
    with pytest.raises(EcglensError, match="made otherwise"):
        explain(gap(), signals(), ["occlusion"], options={"occlusion": {"regions": regions(9)}}, **told)


def test_other_places_of_the_same_regions_to_keep_are_another_question(tmp_path):
    from ecglens.examples.regions import Regions

    def regions(stop: int) -> Regions:
        return Regions(("r",), ("I",), np.array([0]), np.zeros((5, 1), np.int64), np.full((5, 1), stop))

    told = {"out": tmp_path, "quiet": True}
    explain(gap(), signals(), ["saliency"], keep=regions(4), **told)
    with pytest.raises(EcglensError, match="made otherwise"):
        explain(gap(), signals(), ["saliency"], keep=regions(9), **told)


# ------------------------------------------------------------------------------------------------ damage


def test_a_folder_without_a_plan_holds_no_maps(tmp_path):
    with pytest.raises(EcglensError, match=r"holds no maps \(plan\.json is missing\)"):
        read_attributions(tmp_path)
    _explain(tmp_path)
    (tmp_path / "plan.json").unlink()
    with pytest.raises(EcglensError, match=r"holds no maps \(plan\.json is missing\)"):
        read_attributions(tmp_path)


def test_shards_whose_plan_is_gone_are_not_taken_for_those_of_another_model(tmp_path):
    _explain(tmp_path)
    (tmp_path / "plan.json").unlink()
    _, examples = _few()
    other = tiny(examples, seed=1)
    expected = explain(other, examples, ["saliency"], target="true", quiet=True)["saliency"][:]
    try:
        found = explain(other, examples, ["saliency"], target="true", out=tmp_path, quiet=True)["saliency"][:]
    except EcglensError:
        return  # refused is right as well
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"shards": [[0, 6]]}'])
def test_a_damaged_plan_is_refused_in_one_line(text, tmp_path):
    _explain(tmp_path)
    (tmp_path / "plan.json").write_text(text)
    for attempt in (lambda: read_attributions(tmp_path), lambda: _explain(tmp_path)):
        with pytest.raises(EcglensError, match=r"plan\.json is damaged") as caught:
            attempt()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"shards": 7, "methods": {}, "n": 6}',
        '{"shards": [[0]], "methods": {}, "n": 6}',
        '{"shards":[[0,6]],"methods":3,"n":6}',
    ],
)
def test_a_plan_of_nonsense_is_refused_in_one_line(text, tmp_path):
    _explain(tmp_path)
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(EcglensError):
        read_attributions(tmp_path)["saliency"][:]


@pytest.mark.parametrize("name", ["saliency", "rows", "target", "predicted"])
def test_a_missing_array_is_named(name, tmp_path):
    _explain(tmp_path)
    (tmp_path / "shard-00000" / f"{name}.npy").unlink()
    with pytest.raises(EcglensError, match=rf"shard-00000/{name}\.npy is missing"):
        read_attributions(tmp_path)["saliency"]


@pytest.mark.parametrize("name", ["saliency", "rows"])
@pytest.mark.parametrize("keep", [0, 20, 90, 140])
def test_an_array_that_was_cut_off_is_refused_in_one_line(name, keep, tmp_path):
    _explain(tmp_path)
    path = tmp_path / "shard-00000" / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(EcglensError, match=rf"{name}\.npy is damaged") as caught:
        read_attributions(tmp_path)["saliency"]
    assert "\n" not in str(caught.value)


def test_an_array_of_another_length_than_the_plan_says_is_refused(tmp_path):
    _explain(tmp_path)
    path = tmp_path / "shard-00000" / "saliency.npy"
    np.save(path, np.load(path)[:4])
    with pytest.raises(EcglensError, match="holds 4 rows, the plan says 6"):
        read_attributions(tmp_path)["saliency"]


def test_a_pickle_in_the_place_of_an_array_is_not_opened(tmp_path):
    _explain(tmp_path)
    np.save(tmp_path / "shard-00000" / "saliency.npy", np.array([{"a": 1}] * 6, object), allow_pickle=True)
    with pytest.raises(EcglensError, match="is damaged"):
        read_attributions(tmp_path)["saliency"]


def test_what_is_said_about_damage_can_be_done(tmp_path):
    before = _explain(tmp_path)["saliency"][:]
    path = tmp_path / "shard-00000" / "saliency.npy"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(EcglensError, match="delete its shard and go on"):
        read_attributions(tmp_path)["saliency"]
    shutil.rmtree(tmp_path / "shard-00000")
    with pytest.raises(EcglensError, match="not complete: 1 of 1 shards are missing"):
        read_attributions(tmp_path)
    np.testing.assert_array_equal(_explain(tmp_path)["saliency"][:], before)


# ------------------------------------------------------------------------------------------------ merge


def _parted(tmp_path, monkeypatch, *, together: bool):
    """The same question in one go, and in two parts in one or two folders."""
    from ecglens.attribution import engine, planning

    monkeypatch.setattr(engine, "_SHARD_MB", 0.001)  # a batch fills a shard
    monkeypatch.setattr(planning, "_LARGEST_BATCH", 4)
    _explain(tmp_path / "whole", n=30)
    folders = [tmp_path / "one", tmp_path / ("one" if together else "two")]
    given_back = [_explain(folder, n=30, part=(number, 2)) for number, folder in enumerate(folders)]
    return folders, given_back


def test_two_parts_in_one_folder_are_the_whole(tmp_path, monkeypatch):
    folders, given_back = _parted(tmp_path, monkeypatch, together=True)
    assert _bytes(folders[0]) == _bytes(tmp_path / "whole")
    assert len(read_plan(folders[0])["shards"]) > 3
    assert len(given_back[0].target) == 0
    np.testing.assert_array_equal(given_back[1]["saliency"][:], read_attributions(tmp_path / "whole")["saliency"][:])


def test_two_parts_in_two_folders_are_merged_to_the_whole(tmp_path, monkeypatch):
    folders, _ = _parted(tmp_path, monkeypatch, together=False)
    plan = read_plan(folders[0])
    there = [set(missing_shards(folder, plan)) for folder in folders]
    assert there[0] | there[1] == set(range(len(plan["shards"])))
    assert not there[0] & there[1]
    with pytest.raises(EcglensError, match="not complete"):
        read_attributions(folders[0])
    assert merge(folders, tmp_path / "out") == tmp_path / "out"
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "whole")
    # and into one of them
    merge(folders, folders[0])
    assert _bytes(folders[0]) == _bytes(tmp_path / "whole")


def test_a_merge_without_all_shards_says_which_one_lacks(tmp_path, monkeypatch):
    folders, _ = _parted(tmp_path, monkeypatch, together=False)
    with pytest.raises(EcglensError, match="shard-00001 is in none of the 1 stores"):
        merge(folders[:1], tmp_path / "out")
    with pytest.raises(EcglensError, match="no store to merge"):
        merge([], tmp_path / "out")


def test_stores_of_different_plans_are_not_merged(tmp_path):
    _explain(tmp_path / "one")
    _explain(tmp_path / "two", seed=1)
    with pytest.raises(EcglensError, match="of different plans"):
        merge([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_plan_is_written_once(tmp_path):
    write_plan(tmp_path / "new", {"a": (1, 2), "shards": [[0, 1]], "methods": {}, "n": 1})
    before = (tmp_path / "new" / "plan.json").read_bytes()
    write_plan(tmp_path / "new", {"a": [1, 2], "shards": [[0, 1]], "methods": {}, "n": 1})
    assert (tmp_path / "new" / "plan.json").read_bytes() == before
    assert json.loads(before)["a"] == [1, 2]
    with pytest.raises(EcglensError, match=r"\(a, b differ"):
        write_plan(tmp_path / "new", {"a": [1, 3], "b": 1, "shards": [[0, 1]], "methods": {}, "n": 1})
