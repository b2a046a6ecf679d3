"""What a simulated cohort is to be like, checked before anything is made."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from ecglens.errors import EcglensError, did_you_mean
from ecglens.simulation.dipole import LEADS, lead_weights

CLASSES = ("A", "E", "j", "L", "N", "P", "R", "V")
RUNS = ("L", "R", "P")  # conduction that holds for many beats on end
EVENTS = ("A", "j", "V", "E")  # single beats among others
_CARRIERS = {"V": 0.45, "A": 0.40, "j": 0.25, "E": 0.25, "L": 0.15, "R": 0.15, "P": 0.125}  # share of the patients
_MOST_A_MINUTE = 180
_PER_MINUTE = {"V": 7.0, "A": 7.0, "j": 4.0, "E": 3.0}  # of a carrier


@dataclass(frozen=True)
class Settings:
    """A cohort. Everything that decides its bytes.

    heart_rate: mean beats a minute, heart_rate_spread its log standard deviation between patients; variability: standard
    deviation of a patient's sinus interval as a share of it; qrs_width and amplitude: factors; wander, mains, muscle: noise
    in mV (standard deviation at an electrode); evidence_mv: the least difference from the normal beat that counts as
    evidence; beats: wanted number of beats by class (default: so many a minute and carrier; L, R, P fill their carriers);
    carriers: number of patients who have the class. 1 makes a class that lives in one patient.
    """

    patients: int = 40
    minutes: float = 5.0
    leads: tuple[str, ...] = ("II", "V1")
    seed: int = 0
    fs: float = 360.0
    heart_rate: float = 74.0
    heart_rate_spread: float = 0.19
    variability: float = 0.03
    qrs_width: float = 1.0
    amplitude: float = 1.0
    wander: float = 0.06
    mains: float = 0.003
    muscle: float = 0.004
    evidence_mv: float = 0.02
    beats: dict[str, int] = field(default_factory=dict)
    carriers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.leads:
            raise EcglensError(f"no lead is asked for; expected some of {', '.join(LEADS)}")
        lead_weights(self.leads)
        twice = [lead for lead in dict.fromkeys(self.leads) if self.leads.count(lead) > 1]
        if twice:
            raise EcglensError(f"lead {', '.join(twice)} is asked for more than once; name each lead once")
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if not low <= value <= high:
                raise EcglensError(f"{name} is {value:g}; expected {low:g} to {high:g}")
        self._check_classes()

    def _check_classes(self) -> None:
        for what, numbers in (("beats", self.beats), ("carriers", self.carriers)):
            for name, number in numbers.items():
                if name not in RUNS + EVENTS:
                    raise EcglensError(
                        f"{what} of class {name!r}{did_you_mean(name, [*RUNS, *EVENTS])}: expected one of "
                        f"{', '.join(RUNS + EVENTS)} (all other beats are N)"
                    )
                if number < 0:
                    raise EcglensError(f"{what} of {name} is {number}; expected at least 0")
        most = int(self.minutes * _MOST_A_MINUTE)
        for name in RUNS + EVENTS:
            carriers, beats = self.carriers_of(name), self.beats.get(name)
            if carriers > self.patients:
                raise EcglensError(f"{carriers} carriers of {name} among {self.patients} patients; expected at most as many")
            if beats and not carriers:
                raise EcglensError(f"{beats} beats of {name} are wanted, but nobody is to have it; ask for carriers of {name}")
            if beats is not None and 0 < beats < carriers:
                raise EcglensError(f"{beats} beats of {name} cannot be in {carriers} carriers; ask for fewer carriers")
            if beats and beats > most * carriers:
                raise EcglensError(
                    f"{beats} beats of {name} do not fit into {carriers} records of {self.minutes:g} minutes; ask for fewer "
                    "beats, more carriers or more minutes"
                )
        of_runs = sum(self.carriers_of(name) for name in RUNS)
        if of_runs > self.patients:
            raise EcglensError(
                f"L, R and P need {of_runs} patients of their own, the cohort has {self.patients}; ask for more patients or "
                "fewer carriers"
            )

    def carriers_of(self, name: str) -> int:
        """How many patients have the class; where nothing is said, a share of the cohort, and in small ones what there is."""
        if self.beats.get(name) == 0:
            return 0
        if name in self.carriers:
            return self.carriers[name]
        wanted = max(1, round(_CARRIERS[name] * self.patients))
        if name in self.beats:
            return max(1, min(wanted, self.beats[name]))
        if name in RUNS:  # half of the patients at the least stay without
            before = sum(self.carriers_of(other) for other in RUNS[: RUNS.index(name)])
            return max(0, min(wanted, self.patients // 2 - before))
        others = sum(self.carriers_of(other) for other in (("P",) if name == "V" else RUNS))
        return max(0, min(wanted, self.patients - others))

    def beats_per_carrier(self, name: str) -> list[int] | None:
        """Wanted beats of each carrier; None where the class fills the record."""
        n = self.carriers_of(name)
        if name in self.beats:
            return [self.beats[name] // n + (k < self.beats[name] % n) for k in range(n)] if n else []
        return None if name in RUNS else [max(1, round(_PER_MINUTE[name] * self.minutes))] * n


_BOUNDS = (
    ("patients", 1, 10_000), ("minutes", 0.2, 24 * 60), ("seed", 0, 2**31), ("fs", 100, 2000), ("heart_rate", 30, 150),
    ("heart_rate_spread", 0, 0.4), ("variability", 0, 0.2), ("qrs_width", 0.5, 1.6), ("amplitude", 0.1, 5), ("wander", 0, 2),
    ("mains", 0, 1), ("muscle", 0, 1), ("evidence_mv", 0.001, 0.5),
)  # fmt: skip
_BY_NAME = tuple(f.name for f in fields(Settings) if f.name not in ("beats", "carriers", "leads"))


def lead_names(text: str) -> tuple[str, ...]:
    """Leads by what a user says: "2" (II and V1, as most of MIT-BIH), "12", or names with commas between."""
    if text.strip() in ("2", "12"):
        return ("II", "V1") if text.strip() == "2" else LEADS
    return tuple(name.strip() for name in text.split(","))


def by_class(settings: list[str] | tuple[str, ...], option: str) -> dict[str, int]:
    """`CLASS=N` settings as numbers by class; raises EcglensError for what is no number."""
    out = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        try:
            out[name] = int(text)
        except ValueError:
            raise EcglensError(f"{option} {setting!r}: expected CLASS=NUMBER, such as V=800") from None
    return out


def with_settings(settings: Settings, changes: list[str]) -> Settings:
    """The settings with `NAME=VALUE` changes applied; raises EcglensError that names what is not understood."""
    values: dict[str, float | int] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise EcglensError(f"--set {change!r}: expected NAME=VALUE, such as heart_rate=60")
        if name not in _BY_NAME:
            raise EcglensError(
                f"--set {name}: there is no such setting{did_you_mean(name, list(_BY_NAME))} (known: {', '.join(_BY_NAME)})"
            )
        kind = type(getattr(settings, name))
        try:
            values[name] = kind(text)
        except ValueError:
            raise EcglensError(f"--set {name}={text}: expected a number ({kind.__name__})") from None
    return replace(settings, **values)  # type: ignore[arg-type]
