"""Each file of the room is a lesson, and its examples run."""

import doctest
import importlib
import pkgutil

import pytest

import penstock.drift

MODULES = ["penstock.drift"] + [
    module.name for module in pkgutil.walk_packages(penstock.drift.__path__, "penstock.drift.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
