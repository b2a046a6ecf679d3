"""What the sections of varandas2021's report call things: runs, beats, gaps, regions."""

from __future__ import annotations

from typing import Any

from ecglens.studies.sources import Sources
from ecglens.studies.varandas2021_recipe import LABELLED, PICTURED, REGIONS, STRETCHES

NO_MASS = "no map has any mass"
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")  # as words, from 2


def named(sources: list[Sources]) -> dict[str, Sources]:
    """Runs by what their rows and columns are called: model and set, and whatever else tells them apart."""
    names = [f"{source.asked['model']}, set {source.asked['set_number']}" for source in sources]
    for key in ("recipe_name", "split", "quick", "seed"):
        if len({source.asked[key] for source in sources}) > 1:
            names = [f"{name}, {_said(key, source.asked[key])}" for name, source in zip(names, sources, strict=True)]
    if len(set(names)) < len(names):
        keys = {key for source in sources for key in source.recipe}
        differ = sorted(key for key in keys if len({str(source.recipe.get(key)) for source in sources}) > 1)[:3]
        names = [
            ", ".join([name, *(f"{key}={source.recipe.get(key)}" for key in differ)])
            for name, source in zip(names, sources, strict=True)
        ]
    if len(set(names)) < len(names):
        # the same question of other data, or a copy of one run
        folders = [source.run.path.resolve() for source in sources]
        short = len({folder.name for folder in folders}) == len(folders)
        names = [f"{name}, {folder.name if short else folder}" for name, folder in zip(names, folders, strict=True)]
    return dict(zip(names, sources, strict=True))


def _said(key: str, value: Any) -> str:
    if key == "quick":
        return "quick" if value else "full"
    return str(value) if key == "recipe_name" else f"{key} {value}"


def title(source: Sources) -> str:
    """The run's model and set, with what the set means."""
    number = source.asked["set_number"]
    return f"{source.asked['model']}, set {number} ({LABELLED[number]} beat labelled)"


def pictured(source: Sources) -> bool:
    """Whether the model sees pictures, not signals."""
    return source.asked["model"] in PICTURED


def counted(beats: int) -> str:
    """How many beats, as a word where there is a short one."""
    return _NUMBERS[beats - 2] if 2 <= beats <= 10 else str(beats)


def labelled_beat(source: Sources) -> str:
    """The region of the beat that gives the label, as tables name it."""
    return f"beat {source.recipe['beats'] if source.asked['set_number'] == 1 else 1}"


def gap_beside(source: Sources) -> str:
    """The region of the gap that `retiming` calls the one beside the labelled beat."""
    beats = source.recipe["beats"]
    return f"gap {beats - 1}-{beats}" if source.asked["set_number"] == 1 else "gap 1-2"


def side_of_gap(source: Sources) -> str:
    """On which side of the labelled beat that gap lies."""
    return "before" if source.asked["set_number"] == 1 else "behind"


def region(source: Sources) -> str:
    """Where this run's focus is measured; a signal has no height."""
    return (REGIONS if pictured(source) else STRETCHES)[source.recipe["region"]]


def empty_rule(source: Sources) -> str:
    """What becomes of empty maps."""
    if source.recipe["empty"] == "zero":
        return "an empty map counts as no focus"
    return "an empty map is left out of the means, and counted"


def tested(source: Sources) -> tuple[int, int]:
    """Test windows that were scored, and all that there are."""
    splits = source.table("splits").groupby("split")["n"].sum()
    here = int(source.metrics["test.n"])
    return here, here + (int(splits.get("unused", 0)) if source.recipe["tested_at_most"] else 0)


def explained(source: Sources) -> int:
    """Test windows whose maps were made."""
    table = source.table("focus")
    return int(table.loc[table["group"] == "all", "n"].iloc[0])


def trained_on_cut_windows(source: Sources) -> list[str]:
    """The caution that goes wherever other beats' worth is told, where windows were cut while the net learnt."""
    share = source.recipe["crop"]
    if share <= 0:
        return []
    return [
        f"While this net learnt, windows were cut off at random, by up to {share:.0%} of their length, at the end farther "
        f"from the labelled beat (crop={share:g}). It has been taught that far beats may be missing: what is said here of "
        "its need for other beats holds for a net trained so. --set crop=0 trains one without."
    ]


def five_beats(source: Sources) -> list[str]:
    """What becomes of windows that lack their last beat, where there are any."""
    n, beats = sum(source.run.about["windows"]["incomplete"].values()), source.recipe["beats"]
    if not n:
        return []
    what = f"The last window of a record has {counted(beats - 1)} beats, as published ({n} windows on all sides): "
    if source.asked["set_number"] == 1:
        return [what + f"its labelled beat is beat {beats - 1} and is counted there, and it has no beat {beats}."]
    return [what + f"it has no beat {beats}; its labelled beat is beat 1 as in all others."]
