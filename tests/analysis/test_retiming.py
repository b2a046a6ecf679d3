"""What a model makes of moved beats: a model that measures an RR interval, and plain means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from beating import beating, beats_of
from ecglens.analysis import retiming
from ecglens.analysis.retiming import retiming_effect, retiming_table
from ecglens.errors import EcglensError
from ecglens.examples.retimed import ALL, ANOTHER, LABELLED, WHERE, retimed
from ecglens.models.classifier import Classifier
from made import tiny


class _LastRR(nn.Module):
    """Reads the distance of the last two spikes: abnormal below 80 samples."""

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.zeros(len(x), 2)
        for row, signal in enumerate(x[:, 0]):
            spikes = torch.nonzero(signal > 40)[:, 0]
            logits[row, 1] = 80.0 - (spikes[-1] - spikes[-2])
        return logits


def _spiked(n=12, **told):
    """Windows with a spike at each R, and a model that reads the last RR interval."""
    examples = beating(n, rr=(0.75, 1.1), **told)
    signals = examples.signals.copy()
    for row in range(n):
        signals[row, 0, beats_of(examples, row)] = 50.0
    examples = replace(examples, signals=signals)
    return examples, Classifier(_LastRR(), "rr", examples.classes, examples.leads, 100.0, examples.length)


def test_a_model_that_reads_one_interval_answers_to_that_gap_alone():
    examples, model = _spiked()
    effect = retiming_effect(model, examples, (-0.05, 0.0, 0.2))
    assert len(effect) == 3 * 3 * 12
    for row in effect.itertuples():
        rr = int(np.diff(beats_of(examples, row.row))[-1])
        more = int(np.rint(row.change * rr)) if row.where in (LABELLED, ALL) else 0
        if row.why:
            assert np.isnan([row.abnormal, row.abnormal_before, row.margin_change]).all()
            continue
        assert row.margin_change == -more, row
        assert row.abnormal == (rr + more < 80)
        assert row.abnormal_before == (rr < 80)
    done = effect[effect["why"] == ""]
    moved = done[done["change"] != 0].groupby("where")["margin_change"].apply(lambda each: each.abs().min())
    assert moved[ANOTHER] == 0
    assert moved[LABELLED] > 0
    assert (done["abnormal"] != done["abnormal_before"]).any()


@pytest.mark.parametrize("at_once", [5, 2048])
def test_each_row_is_the_model_s_answer_to_that_example(at_once, monkeypatch):
    monkeypatch.setattr(retiming, "_AT_ONCE", at_once)
    examples = beating(12)
    model = tiny(examples)
    logits = model.logits(examples)
    effect = retiming_effect(model, examples, (-0.1, 0.3), where=[ANOTHER, ALL], extent=(0.2, 0.3))
    assert set(effect["where"]) == {ANOTHER, ALL}
    for where in (ANOTHER, ALL):
        for change in (-0.1, 0.3):
            part = effect[(effect["where"] == where) & (effect["change"] == change)]
            assert list(part["row"]) == list(range(12))
            for row in range(12):
                one = retimed(examples.take(np.array([row])), where, change, extent=(0.2, 0.3))
                mine = part.iloc[row]
                assert mine["why"] == one.why[0]
                if not one.why[0]:
                    after = model.logits(one.examples)[0]
                    rise = (after[1] - after[0]) - (logits[row, 1] - logits[row, 0])
                    assert mine["margin_change"] == pytest.approx(rise, abs=1e-4)
                    assert mine["abnormal"] == (after.argmax() == 1)


def test_the_table_is_plain_means_with_those_left_out_counted():
    rng = np.random.default_rng(0)
    n, labels, patients = 40, np.arange(40) % 2, np.array([f"p{k % 7}" for k in range(40)])
    frames = []
    for where in WHERE:
        for change in (-0.2, 0.2):
            why = rng.choice(["", "", "", "too_short", "too_long", "no_gap"], n)
            values = np.where(why[:, None] == "", rng.random((n, 3)), np.nan)
            frames.append(
                pd.DataFrame(
                    {
                        "where": where, "change": change, "row": np.arange(n), "why": why,
                        "abnormal": np.where(why == "", values[:, 0] > 0.4, np.nan),
                        "abnormal_before": np.where(why == "", values[:, 1] > 0.6, np.nan), "margin_change": values[:, 2],
                    }
                )
            )  # fmt: skip
    effect = pd.concat(frames, ignore_index=True)
    table = retiming_table(effect, labels, ("normal", "abnormal"), patients)
    assert len(table) == 2 * 3 * 2
    for row in table.to_dict("records"):
        mine = effect[(effect["where"] == row["where"]) & (effect["change"] == row["change"])]
        mine = mine[labels == ("normal", "abnormal").index(row["class"])]
        done = mine[mine["why"] == ""]
        assert row["n"] == len(done)
        assert row["patients"] == len(set(patients[done["row"]]))
        for reason in ("no_gap", "too_short", "too_long"):
            assert row[reason] == sum(mine["why"] == reason)
        assert row["called_abnormal"] == pytest.approx(sum(done["abnormal"]) / len(done))
        assert row["called_abnormal_before"] == pytest.approx(sum(done["abnormal_before"]) / len(done))
        assert row["margin_change"] == pytest.approx(sum(done["margin_change"]) / len(done))
        assert row["called_abnormal_low"] <= row["called_abnormal"] <= row["called_abnormal_high"]
        assert row["margin_change_low"] < row["margin_change"] < row["margin_change_high"]
    with pytest.raises(EcglensError, match="39 labels"):
        retiming_table(effect, labels[1:], ("normal", "abnormal"), patients)


def test_a_place_where_nothing_can_be_done_stays_in_the_table():
    examples, model = _spiked(4, beats=2)
    effect = retiming_effect(model, examples, (0.1,))
    table = retiming_table(effect, examples.labels, examples.classes, examples.column("patient")).set_index("where")
    assert (table.loc[ANOTHER, "n"] == 0).all()
    assert (table.loc[ANOTHER, "no_gap"] == 2).all()
    assert table.loc[ANOTHER, ["called_abnormal", "margin_change_low"]].isna().all().all()
    assert (table.loc[LABELLED, "n"] == 2).all()


def test_no_change_and_no_place_are_refused():
    examples, model = _spiked(2)
    for told in ({"changes": []}, {"changes": np.array([]), "where": (ALL,)}, {"where": ()}):
        with pytest.raises(EcglensError, match="expected one or more of each"):
            retiming_effect(model, examples, **told)
