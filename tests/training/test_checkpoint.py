"""The state of an unfinished training on disk."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.training.checkpoint import FILE, copied, drop_checkpoint, load_checkpoint, save_checkpoint
from made import FEW

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.lists(st.floats(-1, 1, width=32), max_size=3).map(torch.tensor)
)
_KEYS = st.integers(0, 9) | st.sampled_from(["a", "b", "step", "exp_avg"])
_STATES = st.dictionaries(
    _KEYS,
    st.recursive(
        _LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(_KEYS, inner),
        max_leaves=12,
    ),
)


def _same(one, two) -> bool:
    if type(one) is not type(two):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return list(one) == list(two) and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(_same, one, two))
    return one == two


@FEW
@given(_STATES)
def test_a_checkpoint_comes_back_as_it_was(state):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), state)
        assert _same(load_checkpoint(Path(folder)), state)


def test_the_state_of_an_optimiser_comes_back(tmp_path):
    layer = torch.nn.Linear(3, 2)
    optimiser = torch.optim.NAdam(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    save_checkpoint(tmp_path, {"optimiser": optimiser.state_dict()})
    assert _same(load_checkpoint(tmp_path), {"optimiser": optimiser.state_dict()})


def test_every_bit_of_a_number_is_kept(tmp_path):
    numbers = [0.1 + 0.2, math.pi * 1e-300, -0.0, float("inf"), 1e22]
    save_checkpoint(tmp_path, {"numbers": numbers, "nothing": float("nan")})
    found = load_checkpoint(tmp_path)
    assert [value.hex() for value in found["numbers"]] == [value.hex() for value in numbers]
    assert math.isnan(found["nothing"])


def test_tensors_of_every_kind_are_kept(tmp_path):
    state = {
        "half": torch.randn(3).bfloat16(),
        "double": torch.randn(2, 2).double(),
        "count": torch.tensor(7),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "mask": torch.tensor([True, False]),
    }
    save_checkpoint(tmp_path, state)
    assert _same(load_checkpoint(tmp_path), state)


def test_one_tensor_in_two_places_is_kept_in_both(tmp_path):
    shared = torch.arange(3.0)
    save_checkpoint(tmp_path, {"a": shared, "b": [shared, shared[1:]]})
    found = load_checkpoint(tmp_path)
    assert torch.equal(found["a"], shared)
    assert torch.equal(found["b"][1], shared[1:])


def test_no_checkpoint_is_none(tmp_path):
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_cut_off_checkpoint_is_refused_and_named(keep, tmp_path):
    save_checkpoint(tmp_path, {"weights": torch.ones(50), "epoch": 3})
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:keep])
    with pytest.raises(EcglensError, match=r"is damaged .* delete it to train from the start") as caught:
        load_checkpoint(tmp_path)
    assert FILE in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metadata", [None, {"other": "x"}, {"state": "{"}, {"state": "{}"}, {"state": '{"tensor": "/x"}'}])
def test_a_file_that_holds_something_else_is_refused(metadata, tmp_path):
    from safetensors.torch import save_file

    save_file({"weights": torch.ones(3)}, tmp_path / FILE, metadata=metadata)
    with pytest.raises(EcglensError, match="is damaged"):
        load_checkpoint(tmp_path)


def test_what_has_no_place_in_a_checkpoint_leaves_the_old_one(tmp_path):
    save_checkpoint(tmp_path, {"epoch": 1})
    with pytest.raises(TypeError, match="/thing: object"):
        save_checkpoint(tmp_path, {"thing": object()})
    assert load_checkpoint(tmp_path) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_dropping_a_checkpoint_twice_is_no_mistake(tmp_path):
    save_checkpoint(tmp_path, {"epoch": 1})
    drop_checkpoint(tmp_path)
    drop_checkpoint(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_weights_stays_when_training_goes_on():
    layer = torch.nn.Linear(2, 2)
    kept = copied(layer.state_dict())
    before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.add_(1)
    assert torch.equal(kept["weight"], before)
    assert not kept["weight"].requires_grad
