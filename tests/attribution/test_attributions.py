"""Maps read back: which rows, at which resolution, with which notes."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.attribution import explain, read_attributions
from ecglens.attribution.attributions import Maps
from ecglens.attribution.resizing import resized
from ecglens.attribution.store import Stacked
from ecglens.errors import EcglensError
from nets import LENGTH, gap, signals


def _several():
    return explain(
        gap(), signals(7), ["saliency", "grad-cam", "lead-shapley", "integrated-gradients"],
        options={"integrated-gradients": {"steps": 2, "most_steps": 2}}, quiet=True,
    )  # fmt: skip


def test_maps_come_at_the_models_length_and_natively_at_their_own():
    found = _several()
    assert found["saliency"].shape == found.native("saliency").shape == (7, 2, LENGTH)
    assert found.native("grad-cam").shape == (7, 1, 11)
    assert found["grad-cam"].shape == (7, 1, LENGTH)
    assert found.native("lead-shapley").shape == (7, 2, 1)
    assert found["lead-shapley"].shape == (7, 2, LENGTH)
    np.testing.assert_array_equal(found["grad-cam"][:], resized(found.native("grad-cam")[:], (LENGTH,)))
    np.testing.assert_array_equal(found["lead-shapley"][:], np.repeat(found.native("lead-shapley")[:], LENGTH, axis=2))


KEYS = {
    "everything": slice(None),
    "a row": 3,
    "a row from behind": -1,
    "a stretch": slice(1, 6, 2),
    "some rows": np.array([5, 0, 5]),
    "a list": [2, 1],
    "a mask": np.array([True, False] * 3 + [True]),
    "a row and a lead": (2, 0),
    "rows, lead, stretch": (slice(1, 4), 0, slice(3, 9)),
    "rows, a lead from behind": (np.array([6, 1]), -1),
    "one number": (6, 0, 5),
    "no row": slice(0, 0),
}


@pytest.mark.parametrize("what", KEYS)
@pytest.mark.parametrize("method", ["saliency", "grad-cam"])
def test_maps_are_taken_from_as_from_an_array(what, method):
    maps = _several()[method]
    whole = np.asarray(maps)
    assert isinstance(whole, np.ndarray)
    assert whole.shape == maps.shape
    assert (len(maps), maps.ndim, maps.dtype) == (7, 3, np.float32)
    np.testing.assert_array_equal(maps[KEYS[what]], whole[KEYS[what]])


def test_a_row_that_is_not_there_is_an_index_error():
    for key in (7, -8, np.array([0, 7])):
        with pytest.raises(IndexError):
            _several()["saliency"][key]


def test_maps_can_be_turned_into_an_array_of_another_kind():
    maps = _several()["saliency"]
    assert np.asarray(maps, np.float64).dtype == np.float64
    assert np.array(maps).sum() == pytest.approx(maps[:].sum())


def test_rows_are_read_from_the_parts_that_hold_them():
    touched = []

    class Part(np.ndarray):
        def __getitem__(self, key):
            touched.append(self.name)
            return np.asarray(self)[key]

    parts = []
    for name in "abc":
        part = np.full((4, 1, 3), ord(name), np.float16).view(Part)
        part.name = name
        parts.append(part)
    found = Maps(Stacked(parts), (6,))[np.array([9, 1])]
    assert sorted(touched) == ["a", "c"]
    np.testing.assert_array_equal(found, np.array([[[ord("c")] * 6], [[ord("a")] * 6]]))


def test_notes_are_told_by_method_and_name(tmp_path):
    for out in (None, tmp_path):
        found = explain(
            gap(), signals(5), ["lrp-epsilon", "saliency", "lead-shapley-sampled"], out=out, quiet=True,
            options={"lead-shapley-sampled": {"orders": 2}},
        )  # fmt: skip
        assert found.note("lrp-epsilon", "bias-share").shape == (5,)
        assert found.note("lrp-epsilon", "conservation-error").shape == (5,)
        assert found.note("lead-shapley-sampled", "standard-error").shape == (5, 2)
        with pytest.raises(EcglensError, match="lrp-epsilon noted no 'bias share'; did you mean 'bias-share'"):
            found.note("lrp-epsilon", "bias share")
        with pytest.raises(EcglensError, match=r"saliency noted no 'error' \(it noted: nothing\)"):
            found.note("saliency", "error")
        with pytest.raises(EcglensError, match="no maps of 'lrp-epsilom'; did you mean 'lrp-epsilon'"):
            found.note("lrp-epsilom", "bias-share")


def test_a_method_that_was_not_asked_for_is_refused_with_those_that_were():
    with pytest.raises(
        EcglensError, match=r"there are no maps of 'grad-cam\+\+'; did you mean 'grad-cam'\? \(there: saliency"
    ):
        _several()["grad-cam++"]


def test_one_method_with_its_rows_and_targets():
    found = _several()
    only = found.only("grad-cam")
    assert only.method == "grad-cam"
    np.testing.assert_array_equal(only.maps[:], found["grad-cam"][:])
    assert only.rows is found.rows
    assert only.target is found.target
    with pytest.raises(EcglensError, match="no maps of"):
        found.only("cam")


def test_a_method_of_captum_can_be_stored_and_read_by_its_name(tmp_path):
    found = explain(gap(), signals(5), ["captum:Saliency"], out=tmp_path, quiet=True)
    assert (tmp_path / "shard-00000" / "captum-Saliency.npy").is_file()
    again = read_attributions(tmp_path)
    assert again.methods == ("captum:Saliency",)
    np.testing.assert_array_equal(again["captum:Saliency"][:], found["captum:Saliency"][:])


def test_the_notes_of_one_method_are_not_taken_for_those_of_another_whose_name_begins_alike():
    found = explain(
        gap(),
        signals(5),
        ["lead-shapley", "lead-shapley-sampled"],
        options={"lead-shapley-sampled": {"orders": 2}},
        quiet=True,
    )
    with pytest.raises(EcglensError, match=r"lead-shapley noted no 'standard-error' \(it noted: nothing\)"):
        found.note("lead-shapley", "standard-error")
