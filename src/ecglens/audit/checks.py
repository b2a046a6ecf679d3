"""Every check by room, in the order in which the page names them; what each costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ecglens.audit import (
    agreement,
    clusters,
    completeness,
    confounders,
    expected_waves,
    faithful,
    leads,
    leakage,
    meanings,
    padding,
    sanity,
    scoring,
    settling,
    siblings,
    small_changes,
    wave_occlusion,
)
from ecglens.audit.finding import Answer, Finding
from ecglens.audit.subject import Subject


@dataclass(frozen=True)
class Check:
    """A check: its name, the question in a reader's words, the function that answers, once or for each thing that it asks
    about, with tables or without, and what it costs: maps and answers of the model, about, beside counting and measuring.
    """

    name: str
    asks: str
    run: Callable[[Subject], Finding | list[Finding] | Answer]
    maps: int = 0
    answers: int = 0

    def answer(self, subject: Subject) -> Answer:
        """What the check says, in one form."""
        said = self.run(subject)
        if isinstance(said, Answer):
            return said
        return Answer(said if isinstance(said, list) else [said])


CHECKS = (
    Check("shared-patients", "Were test patients learnt from?", leakage.shared_patients),
    Check("validated-on-training", "Do training examples validate?", leakage.repeats_across),
    Check("classes-not-validated", "Does every class validate?", leakage.classes_validated),
    Check("shared-signals", "Is a signal there under two names?", leakage.shared_signals),
    Check("signals-elsewhere", "Are its records in other databases?", leakage.signals_elsewhere),
    Check("class-in-one-patient", "Does a class live in one patient?", leakage.class_of_one_patient),
    Check("class-meanings", "Do classes hold what their names say?", meanings.class_meanings),
    Check("lead-configuration", "Is a class tied to the leads that were recorded?", leads.lead_configuration),
    Check("absent-classes", "Do absent classes count as 0 in an average?", scoring.absent_classes),
    Check("metrics-of-different-classes", "Are scores of one class?", scoring.metrics_of_one_class),
    Check("lazy-answer", "Is it better than the commonest answer?", scoring.better_than_lazy, answers=scoring.ASKED_ANEW),
    Check("thresholds-from-test", "Were thresholds chosen on the test set?", scoring.thresholds_from_test),
    Check("class-free", "Do maps depend on the class?", sanity.class_sensitivity, maps=120),
    Check("foreign-input", "Are maps of what the net saw?", sanity.foreign_input, maps=24),
    Check("no-time", "Do maps move with the signal?", sanity.follows_time, maps=48),
    Check("unsettled", "Are maps that take steps done?", settling.settled, maps=42),
    Check("even", "Do maps say where?", settling.even, maps=12),
    Check("weights", "Do maps depend on what was learnt?", sanity.depends_on_weights, maps=120),
    Check("siblings", "Would another training draw these maps?", siblings.siblings, maps=80),
    Check("completeness", "Do maps add up to what is promised?", completeness.completeness, maps=24, answers=48),
    Check("agreement", "Do other methods agree?", agreement.between_methods, maps=126),
    Check("faithfulness", "Does what the maps rank high decide?", faithful.faithfulness, maps=60, answers=5000),
    Check("small-changes", "Do maps keep still where the answer does?", small_changes.small_changes, maps=72),
    Check("leads-told", "Do maps tell leads apart?", small_changes.leads_told, maps=24, answers=24),
    Check("lead-order", "Does the answer depend on which lead is which?", leads.lead_order, answers=3000),
    Check("padding-tells", "Does the signal's length tell the class?", padding.padding_tells),
    Check("signs", "Does a class carry a sign, and is it used?", confounders.sign_findings, answers=2400),
    Check("waves", "Where in the heart beat do the maps lie?", expected_waves.waves, maps=240),
    Check("wave-occlusion", "Does hiding waves move the answer?", wave_occlusion.wave_occlusion, answers=2100),
    Check("clusters", "Do a class's maps fall into kinds?", clusters.clusters, maps=400),
)
