"""Does what a map ranks high decide? Deletion and insertion beside random order and trivial maps; infidelity and stability."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.analysis import faithfulness as regional
from ecglens.analysis.ecg_fills import ecg_fill
from ecglens.analysis.faithfulness import Compared, mass_per_sample, ranked_by, region_sizes
from ecglens.analysis.infidelity import foretold_falls, infidelity_table, max_sensitivity, score_falls
from ecglens.analysis.intervals import mean_over_patients
from ecglens.analysis.waves import wave_regions
from ecglens.audit.finding import Answer, Finding, Measure, clear, found, not_run
from ecglens.audit.sanity import background_of, examples_for_maps, maps_of
from ecglens.audit.signs import find_sign
from ecglens.audit.subject import Subject
from ecglens.errors import EcglensError
from ecglens.examples.examples import Examples

FAITHFULNESS, STABILITY = "explanation.faithfulness", "explanation.stability"
TRIVIAL = ("magnitude", "slope")
CURVES = ("deletion", "insertion")
RANDOM = "random"
_MOST, _NOISY = 40, 20  # examples
_STEPS, _DRAWS = 6, 4
_FEW = 12  # examples, with fewer nothing is said
_TELLING = 5  # patients, with fewer an interval over them says little
_POOL = 300  # beats that the mean beat is of
_MASKS = 8  # sets of regions that infidelity deletes
_NOISE = (("muscle", 0.01), ("wander", 0.03))  # mV: less than any electrode's
_NOISE_DRAWS = 3
_SHAKEN = 1.0  # change of a map by noise that leaves the answer, as a share of the map: as large as the map itself
_ASKS = {
    FAITHFULNESS: "Whether what the map ranks high decides", STABILITY: "Whether noise that changes no answer changes the map",
}  # fmt: skip

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Asked:
    """Examples that are explained, the class asked about (the likeliest), their patients; maps by method, the audited one
    first; `region_numbers`; what those are of."""

    part: Examples
    target: Ints
    patients: NDArray[np.str_]
    maps: dict[str, NDArray[np.float32]]
    numbers: Ints
    kind: str


@dataclass(frozen=True)
class _Tried:
    """What one fill gave: the examples in which it takes the class away (use,), their curves, and what all of it costs."""

    use: Ints
    of: Compared
    loss: Floats

    def area(self, n: int, method: str, curve: str) -> Floats:
        """Of all n examples, NaN where the fill does not serve."""
        out = np.full(n, np.nan)
        out[self.use] = self.of.areas[method, curve]
        return out


def faithfulness(subject: Subject) -> Answer:
    """Deletion and insertion by region of the audited map, random orders and trivial maps; infidelity; stability under noise.

    Regions (waves by lead, else parts of 0.1 s) are replaced in 6 steps, first those that the map ranks high (`ranked_by`), by
    the blurred signal, and where examples are beats by the patient's nearest beat of another class, or the mean beat of other
    classes. Only examples count whose class loses by the whole replacement. The number: area between the curves and those of
    random order, in logits, mean of deletion, insertion and fills. Found, high: it is not above 0 (with five patients or more:
    its interval is not); medium: it is smaller than that of the best trivial map (its interval, too), which a blur favours, as
    it changes fast waves most. Tables: "faithfulness" (curves), "faithfulness-areas", "infidelity" (with stability).
    """
    asked = _asked(subject)
    if isinstance(asked, str):
        return Answer([not_run(name, "explanation", what, asked) for name, what in _ASKS.items()])
    tried, why = _tried(subject, asked)
    tables = {"infidelity": _infidelity_table(subject, asked)}
    if tried:
        tables["faithfulness"] = _curve_table(tried, asked, subject.seed)
        tables["faithfulness-areas"] = _area_table(tried, asked, str(subject.method), subject.seed)
        first = _faithful(subject, asked, tried)
    else:
        first = not_run(FAITHFULNESS, "explanation", _ASKS[FAITHFULNESS], "; ".join(why))
    stable, shaken = _stable(subject, asked)
    if shaken is not None:
        tables["infidelity"] = tables["infidelity"].merge(shaken, on="method", how="left")
    return Answer([first, stable], tables)


def _asked(subject: Subject) -> _Asked | str:
    """What all parts of the check need, or why it cannot be had."""
    if subject.method is None:
        return "no method is named whose maps are shown"
    if subject.classifier.draws:
        return "the net sees pictures, in which regions of a signal have no samples"
    if len(subject.examples.classes) < 2:
        return "the model has one class; two are needed"
    rows = examples_for_maps(subject, _MOST)
    patients = subject.patients[rows]
    if len(rows) < _FEW:
        return f"there are {len(rows)} examples; {_FEW} are needed"
    if len(np.unique(patients)) < 2:
        return "the examples are of one patient; an interval over patients needs two"
    part = subject.examples.take(rows)
    target = subject.classifier.logits(part).argmax(1).astype(np.int64)
    try:
        methods = dict.fromkeys((subject.method, *TRIVIAL, RANDOM))
        maps = {method: maps_of(_of_method(subject, method), part, target) for method in methods}
    except EcglensError as error:
        return f"maps cannot be made ({error})"
    if not all(np.isfinite(each).all() for each in maps.values()):
        return "the maps hold values that are not finite"
    apart = maps[subject.method].shape[1] == part.signals.shape[1]
    waves, kind = None, "parts of 0.1 s"
    with suppress(EcglensError):
        waves, kind = wave_regions(subject.examples, rows=rows), "waves"
    numbers = regional.region_numbers(part, waves, leads_apart=apart)
    return _Asked(part, target, patients, maps, numbers, kind)


def _of_method(subject: Subject, method: str) -> Subject:
    return subject if method == subject.method else replace(subject, method=method, map_options={})


def _tried(subject: Subject, asked: _Asked) -> tuple[dict[str, _Tried], list[str]]:
    """What each fill gave, and why others gave nothing: the blur, and the neighbour or, where few have one, the mean beat."""
    out, why = {}, []
    for fill in ("neighbour", "mean-beat", "blur"):
        if fill == "mean-beat" and "neighbour" in out:
            continue
        pool = background_of(subject, _POOL) if fill == "mean-beat" else subject.examples
        try:
            values, known = ecg_fill(subject.classifier, asked.part, fill, target=asked.target, pool=pool)
        except EcglensError as error:
            why.append(f"{fill}: {error}")
            continue
        whole = (asked.numbers >= 0).astype(np.float32)[:, None]
        loss = score_falls(subject.classifier, asked.part, whole, asked.target, values)[:, 0]
        use = np.flatnonzero(known & (loss > 0))  # where nothing is lost there is nothing to delete
        if len(use) < max(_FEW, len(loss) // 2) or len(np.unique(asked.patients[use])) < 2:
            why.append(f"{fill} takes the class away from {len(use)} of {len(loss)} examples")
            continue
        numbers, methods = asked.numbers[use], [each for each in asked.maps if each != RANDOM or each == subject.method]
        ranks = {each: mass_per_sample(ranked_by(each, asked.maps[each][use]), numbers) for each in methods}
        compared = regional.beside_random(
            subject.classifier, asked.part.take(use), numbers, ranks, asked.target[use], values[use],
            steps=_STEPS, draws=_DRAWS, seed=subject.seed,
        )  # fmt: skip
        out[fill] = _Tried(use, compared, loss[use])
    return out, why


def _mean_area(tried: dict[str, _Tried], n: int, method: str) -> Floats:
    """Of each example, over fills and curves; NaN where no fill serves (example,)."""
    return pd.DataFrame([each.area(n, method, curve) for each in tried.values() for curve in CURVES]).mean().to_numpy()


def _best_trivial(tried: dict[str, _Tried], n: int, but: str | None) -> str:
    return max((each for each in TRIVIAL if each != but), key=lambda each: float(np.nanmean(_mean_area(tried, n, each))))


def _faithful(subject: Subject, asked: _Asked, tried: dict[str, _Tried]) -> Finding:
    assert subject.method is not None
    name, method = FAITHFULNESS, subject.method
    n = len(asked.part)
    mine, trivial = _mean_area(tried, n, method), _best_trivial(tried, n, method)
    beyond = mine - _mean_area(tried, n, trivial)
    known = ~np.isnan(mine)
    (low, high), further = (_interval(each, asked.patients, subject.seed) for each in (mine, beyond))
    more = float(np.nanmean(beyond))
    patients = len(np.unique(asked.patients[known]))
    loss = float(np.mean([each.loss.mean() for each in tried.values()]))
    words = (
        "area between the map's deletion and insertion curves and those of random order, in logits (above 0: better), over "
        f"{known.sum()} examples of {patients} patients"
    )
    where = {"method": method, "fills": ", ".join(tried), "regions": asked.kind, "best trivial map": trivial}
    measure = Measure(float(np.nanmean(mine)), words, low, high, where)
    told = (
        f"Deleting or putting back first what {method} ranks high differs from random order by {measure.value:.3g} logits on "
        f"average ({low:.3g} to {high:.3g}; the class loses {loss:.3g} by the whole replacement), from the trivial map "
        f"'{trivial}' by {more:.3g} ({further[0]:.3g} to {further[1]:.3g})"
    )
    ids = asked.part.column("id").astype(str)[np.argsort(np.where(known, mine, np.inf))[:8]].tolist()
    if measure.value <= 0 or (patients >= _TELLING and low <= 0):
        severity, why = "high", "what the map ranks high does not decide more than what it ranks low"
    elif more <= 0 and (patients < _TELLING or further[1] < 0):
        severity, why = "medium", f"it finds what decides worse than '{trivial}', which asks no net at all"
    else:
        return clear(name, "explanation", f"{told}.", measure)
    return found(
        name, "explanation", severity, f"{told}: {why}.", measure, examples=ids,
        do="Do not read off these maps what the model goes by; see whether integrated-gradients does better.",
    )  # fmt: skip


def _interval(values: Floats, patients: NDArray[np.str_], seed: int) -> tuple[float, float]:
    low, high = mean_over_patients(values[:, None], patients, seed=seed)
    return float(low[0]), float(high[0])


def _curve_table(tried: dict[str, _Tried], asked: _Asked, seed: int) -> pd.DataFrame:
    """Columns method, fill, curve, share (of the signal replaced or put back), n, patients; logit and probability: of the
    class, means with low and high (95 % over patients)."""
    parts = []
    for fill, each in tried.items():
        patients = asked.patients[each.use]
        for (method, curve), both in each.of.curves.items():
            columns: dict[str, object] = {
                "method": method, "fill": fill, "curve": curve, "share": np.arange(_STEPS + 1) / _STEPS, "n": len(each.use),
                "patients": len(np.unique(patients)),
            }  # fmt: skip
            for word, values in zip(("logit", "probability"), both, strict=True):
                low, high = mean_over_patients(values, patients, seed=seed)
                columns |= {word: values.mean(axis=0), f"{word}_low": low, f"{word}_high": high}
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _area_table(tried: dict[str, _Tried], asked: _Asked, method: str, seed: int) -> pd.DataFrame:
    """Columns method, fill, curve ("all": their mean), beside ("random order", and for `method` the best trivial map), n, area
    in logits (above 0: better than what it stands beside), low, high (95 % over patients)."""
    n, rows = len(asked.part), []
    trivial = _best_trivial(tried, n, method)
    areas = {("all", "all", trivial, method): _mean_area(tried, n, method) - _mean_area(tried, n, trivial)}
    for one in dict.fromkeys(each for each, _ in next(iter(tried.values())).of.areas):
        areas["all", "all", regional.RANDOM_ORDER, one] = _mean_area(tried, n, one)
        for fill, curve in product(tried, CURVES):
            areas[fill, curve, regional.RANDOM_ORDER, one] = tried[fill].area(n, one, curve)
    for (fill, curve, beside, one), values in areas.items():
        low, high = _interval(values, asked.patients, seed)
        told = {"method": one, "fill": fill, "curve": curve, "beside": beside, "n": int((~np.isnan(values)).sum())}
        rows.append(told | {"area": float(np.nanmean(values)), "low": low, "high": high})
    return pd.DataFrame(rows)


def _infidelity_table(subject: Subject, asked: _Asked) -> pd.DataFrame:
    """`infidelity_table`, where random sets of half the signal's regions go to the blur."""
    fill, _ = ecg_fill(subject.classifier, asked.part, "blur", target=asked.target)
    sizes = region_sizes(asked.numbers)
    halves = [regional.filled_shares(order, sizes, 0.5) for order in regional.random_orders(sizes, _MASKS, subject.seed)]
    masks = np.stack([regional.samples_filled(asked.numbers, each) for each in halves], axis=1)
    falls = score_falls(subject.classifier, asked.part, masks, asked.target, fill)
    away = subject.classifier.inputs(asked.part)[0].cpu().numpy() - fill
    told = {}
    for method, maps in asked.maps.items():
        told[method] = foretold_falls(maps, masks, away if method in regional.SLOPES else None)
    return infidelity_table(told, falls, asked.patients, seed=subject.seed)


