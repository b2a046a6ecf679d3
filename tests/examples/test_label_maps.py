"""Symbols become classes by tables, case kept unless asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.examples.label_maps import LABEL_MAPS, label_map
from ecglens.recordings.recording import BEAT_SYMBOLS, RHYTHMS

symbols = st.lists(st.sampled_from([*sorted(BEAT_SYMBOLS), "+", "~", "|", "!"]), max_size=20)


@pytest.mark.parametrize("name", LABEL_MAPS)
@given(symbol=symbols, merge_case=st.booleans())
def test_indices_are_those_of_a_plain_look_up(name: str, symbol: list[str], merge_case: bool) -> None:
    wanted = []
    for each in symbol:
        folded = {"a": "A", "e": "E"}.get(each, each) if merge_case else each
        hits = [k for k, members in enumerate(LABEL_MAPS[name].symbols.values()) if each in members or folded in members]
        wanted.append(hits[-1] if hits else -1)
    found = label_map(name).indices(np.array(symbol, np.str_), merge_case=merge_case)
    assert found.dtype == np.int64
    assert found.tolist() == wanted


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_each_symbol_is_a_beat_and_in_one_class_only(name: str) -> None:
    together = "".join(LABEL_MAPS[name].symbols.values())
    assert len(set(together)) == len(together)
    assert set(together) <= BEAT_SYMBOLS
    assert LABEL_MAPS[name].classes == tuple(LABEL_MAPS[name].names) == tuple(LABEL_MAPS[name].symbols)


def test_the_classes_of_jones_are_in_the_order_of_the_authors_code() -> None:
    assert label_map("jones").classes == ("A", "E", "j", "L", "N", "P", "R", "V")
    assert label_map("jones").indices(np.array(["/", "a", "e", "J"])).tolist() == [5, -1, -1, -1]
    assert label_map("jones").indices(np.array(["/", "a", "e", "J"]), merge_case=True).tolist() == [5, 0, 1, -1]


def test_merging_case_in_aami_keeps_lower_case_classes_where_the_standard_has_them() -> None:
    """The standard puts 'e' into N and 'a' into S; merging moves 'e' to the class of 'E', as the option says."""
    aami = label_map("aami")
    assert [aami.classes[k] for k in aami.indices(np.array(list("NLRejAaJSVEF")))] == list("NNNNNSSSSVVF")
    assert [aami.classes[k] for k in aami.indices(np.array(["e", "a"]), merge_case=True)] == ["V", "S"]


def test_the_classes_of_vijayarangan_are_in_the_papers_order_and_each_has_a_beat_or_a_rhythm() -> None:
    whole, beats = label_map("vijayarangan"), label_map("vijayarangan-beats")
    assert whole.classes == ("N", "PVC", "PAC", "AFIB", "SVTA", "SBR", "LBBB", "RBBB")
    assert whole.rhythms == {"AFIB": "(AFIB", "SVTA": "(SVTA", "SBR": "(SBR"}
    assert [name for name, symbols in whole.symbols.items() if not symbols] == list(whole.rhythms)
    assert whole.indices(np.array(list("NVALRaj/Q+"))).tolist() == [0, 1, 2, 6, 7, -1, -1, -1, -1, -1]
    assert beats.symbols == {name: symbols for name, symbols in whole.symbols.items() if symbols}
    assert beats.names == {name: whole.names[name] for name in beats.classes}


def test_normal_of_varandas_is_class_n_of_aami_and_abnormal_all_else_but_q() -> None:
    """So the paper's counts come out: the symbol N alone would be 73 % of its test pictures, not 89 %."""
    every = np.array(sorted(BEAT_SYMBOLS))
    two, four = label_map("varandas"), label_map("aami")
    assert two.classes == ("normal", "abnormal")
    assert two.indices(every).tolist() == [min(k, 1) for k in four.indices(every)]


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_every_rhythm_is_a_class_of_its_own_with_a_label_that_physionet_knows(name: str) -> None:
    rhythms = LABEL_MAPS[name].rhythms
    assert set(rhythms) <= set(LABEL_MAPS[name].classes)
    assert len(set(rhythms.values())) == len(rhythms)
    assert set(rhythms.values()) <= RHYTHMS
    assert bool(rhythms) == (name == "vijayarangan")


def test_an_unknown_set_of_classes_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        EcglensError,
        match=r"unknown set of classes 'amii'; did you mean 'aami'\? "
        r"\(choose from: aami, jones, varandas, vijayarangan, vijayarangan-beats\)",
    ):
        label_map("amii")
