"""The public names of the package are the ones that it says it has."""

import importlib
import inspect
from types import ModuleType

import keeper


def test_every_name_in_all_exists_and_is_documented() -> None:
    for name in keeper.__all__:
        value = getattr(keeper, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"keeper.{name} has no docstring"


def test_all_is_sorted_and_names_nothing_twice() -> None:
    assert list(keeper.__all__) == sorted(set(keeper.__all__))


def test_nothing_public_is_left_out_of_all() -> None:
    public = {
        name for name, value in vars(keeper).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public <= set(keeper.__all__)


def test_exported_names_say_where_they_live() -> None:
    """A name is imported from the module that defines it, so that a reader can follow it."""
    for name in keeper.__all__:
        value = getattr(keeper, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert getattr(importlib.import_module(value.__module__), name) is value
