"""Methods by name, and what their cards promise."""

from __future__ import annotations

import inspect
import re

import pytest

from ecglens.attribution.registry import find_method, methods
from ecglens.errors import EcglensError

_NAMES = {
    "saliency", "input-x-gradient", "guided-backprop", "smoothgrad", "integrated-gradients", "expected-gradients",
    "grad-cam", "hires-cam", "grad-cam++", "guided-grad-cam", "channel-cam", "cam", "deeplift", "lrp-epsilon",
    "lrp-alpha-beta", "occlusion", "lead-shapley", "lead-shapley-sampled", "deletion-mask", "mean-activation",
    "uniform", "random", "magnitude", "slope", "r-window",
}  # fmt: skip


def test_every_method_that_the_documents_name_is_there():
    assert set(methods()) >= _NAMES


@pytest.mark.parametrize("name", sorted(_NAMES))
def test_every_card_is_filled_in(name):
    method = methods()[name]
    card = method.card
    assert method.name == name
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*(\+\+)?", name)
    for words in (card.equation, card.source, card.passes, card.resolution, card.blind_to):
        assert words
        assert "\n" not in words
    assert set(card.needs) <= {"relu", "cam layer", "mean and linear head", "layers with a rule", "background"}
    assert method.function.__doc__


@pytest.mark.parametrize("name", sorted(_NAMES))
def test_every_option_has_a_default(name):
    taken = list(inspect.signature(methods()[name].function).parameters.values())[1:]
    assert all(each.default is not inspect.Parameter.empty for each in taken)
    assert find_method(name, {each.name: each.default for each in taken}).options.keys() == {each.name for each in taken}


@pytest.mark.parametrize(
    ("name", "near"),
    [("class-logit", None), ("Saliency", "saliency"), ("gradcam", "grad-cam"), ("deep-lift", "deeplift"), ("lrp", None)],
)
def test_an_unknown_method_is_refused_with_the_nearest_and_all(name, near):
    with pytest.raises(EcglensError, match=f"unknown method '{name}'") as caught:
        find_method(name)
    if near:
        assert f"did you mean '{near}'?" in str(caught.value)
    for known in (*methods(), "captum:NAME"):
        assert known in str(caught.value)


def test_the_pass_is_not_an_option():
    with pytest.raises(EcglensError, match="smoothgrad has no option 'batch'"):
        find_method("smoothgrad", {"batch": 1})


def test_options_do_not_stick_to_the_registry():
    find_method("smoothgrad", {"samples": 3})
    assert methods()["smoothgrad"].options == {}
    assert find_method("smoothgrad").options == {}
