"""Maps of a whole data set on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecglens.attribution.attributions import attribute, read_attributions
from ecglens.attribution.gradient import METHODS
from ecglens.errors import EcglensError
from made import created, random_examples, tiny


def _few(n: int = 6):
    examples = random_examples(n, length=24)
    return tiny(examples), examples


@pytest.mark.parametrize("method", sorted(METHODS))
def test_maps_come_back_as_the_method_gave_them_in_the_order_asked(method, tmp_path):
    model, examples = _few()
    rows, target = np.array([4, 0, 4, 5]), np.array([1, 2, 0, 0])
    attribute(model, examples, rows, target, method, tmp_path)
    found = read_attributions(tmp_path, method)
    assert found.method == method
    np.testing.assert_array_equal(found.maps, METHODS[method](model, examples.take(rows), target))
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.target, target)
    assert found.maps.dtype == np.float32
    assert found.rows.dtype == found.target.dtype == np.int64


def test_what_attribute_returns_is_what_lies_on_disk_and_is_not_loaded(tmp_path):
    model, examples = _few()
    given = attribute(model, examples, np.arange(6), examples.labels, "class-logit", tmp_path)
    assert isinstance(given.maps, np.memmap)
    np.testing.assert_array_equal(given.maps, np.load(tmp_path / "class-logit.npy"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["class-logit.json", "class-logit.npy"]


def test_more_maps_than_one_batch_equal_those_of_single_examples(tmp_path):
    model, examples = _few(600)
    target = np.random.default_rng(0).integers(3, size=600)
    found = attribute(model, examples, np.arange(600), target, "class-logit", tmp_path)
    assert found.maps.shape == (600, 2, 24)
    for row in (0, 255, 256, 511, 512, 599):
        rows = np.array([row])
        alone = METHODS["class-logit"](model, examples.take(rows), target[rows])
        np.testing.assert_allclose(found.maps[row], alone[0], rtol=1e-4, atol=1e-6)


def test_two_methods_live_side_by_side(tmp_path):
    model, examples = _few()
    for method in sorted(METHODS):
        attribute(model, examples, np.arange(6), examples.labels, method, tmp_path)
    one, two = (read_attributions(tmp_path, method).maps for method in sorted(METHODS))
    assert not np.allclose(one, two)


def test_an_unknown_method_is_refused_with_the_known_ones(tmp_path):
    model, examples = _few()
    with pytest.raises(EcglensError, match="unknown method 'class-logits'; did you mean 'class-logit'"):
        attribute(model, examples, np.arange(2), np.arange(2), "class-logits", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_map_that_is_not_a_number_is_refused_and_leaves_no_file(tmp_path):
    model, examples = _few(300)
    examples.signals[280] = np.nan
    with pytest.raises(EcglensError, match="class-logit of tiny gave a map that holds NaN"):
        attribute(model, examples, np.arange(300), examples.labels, "class-logit", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_the_method_cannot_read_leaves_no_file(tmp_path):
    examples = random_examples(3)
    with pytest.raises(EcglensError, match="no convolution"):
        attribute(created("jones-lstm", examples), examples, np.arange(3), examples.labels, "mean-activation", tmp_path)
    assert list(tmp_path.iterdir()) == []


def _written(folder):
    model, examples = _few()
    attribute(model, examples, np.arange(6), examples.labels, "class-logit", folder)
    return folder / "class-logit.npy", folder / "class-logit.json"


@pytest.mark.parametrize("ending", ["npy", "json"])
def test_a_missing_file_is_named(ending, tmp_path):
    _written(tmp_path)
    (tmp_path / f"class-logit.{ending}").unlink()
    with pytest.raises(EcglensError, match=rf"holds no maps of class-logit \(class-logit\.{ending} is missing\)"):
        read_attributions(tmp_path, "class-logit")


@pytest.mark.parametrize("keep", [0, 20, 500])
def test_cut_off_maps_are_refused_in_one_line(keep, tmp_path):
    maps, _ = _written(tmp_path)
    maps.write_bytes(maps.read_bytes()[:keep])
    with pytest.raises(EcglensError, match=r"class-logit.* is damaged") as caught:
        read_attributions(tmp_path, "class-logit")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"rows": [0, 1, 2, 3, 4, 5]}', '{"rows": null, "target": null}'])
def test_a_damaged_list_of_rows_is_refused(text, tmp_path):
    _, about = _written(tmp_path)
    about.write_text(text)
    with pytest.raises(EcglensError, match="is damaged"):
        read_attributions(tmp_path, "class-logit")


def test_maps_and_rows_of_different_number_are_refused(tmp_path):
    _, about = _written(tmp_path)
    said = json.loads(about.read_text())
    about.write_text(json.dumps({name: values[:4] for name, values in said.items()}))
    with pytest.raises(EcglensError):
        read_attributions(tmp_path, "class-logit")


def test_a_second_attribution_that_fails_leaves_the_first_whole(tmp_path):
    model, examples = _few()
    first = np.array(attribute(model, examples, np.arange(6), examples.labels, "class-logit", tmp_path).maps)
    examples.signals[3] = np.nan
    with pytest.raises(EcglensError):
        attribute(model, examples, np.arange(1, 6), examples.labels[1:], "class-logit", tmp_path)
    again = read_attributions(tmp_path, "class-logit")
    np.testing.assert_array_equal(again.maps, first)
    np.testing.assert_array_equal(again.rows, np.arange(6))


def test_nothing_to_explain_gives_no_maps(tmp_path):
    model, examples = _few()
    nothing = np.array([], np.int64)
    found = attribute(model, examples, nothing, nothing, "class-logit", tmp_path)
    assert found.maps.shape == (0, 2, 24)
    assert len(found.rows) == 0
