"""The numbers of Lin 2020 against what is known of them otherwise."""

from __future__ import annotations

import numpy as np

from ecglens.examples.diagnoses import diagnosis_map
from ecglens.studies.lin2020_published import TABLE_2, TABLE_3, TABLE_4


def test_table_4_has_the_challenges_classes_and_its_means() -> None:
    assert set(TABLE_4) == set(diagnosis_map("challenge2020").classes)
    recall, macro_obs, wbce, _ = np.array(list(TABLE_4.values())).T
    assert np.round([recall.mean(), macro_obs.mean(), wbce.mean()], 3).tolist() == [0.281, 0.281, 0.288]
    assert ((macro_obs > wbce).sum(), (macro_obs < wbce).sum()) == (14, 10)


def test_the_official_score_of_the_entry_is_that_of_its_table_of_ranks() -> None:
    assert TABLE_2["wbce"][1] == TABLE_3["Lin 2020"][0]