def _stable(subject: Subject, asked: _Asked) -> tuple[Finding, pd.DataFrame | None]:
    """The finding, and a row per method: method, change (median of `max_sensitivity`)."""
    name, method = STABILITY, subject.method
    assert method is not None
    rows = np.unique(np.linspace(0, len(asked.part) - 1, min(len(asked.part), _NOISY)).round().astype(np.int64))
    part, target = asked.part.take(rows), asked.target[rows]
    noisy, rng = [part] * _NOISE_DRAWS, np.random.default_rng([subject.seed, 83])
    for sign, strength in _NOISE:
        noisy = [find_sign(sign).put(each, strength, rng) for each in noisy]
    same = np.all([subject.classifier.logits(each).argmax(1) == target for each in noisy], axis=0)
    change = {}
    for one in asked.maps:
        if one != RANDOM or one == method:  # it stays as it is whatever the signal
            change[one] = max_sensitivity(partial(maps_of, _of_method(subject, one), target=target), part, noisy)
    kept = same & ~np.isnan(change[method])
    if kept.sum() < _FEW:
        why = f"noise leaves the answer, and the map is not empty, in {kept.sum()} of {len(rows)} examples; {_FEW} are needed"
        return not_run(name, "explanation", _ASKS[name], why), None
    table = pd.DataFrame([{"method": one, "change": float(np.nanmedian(each[same]))} for one, each in change.items()])
    told = " and ".join(f"{strength:g} mV of {sign}" for sign, strength in _NOISE)
    words = (
        f"largest change of a map under {told} that leave the answer, as a share of the map: median of {kept.sum()} examples "
        "(1.4: two maps that have nothing in common)"
    )
    measure = Measure(float(np.median(change[method][kept])), words, where={"method": method})
    if measure.value < _SHAKEN:
        told = f"Under {told} that leave the answer a map by {method} changes by {measure.value:.0%} of its size."
        return clear(name, "explanation", told, measure), table
    shaken = found(
        name, "explanation", "medium",
        f"Noise that no reader would see ({told}) and that leaves the answer changes the maps of {method} by "
        f"{measure.value:.0%} of their size.",
        measure, examples=part.column("id").astype(str)[kept][np.argsort(-change[method][kept])[:8]].tolist(),
        do="Do not read single maps; add them up over beats, or smooth them over noise.",
    )  # fmt: skip
    return shaken, table
