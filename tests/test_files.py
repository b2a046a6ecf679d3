"""Files are whole or not there, and numbers in them are plain."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError, choose, did_you_mean
from ecglens.files import sha256, write_json, write_table, write_text, written_whole


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "file.txt"
    with written_whole(path) as beside:
        beside.write_text("half")
        assert not path.exists()
        assert beside.parent == path.parent
    assert path.read_text() == "half"
    assert names_in(path.parent) == ["file.txt"]


def test_an_error_half_way_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="power"), written_whole(path) as beside:
        beside.write_text("new, but")
        raise RuntimeError("power cut")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["file.txt"]


def test_an_interrupt_half_way_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), written_whole(tmp_path / "file.txt") as beside:
        beside.write_text("new, but")
        raise KeyboardInterrupt
    assert names_in(tmp_path) == []


def test_text_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "µV – ü")
    assert (tmp_path / "a.txt").read_bytes() == "µV – ü".encode()


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path: Path, full_disk) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(OSError), full_disk(100):
        write_text(path, "new" * 1000)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["file.txt"]


numbers = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_infinity=False), st.text(max_size=5)
)
values = st.recursive(
    numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=3),
    max_leaves=12,
)


def plainly(value: object) -> object:
    """What JSON can say of a value: text keys, lists, null for NaN."""
    if isinstance(value, dict):
        return {str(key): plainly(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plainly(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


@given(values)
def test_json_says_what_it_was_given_with_null_for_a_missing_number(tmp_path_factory: pytest.TempPathFactory, value) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == plainly(value)


def test_json_takes_numpy_numbers_and_tuples(tmp_path: Path) -> None:
    write_json(
        tmp_path / "a.json",
        {"n": np.int64(3), "x": np.float32(0.5), "none": np.float64("nan"), "yes": np.bool_(True), "t": (1, 2)},
    )
    assert json.loads((tmp_path / "a.json").read_text()) == {"n": 3, "x": 0.5, "none": None, "yes": True, "t": [1, 2]}


def test_json_keeps_the_order_of_keys_and_ends_with_a_line_end(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"z": 1, "a": 2})
    assert (tmp_path / "a.json").read_text() == '{\n  "z": 1,\n  "a": 2\n}\n'


def test_an_infinite_number_is_refused_and_no_file_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": float("inf")})
    assert names_in(tmp_path) == []


def test_tables_have_eight_digits_and_empty_fields_for_missing_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ["a", "b,c"], "n": [1, 20], "x": [1 / 3, float("nan")], "y": [123456789.123, 1e-12]})
    write_table(tmp_path / "t.csv", frame)
    assert (tmp_path / "t.csv").read_bytes() == b'name,n,x,y\na,1,0.33333333,1.2345679e+08\n"b,c",20,,1e-12\n'


@given(st.binary(max_size=300))
def test_sha256_is_that_of_the_content(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "content.bin"
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()


def test_a_choice_that_is_known_comes_back_and_another_is_answered_with_all_choices() -> None:
    assert choose("cnn", ["cnn", "lstm"], "model") == "cnn"
    with pytest.raises(EcglensError) as caught:
        choose("lsmt", ["cnn", "lstm"], "model")
    assert str(caught.value) == "unknown model 'lsmt'; did you mean 'lstm'? (choose from: cnn, lstm)"
    with pytest.raises(EcglensError) as caught:
        choose("xyz", ["cnn", "lstm"], "model")
    assert str(caught.value) == "unknown model 'xyz' (choose from: cnn, lstm)"


def test_nothing_is_suggested_for_a_word_that_is_like_no_other() -> None:
    assert did_you_mean("qqq", ["cnn", "lstm"]) == ""
