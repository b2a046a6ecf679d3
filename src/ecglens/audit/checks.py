"""Every check by room, in the order in which the page names them; what each costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ecglens.audit import confounders, leakage, meanings, padding, sanity, scoring, settling, wave_focus
from ecglens.audit.finding import Answer, Finding
from ecglens.audit.subject import Subject


@dataclass(frozen=True)
class Check:
    """A check: its name, the question in a reader's words, what it costs in words, and the function that answers, once or for
    each thing that it asks about, with tables or without.
    """

    name: str
    asks: str
    cost: str
    run: Callable[[Subject], Finding | list[Finding] | Answer]

    def answer(self, subject: Subject) -> Answer:
        """What the check says, in one form."""
        said = self.run(subject)
        if isinstance(said, Answer):
            return said
        return Answer(said if isinstance(said, list) else [said])


_NOTHING = "counting alone"
CHECKS = (
    Check("shared-patients", "Were test patients learnt from?", _NOTHING, leakage.shared_patients),
    Check("validated-on-training", "Do training examples validate?", _NOTHING, leakage.repeats_across),
    Check("classes-not-validated", "Does every class validate?", _NOTHING, leakage.classes_validated),
    Check("shared-signals", "Is a signal there under two names?", "a product of matrices", leakage.shared_signals),
    Check("signals-elsewhere", "Are its records in other databases?", "reading them", leakage.signals_elsewhere),
    Check("class-in-one-patient", "Does a class live in one patient?", _NOTHING, leakage.class_of_one_patient),
    Check("class-meanings", "Do classes hold what their names say?", _NOTHING, meanings.class_meanings),
    Check("absent-classes", "Do absent classes count as 0 in an average?", _NOTHING, scoring.absent_classes),
    Check("metrics-of-different-classes", "Are scores of one class?", _NOTHING, scoring.metrics_of_one_class),
    Check("lazy-answer", "Is it better than the commonest answer?", _NOTHING, scoring.better_than_lazy),
    Check("thresholds-from-test", "Were thresholds chosen on the test set?", _NOTHING, scoring.thresholds_from_test),
    Check("class-free", "Do maps depend on the class?", "2 maps of 60 examples", sanity.class_sensitivity),
    Check("foreign-input", "Are maps of what the net saw?", "maps of 12 examples", sanity.foreign_input),
    Check("no-time", "Do maps move with the signal?", "2 maps of 24 examples", sanity.follows_time),
    Check("unsettled", "Are maps that take steps done?", "3 maps of 12 examples", settling.settled),
    Check("even", "Do maps say where?", "maps of 12 examples", settling.even),
    Check("weights", "Do maps depend on what was learnt?", "5 maps of 24 examples", sanity.depends_on_weights),
    Check("padding-tells", "Does the signal's length tell the class?", _NOTHING, padding.padding_tells),
    Check("signs", "Does a class carry a sign, and is it used?", "600 answers a sign found", confounders.sign_findings),
    Check("waves", "Where in the heart beat do the maps lie?", "maps of 240 examples", wave_focus.waves),
)
