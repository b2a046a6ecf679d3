"""MATLAB files: what scipy writes and reads, and damaged files, on which scipy may end the process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from ecglens.errors import EcglensError
from ecglens.recordings.matlab import mat_arrays

ARRAYS = {
    "val": np.arange(-30, 30, dtype=np.int16).reshape(12, 5),
    "x": np.random.default_rng(0).normal(size=(3, 7)),
    "s": np.float32([[1.5], [2.5]]),
    "one": np.array([[74]], np.uint8),
}  # fmt: skip


@pytest.mark.parametrize("options", [{"format": "4"}, {}, {"do_compression": True}])
def test_arrays_are_scipys(tmp_path: Path, options: dict[str, object]) -> None:
    arrays = {name: value.astype(np.float64) if name == "one" else value for name, value in ARRAYS.items()}
    scipy.io.savemat(tmp_path / "a.mat", arrays, **options)
    found = mat_arrays(tmp_path / "a.mat")
    assert list(found) == list(arrays)
    for name, value in scipy.io.loadmat(tmp_path / "a.mat").items():
        if not name.startswith("__"):
            np.testing.assert_array_equal(found[name], value)
            assert found[name].shape == value.shape


@pytest.mark.parametrize("compressed", [False, True])
def test_a_struct_is_a_dict(tmp_path: Path, compressed: bool) -> None:
    fields = {"sex": "Female", "age": 74, "data": ARRAYS["x"], "empty": np.zeros((0, 0)), "inner": {"a": 1.5}}
    scipy.io.savemat(tmp_path / "a.mat", {"ECG": fields, "last": 3.0}, do_compression=compressed)
    found = mat_arrays(tmp_path / "a.mat")
    assert list(found) == ["ECG", "last"]
    assert (found["ECG"]["sex"], found["ECG"]["age"].item(), found["ECG"]["inner"]["a"].item()) == ("Female", 74, 1.5)
    assert found["ECG"]["empty"].shape == (0, 0)
    np.testing.assert_array_equal(found["ECG"]["data"], ARRAYS["x"])


def test_other_kinds_of_arrays_are_left_out(tmp_path: Path) -> None:
    import scipy.sparse

    odd = {
        "z": np.array([1 + 2j]),
        "cell": np.array(["a", 1], object),
        "few": scipy.sparse.eye(3).tocsc(),
        "val": ARRAYS["val"],
    }
    scipy.io.savemat(tmp_path / "a.mat", odd)
    assert list(mat_arrays(tmp_path / "a.mat")) == ["val"]


def test_what_is_no_matlab_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    for content in (b"x", b"<html>please log in</html>" * 20, bytes(500), bytes(range(256)) * 4):
        path.write_bytes(content)
        with pytest.raises(EcglensError, match=r"^a\.mat is not a MATLAB file, or damaged \(.*\); fetch it again$"):
            mat_arrays(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(600))
    with pytest.raises(EcglensError, match="save it with -v7"):
        mat_arrays(path)
    with pytest.raises(EcglensError, match=r"b\.mat cannot be read"):
        mat_arrays(tmp_path / "b.mat")
    scipy.io.savemat(path, {"text": "a sentence of some length"})
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(EcglensError, match=r"damaged \(cut short\)"):
        mat_arrays(path)


@pytest.mark.parametrize("options", [{"format": "4"}, {}, {"do_compression": True}])
def test_damage_is_an_error_or_other_numbers_and_nothing_else(tmp_path: Path, options: dict[str, object]) -> None:
    path, rng = tmp_path / "a.mat", np.random.default_rng(1)
    content = {"val": ARRAYS["val"]} if options.get("format") else {"ECG": {"sex": "Male", "data": ARRAYS["x"]}}
    scipy.io.savemat(path, content, **options)
    whole, refused = path.read_bytes(), 0
    for _ in range(400):
        spoilt = bytearray(whole)
        for at in rng.integers(100 if len(whole) > 200 else 0, len(whole), rng.integers(1, 4)):
            spoilt[at] = rng.integers(256)
        path.write_bytes(spoilt[: rng.integers(1, len(whole))] if rng.random() < 0.3 else spoilt)
        try:
            mat_arrays(path)
        except EcglensError:
            refused += 1
    assert refused > 80
