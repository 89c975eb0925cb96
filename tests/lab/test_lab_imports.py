"""The lab and the product import the same functions: nothing that the product decides is written a second time."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest
import tidegate
import tidegate_lab

MODULES = [
    importlib.import_module(each.name)
    for each in pkgutil.walk_packages(tidegate_lab.__path__, "tidegate_lab.")
    if not each.name.endswith("__main__")
]
DECIDES = {
    "tidegate.batches": {"group_steps"},
    "tidegate.dispatch": {"decide_dispatch", "decide_more"},
    "tidegate.group_progress": {"progress_of"},
    "tidegate.history": {"merge_histories"},
    "tidegate.rates": {"estimate_rates"},
    "tidegate.run_size": {"decide_size", "round_s", "units_of_batch"},
    "tidegate.scaling": {"decide_scaling"},
    "tidegate.sizing": {"size_cluster"},
    "tidegate.stack_limits": {"read_limits"},
    "tidegate.costs": {"cluster_cost", "control_plane_cost", "serverless_cost"},
    "tidegate.prices": {"load_prices"},
}
"""What the product decides and reckons with, in the lab as well."""


def imported(module: ModuleType) -> dict[str, str]:
    """Names that a module takes from the product, with the module that they are from."""
    tree = ast.parse(Path(inspect.getfile(module)).read_text())
    return {
        alias.name: str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "tidegate"
        for alias in node.names
    }


def test_each_function_that_decides_is_the_products_own() -> None:
    found = {(origin, name) for module in MODULES for name, origin in imported(module).items()}
    assert {(origin, name) for origin, names in DECIDES.items() for name in names} <= found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_what_is_imported_is_what_the_product_runs(module: ModuleType) -> None:
    # A name that is written over after its import would be another function under the same name.
    for name, origin in imported(module).items():
        assert getattr(module, name) is getattr(importlib.import_module(origin), name), name


def test_no_function_of_the_lab_is_called_as_one_that_decides() -> None:
    product = {
        name
        for each in pkgutil.iter_modules(tidegate.__path__, "tidegate.")
        for name, value in vars(importlib.import_module(each.name)).items()
        if inspect.isfunction(value) and value.__module__ == each.name and not name.startswith("_")
    }
    own = {
        name
        for module in MODULES
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__.startswith("tidegate_lab") and not name.startswith("_")
    }
    assert own & product == set()
