"""Who trains and who tests: by rule, repeatable, and with people told apart where that is promised."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import EcglensError
from ecglens.examples.beats import BeatOptions, cut_beats
from ecglens.examples.label_maps import label_map
from ecglens.examples.splits import (
    DS1_RECORDS,
    DS2_RECORDS,
    JONES_TEST_RECORDS,
    SPLITS,
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    add_validation,
    make_split,
    plan_training,
    resample_classes,
    shared_patients,
    split_by_beat,
    split_by_patient,
    split_by_records,
    split_per_class,
    without_shared,
)

# (class, record) of each example; few records, so that each holds several classes
rows = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abcdefg")), min_size=8, max_size=120)
seeds = st.integers(0, 5)
RESAMPLING = ("none", "second-largest", "at-least-3%", "300-per-patient", "40-by-root")


def examples_of(make_examples: Any, drawn: list[tuple[int, str]]) -> Any:
    return make_examples([label for label, _ in drawn], [record for _, record in drawn])


def many(make_examples: Any, sizes: tuple[int, ...], n_patients: int = 8) -> Any:
    """`sizes` examples of each class, dealt out to patients in turn."""
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    return make_examples(labels, [f"p{k % n_patients}" for k in range(len(labels))])


# ------------------------------------------------------------------------------------------------ train and test


@given(drawn=rows, seed=seeds)
def test_a_split_by_beat_tests_a_quarter_of_each_class(make_examples, drawn: list, seed: int) -> None:
    examples = examples_of(make_examples, drawn)
    split = split_by_beat(examples, seed)
    assert set(split) <= {TRAIN, TEST}
    for label in range(4):
        side = Counter(split[examples.labels == label].tolist())
        assert side[TEST] == round(0.25 * side.total())


@given(drawn=rows, seed=seeds)
def test_a_split_by_patient_tests_whole_patients_and_no_more_than_needed(make_examples, drawn: list, seed: int) -> None:
    examples = examples_of(make_examples, drawn)
    patients = examples.column("patient")
    if len(set(patients)) < 2:
        with pytest.raises(EcglensError, match="there is one patient"):
            split_by_patient(examples, seed)
        return
    split = split_by_patient(examples, seed)
    assert set(split) == {TRAIN, TEST}
    assert shared_patients(split, examples) == []
    tested, everybody = Counter(patients[split == TEST].tolist()), set(patients)
    assert tested.total() >= 0.25 * len(examples) or len(tested) == len(everybody) - 1
    assert any(tested.total() - n < 0.25 * len(examples) for n in tested.values())


@pytest.mark.parametrize("name", ["holdout", "patients"])
def test_a_seed_gives_one_split_and_another_seed_another(make_examples, name: str) -> None:
    examples = many(make_examples, (60, 30, 20))
    first, again, other = (make_split(name, examples, seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


@given(drawn=rows)
def test_a_split_by_records_is_that_of_a_plain_look_up(make_examples, drawn: list) -> None:
    examples = examples_of(make_examples, [*drawn, (0, "a"), (0, "b"), (0, "c")])
    records = examples.column("record").tolist()
    assert split_by_records(examples, ("a", "z")).tolist() == [TEST if record == "a" else TRAIN for record in records]
    sides = {"a": TEST, "b": TRAIN, "c": TRAIN}
    assert split_by_records(examples, ("a",), ("b", "c")).tolist() == [sides.get(record, UNUSED) for record in records]


def test_a_side_without_a_beat_is_refused_with_the_records_it_takes(make_examples) -> None:
    examples = make_examples([0, 1, 2], ["100", "101", "101"])
    with pytest.raises(
        EcglensError,
        match=r"no beat for the test side: it takes records 104, 113.*here are 100, 101.*split, such as patients",
    ):
        make_split("leave-patients-out", examples, 0)
    with pytest.raises(EcglensError, match="no beat for the test side"):
        split_by_records(examples, ("999",))
    with pytest.raises(EcglensError, match="no beat for the training side: it takes records any other"):
        split_by_records(examples, ("100", "101"))
    with pytest.raises(EcglensError, match="no beat for the training side: it takes records 7"):
        split_by_records(examples, ("100",), ("7",))


def test_an_unknown_split_is_answered_with_the_known_ones(make_examples) -> None:
    with pytest.raises(
        EcglensError, match=r"unknown split 'beats' \(choose from: holdout, patients, leave-patients-out, ds1-ds2\)"
    ):
        make_split("beats", make_examples([0], ["100"]), 0)


def test_ds1_and_ds2_are_22_records_each_and_leave_out_the_paced_ones() -> None:
    assert len(set(DS1_RECORDS)) == len(set(DS2_RECORDS)) == 22
    assert not set(DS1_RECORDS) & set(DS2_RECORDS)
    assert not {"102", "104", "107", "217"} & set(DS1_RECORDS + DS2_RECORDS)


def test_patients_on_both_sides_are_found_by_a_plain_look_up(make_examples) -> None:
    examples = make_examples([0] * 6, ["1", "2", "3", "4", "5", "5"], ["x", "x", "y", "y", "z", "w"])
    split = np.array([TRAIN, TEST, VALIDATION, TEST, TEST, UNUSED])
    assert shared_patients(split, examples) == ["x", "y"]
    assert shared_patients(np.array([TRAIN, TRAIN, UNUSED, TEST, TEST, UNUSED]), examples) == []


def test_patients_on_both_sides_can_be_left_out_of_training(make_examples) -> None:
    examples = make_examples([0] * 6, ["1", "2", "3", "4", "5", "6"], ["x", "x", "y", "y", "z", "w"])
    split = np.array([TRAIN, TEST, VALIDATION, TEST, TEST, TRAIN])
    assert without_shared(split, examples).tolist() == [UNUSED, TEST, UNUSED, TEST, TEST, TRAIN]
    with pytest.raises(EcglensError, match="every training patient is tested"):
        without_shared(np.array([TRAIN, TEST, TRAIN, TEST, TEST, UNUSED]), examples)


# ------------------------------------------------------------------------------------------------ validation


@given(drawn=rows, seed=seeds, rule=st.sampled_from(["stratified", "patients", "none"]))
def test_validation_is_taken_from_training_only(make_examples, drawn: list, seed: int, rule: str) -> None:
    examples = examples_of(make_examples, drawn)
    before = split_by_beat(examples, seed)
    before[::7] = UNUSED
    kept = before.copy()
    after = add_validation(before, examples, rule, seed)
    assert before.tolist() == kept.tolist()
    changed = before != after
    assert set(before[changed]) <= {TRAIN}
    assert set(after[changed]) <= {VALIDATION}
    if rule == "none":
        assert not changed.any()
    if rule == "stratified":
        for label in range(4):
            was_training = int(((before == TRAIN) & (examples.labels == label)).sum())
            assert int((changed & (examples.labels == label)).sum()) == round(0.1 * was_training)


@given(drawn=rows, seed=seeds)
def test_validation_by_patient_takes_whole_patients_and_leaves_half_of_each_class(
    make_examples, drawn: list, seed: int
) -> None:
    examples = examples_of(make_examples, drawn)
    patients = examples.column("patient")
    before = np.where(np.isin(patients, ["a", "b"]), TEST, TRAIN).astype("<U10")
    after = add_validation(before, examples, "patients", seed)
    held = set(patients[after == VALIDATION])
    assert not held & set(patients[after == TRAIN])
    for label in range(4):
        of_class = examples.labels == label
        assert 2 * (of_class & (after == TRAIN)).sum() >= (of_class & (before == TRAIN)).sum()
    # no patient too many: without the last one a tenth was not reached
    sizes = [int((patients == patient).sum()) for patient in held]
    assert not sizes or sum(sizes) - max(sizes) < 0.1 * (before == TRAIN).sum()


def test_validation_by_patient_reaches_a_tenth_where_patients_are_alike(make_examples) -> None:
    examples = many(make_examples, (200, 100, 40), n_patients=20)
    after = add_validation(np.full(len(examples), TRAIN, "<U10"), examples, "patients", 0)
    assert 0.1 <= (after == VALIDATION).mean() <= 0.16


@pytest.mark.parametrize("rule", ["stratified", "patients"])
def test_a_seed_gives_one_validation_and_another_seed_another(make_examples, rule: str) -> None:
    examples = many(make_examples, (200, 100, 40), n_patients=20)
    split = np.full(len(examples), TRAIN, "<U10")
    first, again, other = (add_validation(split, examples, rule, seed).tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_an_unknown_validation_rule_is_answered_with_the_known_ones(make_examples) -> None:
    with pytest.raises(EcglensError, match=r"unknown validation rule 'random' \(choose from: stratified, patients, none\)"):
        add_validation(np.array([TRAIN]), make_examples([0], ["a"]), "random", 0)


# ------------------------------------------------------------------------------------------------ resampling


@given(drawn=rows, seed=seeds, rule=st.sampled_from(RESAMPLING))
def test_only_training_rows_are_drawn_and_times_counts_them(make_examples, drawn: list, seed: int, rule: str) -> None:
    examples = examples_of(make_examples, drawn)
    split = add_validation(split_by_beat(examples, seed), examples, "stratified", seed)
    draw = resample_classes(split, examples, rule, seed)
    assert set(split[draw.rows]) == {TRAIN}
    slowly = [0] * len(examples)
    for row in draw.rows.tolist():
        slowly[row] += 1
    assert draw.times.tolist() == slowly
    # no class of the training side is lost
    assert set(examples.labels[draw.rows]) == set(examples.labels[split == TRAIN])


@given(drawn=rows, seed=seeds)
def test_no_resampling_shows_each_training_row_once(make_examples, drawn: list, seed: int) -> None:
    examples = examples_of(make_examples, drawn)
    split = split_by_beat(examples, seed)
    assert resample_classes(split, examples, "none", seed).times.tolist() == (split == TRAIN).astype(int).tolist()


@given(drawn=rows, seed=seeds)
def test_second_largest_makes_all_classes_as_large_as_the_second_largest(make_examples, drawn: list, seed: int) -> None:
    examples = examples_of(make_examples, drawn)
    split = np.full(len(examples), TRAIN, "<U10")
    draw = resample_classes(split, examples, "second-largest", seed)
    sizes = Counter(examples.labels.tolist())
    if len(sizes) == 1:
        assert draw.rows.tolist() == list(range(len(examples)))
        return
    second = sorted(sizes.values())[-2]
    shown = Counter(examples.labels[draw.rows].tolist())
    assert shown == dict.fromkeys(sizes, second)
    for label, size in sizes.items():
        if size >= second:  # cut or left, not repeated
            assert draw.times[examples.labels == label].max() == 1


@given(drawn=rows, seed=seeds)
def test_at_least_three_percent_throws_nothing_away(make_examples, drawn: list, seed: int) -> None:
    examples = examples_of(make_examples, drawn)
    split = split_by_beat(examples, seed)
    draw = resample_classes(split, examples, "at-least-3%", seed)
    assert draw.times[split == TRAIN].min() >= 1
    sizes = Counter(examples.labels[split == TRAIN].tolist())
    shown = Counter(examples.labels[draw.rows].tolist())
    assert shown == {label: max(size, round(0.03 * max(sizes.values()))) for label, size in sizes.items()}


def test_at_least_three_percent_repeats_only_what_is_rare(make_examples) -> None:
    examples = many(make_examples, (1000, 40, 5))
    draw = resample_classes(np.full(1045, TRAIN), examples, "at-least-3%", 0)
    assert Counter(examples.labels[draw.rows].tolist()) == {0: 1000, 1: 40, 2: 30}
    assert draw.times[:1040].max() == 1
    assert draw.times[1040:].sum() == 30


def test_three_hundred_per_patient_cuts_what_one_patient_repeats(make_examples) -> None:
    labels = [0] * 1000 + [1] * 310 + [0] * 20
    examples = make_examples(labels, ["x"] * 1310 + ["y"] * 20)
    draw = resample_classes(np.full(1330, TRAIN), examples, "300-per-patient", 0)
    assert draw.times.max() == 1
    pairs = zip(examples.labels[draw.rows].tolist(), examples.column("patient")[draw.rows].tolist(), strict=True)
    assert Counter(pairs) == {(0, "x"): 300, (1, "x"): 300, (0, "y"): 20}


@pytest.mark.parametrize("rule", ["second-largest", "at-least-3%", "300-per-patient", "500-by-root"])
def test_a_seed_gives_one_draw_and_another_seed_another(make_examples, rule: str) -> None:
    examples = many(make_examples, (3000, 60, 20), n_patients=2)
    split = np.full(3080, TRAIN)
    first, again, other = (resample_classes(split, examples, rule, seed).times.tolist() for seed in (0, 0, 1))
    assert first == again != other


@given(drawn=rows, seed=seeds, limit=st.integers(1, 40))
def test_so_many_of_a_class_come_as_evenly_from_its_patients_as_they_have_them(
    make_examples, drawn: list, seed: int, limit: int
) -> None:
    examples = examples_of(make_examples, drawn)
    draw = resample_classes(np.full(len(examples), TRAIN), examples, f"{limit}-per-class", seed)
    assert draw.times.max() == 1
    patients = examples.column("patient")
    for label in np.unique(examples.labels):
        there = Counter(patients[examples.labels == label])
        taken = Counter(patients[draw.rows[examples.labels[draw.rows] == label]])
        assert sum(taken.values()) == min(limit, sum(there.values()))
        # nobody gives two more than somebody who has some left
        for name, n in there.items():
            assert taken[name] == n or max(taken.values()) - taken[name] <= 1


@given(drawn=rows, seed=seeds, total=st.integers(1, 200))
def test_by_root_classes_share_in_proportion_to_the_roots_of_their_sizes(
    make_examples, drawn: list, seed: int, total: int
) -> None:
    examples = examples_of(make_examples, drawn)
    split = split_by_beat(examples, seed)
    draw = resample_classes(split, examples, f"{total}-by-root", seed)
    train = [row for row in range(len(examples)) if split[row] == TRAIN]
    sizes = Counter(int(examples.labels[row]) for row in train)
    roots = sum(size**0.5 for size in sizes.values())
    shown = Counter(examples.labels[draw.rows].tolist())
    assert shown == {k: min(size, max(1, round(total * size**0.5 / roots))) for k, size in sizes.items()}
    assert draw.times.max() == 1
    assert set(draw.rows.tolist()) <= set(train)
    patients = examples.column("patient")
    for label in sizes:
        there = Counter(patients[row] for row in train if examples.labels[row] == label)
        taken = Counter(patients[row] for row in draw.rows if examples.labels[row] == label)
        assert all(taken[name] == n or max(taken.values()) - taken[name] <= 1 for name, n in there.items())


def test_by_root_a_thousand_of_nine_to_one_are_three_to_one(make_examples) -> None:
    examples = many(make_examples, (9_000, 1_000))
    draw = resample_classes(np.full(10_000, TRAIN), examples, "1000-by-root", 0)
    assert Counter(examples.labels[draw.rows]) == {0: 750, 1: 250}


@pytest.mark.parametrize(
    "rule", ["0-per-class", "-3-per-class", "per-class", "5-per-record", "2.5-per-class", "0-by-root", "by-root", "4-by-roots"]
)
def test_a_number_of_windows_that_is_none_is_refused(make_examples, rule: str) -> None:
    with pytest.raises(EcglensError, match="unknown resampling"):
        resample_classes(np.array([TRAIN, TRAIN]), make_examples([0, 1], ["a", "b"]), rule, 0)


@given(drawn=rows, seed=seeds, per_class=st.integers(5, 30))
def test_a_split_of_so_many_of_each_class_tests_a_fifth_of_them(make_examples, drawn: list, seed: int, per_class: int) -> None:
    examples = examples_of(make_examples, drawn)
    split = split_per_class(examples, seed, per_class)
    for label in np.unique(examples.labels):
        mine = split[examples.labels == label]
        taken = min(len(mine), per_class)
        assert (mine != UNUSED).sum() == taken
        assert (mine == TEST).sum() == round(0.2 * taken)
    again, other = (split_per_class(examples, each, per_class) for each in (seed, seed + 1))
    assert (split == again).all()
    if len(examples) > 60:
        assert (split != other).any()


def test_a_split_of_2500_of_each_class_has_2000_to_train_and_500_to_test(make_examples) -> None:
    examples = many(make_examples, (4000, 2600, 100))
    split = split_per_class(examples, 0, 2500)
    counts = Counter(zip(examples.labels.tolist(), split.tolist(), strict=True))
    assert counts == {
        (0, TRAIN): 2000, (0, TEST): 500, (0, UNUSED): 1500, (1, TRAIN): 2000, (1, TEST): 500, (1, UNUSED): 100,
        (2, TRAIN): 80, (2, TEST): 20,
    }  # fmt: skip


def test_resampling_without_training_rows_or_with_an_unknown_rule_is_refused(make_examples) -> None:
    examples = make_examples([0, 1], ["a", "b"])
    with pytest.raises(EcglensError, match="no training examples are left"):
        resample_classes(np.array([TEST, UNUSED]), examples, "none", 0)
    with pytest.raises(EcglensError, match="unknown resampling 'smote'") as caught:
        resample_classes(np.array([TRAIN, TRAIN]), examples, "smote", 0)
    assert all(rule in str(caught.value) for rule in RESAMPLING[:4])
    assert "N-by-root" in str(caught.value)


# ------------------------------------------------------------------------------------------------ both together


@given(
    drawn=rows,
    seed=seeds,
    validation=st.sampled_from(["stratified", "patients", "none"]),
    resample=st.sampled_from(RESAMPLING),
)
def test_a_plan_keeps_training_validation_and_test_apart(
    make_examples, drawn: list, seed: int, validation: str, resample: str
) -> None:
    examples = examples_of(make_examples, drawn)
    plan = plan_training(split_by_beat(examples, seed), examples, validation=validation, resample=resample, seed=seed)
    assert set(plan.split[plan.rows]) <= {TRAIN}
    assert plan.validation.tolist() == np.flatnonzero(plan.split == VALIDATION).tolist()
    assert not set(plan.rows.tolist()) & set(plan.validation.tolist())
    assert plan.times.tolist() == np.bincount(plan.rows, minlength=len(examples)).tolist()


@pytest.mark.parametrize("fraction", [0.05, 0.228, 0.5])
def test_a_plan_takes_the_fraction_it_is_told_for_validation(make_examples, fraction: float) -> None:
    examples = many(make_examples, (400, 100, 40), n_patients=20)
    split = split_by_beat(examples, 0)
    plan = plan_training(split, examples, validation="stratified", resample="none", seed=0, fraction=fraction)
    for label in range(3):
        of_class = examples.labels == label
        n = int(((split == TRAIN) & of_class).sum())
        assert int(of_class[plan.validation].sum()) == round(fraction * n)
    assert len(plan.rows) + len(plan.validation) == (split == TRAIN).sum()
    by_patient = plan_training(split, examples, validation="patients", resample="none", seed=0, fraction=fraction)
    share = len(by_patient.validation) / (split == TRAIN).sum()
    assert fraction - 0.06 < share <= fraction + 0.06


@given(drawn=rows, seed=seeds, resample=st.sampled_from(RESAMPLING))
def test_the_last_tenth_is_the_end_of_the_drawn_rows(make_examples, drawn: list, seed: int, resample: str) -> None:
    examples = examples_of(make_examples, drawn)
    split = split_by_beat(examples, seed)
    plan = plan_training(split, examples, validation="last-tenth", resample=resample, seed=seed)
    drawn_rows = resample_classes(split, examples, resample, seed).rows.tolist()
    assert plan.rows.tolist() + plan.validation.tolist() == drawn_rows
    assert len(plan.validation) == len(drawn_rows) // 10
    assert plan.split.tolist() == split.tolist()


def test_the_last_tenth_after_second_largest_holds_the_last_class_alone_and_repeats_of_training_rows(make_examples) -> None:
    examples = many(make_examples, (400, 100, 30, 9))
    plan = plan_training(np.full(539, TRAIN), examples, validation="last-tenth", resample="second-largest", seed=0)
    assert set(examples.labels[plan.validation]) == {3}
    assert set(plan.validation.tolist()) & set(plan.rows.tolist())


# ------------------------------------------------------------------------------------------------ real records


@pytest.fixture(scope="module")
def aami(real_recordings) -> Any:
    """All AAMI beats; two samples each, as nobody looks at the signal here."""
    return cut_beats(real_recordings.values(), label_map("aami"), BeatOptions(length=2), [])[0]


@pytest.fixture(scope="module")
def jones(real_recordings) -> Any:
    return cut_beats(real_recordings.values(), label_map("jones"), BeatOptions(length=2), [])[0]


def counted(examples: Any, rows: Any) -> dict[str, int]:
    return dict(Counter(np.array(examples.classes)[examples.labels[rows]].tolist()))


def test_the_real_ds1_and_ds2_hold_the_known_numbers_of_aami_beats(aami) -> None:
    split = make_split("ds1-ds2", aami, 0)
    assert counted(aami, split == TRAIN) == {"N": 45_866, "S": 944, "V": 3_788, "F": 415}
    assert counted(aami, split == TEST) == {"N": 44_259, "S": 1_837, "V": 3_221, "F": 388}
    assert set(aami.column("record")[split == UNUSED]) == {"102", "104", "107", "217"}


def test_the_one_patient_in_both_ds1_and_ds2_is_201(aami) -> None:
    split = make_split("ds1-ds2", aami, 0)
    assert shared_patients(split, aami) == ["201"]
    apart = without_shared(split, aami)
    assert set(aami.column("record")[apart != split]) == {"201"}
    assert shared_patients(apart, aami) == []


@pytest.mark.parametrize("name", SPLITS)
def test_real_splits_share_patients_only_where_they_say_so(jones, name: str) -> None:
    split = make_split(name, jones, 0)
    shared = shared_patients(split, jones)
    expected = {"holdout": 47, "ds1-ds2": 1}.get(name, 0)
    assert len(shared) == expected
    if name == "leave-patients-out":
        assert set(jones.column("record")[split == TEST]) == set(JONES_TEST_RECORDS)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_real_validation_patients_are_a_tenth_and_leave_every_class_half_its_beats(jones, seed: int) -> None:
    before = make_split("patients", jones, seed)
    after = add_validation(before, jones, "patients", seed)
    patients = jones.column("patient")
    assert not set(patients[after == VALIDATION]) & set(patients[after != VALIDATION])
    assert 0.05 <= (after == VALIDATION).sum() / (before == TRAIN).sum() <= 0.2
    for label in range(len(jones.classes)):
        of_class = jones.labels == label
        assert 2 * (of_class & (after == TRAIN)).sum() >= (of_class & (before == TRAIN)).sum()


def test_the_real_validation_as_published_is_class_v_alone_and_not_new_to_the_model(jones) -> None:
    split = make_split("holdout", jones, 0)
    plan = plan_training(split, jones, validation="last-tenth", resample="second-largest", seed=0)
    assert set(counted(jones, plan.validation)) == {"V"}
    assert plan.times[plan.validation].any()
    sizes = Counter(jones.labels[np.concatenate([plan.rows, plan.validation])].tolist())
    assert set(sizes.values()) == {sorted(counted(jones, split == TRAIN).values())[-2]}


def test_records_of_one_person_are_told_apart_where_patients_are_forgotten(aami) -> None:
    """The check is by patient: were records taken for patients, the leak of 201 would not be seen."""
    blind = replace(aami, table=aami.table.assign(patient=aami.table["record"]))
    assert shared_patients(make_split("ds1-ds2", blind, 0), blind) == []
