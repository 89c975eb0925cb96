"""Each function is granted what its code calls, and nothing that it doesn't.

What is called is read from the code: a function's use cases name methods of ports, and an adapter's methods name
operations of AWS. That misses no path, however rarely it is taken; which resources the calls are about is held by
tests/functions, whose calls are refused unless the template grants them.
"""

import ast
from pathlib import Path

import pytest
from fakes import policies

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "layers" / "tidegate" / "tidegate"

PREFIXES = {
    "ledger": "dynamodb",
    "objects": "s3",
    "machine": "states",
    "clusters": "elasticmapreduce",
    "readings": "cloudwatch",
    "catalog": "glue",
    "bus": "events",
}

# Where an action is not called like its operation, and what else an operation is checked for.
ACTIONS = {
    "s3:HeadObject": {"s3:GetObject"},
    "s3:ListObjectsV2": {"s3:ListBucket"},
    "s3:ListObjectVersions": {"s3:ListBucketVersions"},
    # In one call or in parts, and parts of a copy that failed are taken away.
    "s3:Copy": {"s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:AbortMultipartUpload"},
}

# Without it, S3 calls a key that isn't there forbidden and not missing.
READS = {"s3:GetObject", "s3:HeadObject"}


def calls(node: ast.AST) -> set[tuple[str, str]]:
    """(name before the dot, method) of every call: ("ledger", "pending") for `ports.ledger.pending()`."""
    found = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute):
            owner = each.func.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            found.add((name, each.func.attr))
    return found


def operations_of(adapter: str) -> dict[str, set[str]]:
    """The operations of AWS that each method of an adapter calls, itself or through methods of its own class,

    whose parts are in files that are called alike.
    """
    files = sorted((PACKAGE / "adapters").glob(f"{adapter}*.py"))
    trees = [ast.parse(each.read_text(encoding="utf-8")) for each in files]
    methods = {each.name: each for tree in trees for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}

    def of(name: str) -> set[str]:
        found: set[str] = set()
        for owner, called in calls(methods[name]):
            if owner == "_client" and called != "get_paginator":
                found.add(called)
            elif owner == "self":
                found |= of(called)
        for each in ast.walk(methods[name]):
            if isinstance(each, ast.Call) and getattr(each.func, "attr", "") == "get_paginator":
                argument = each.args[0]
                assert isinstance(argument, ast.Constant)
                found.add(str(argument.value))
        return found

    return {name: of(name) for name in methods if not name.startswith("_")}


def modules_of(function: str) -> list[ast.Module]:
    """A function's own module and every use case that it imports, directly or through another."""
    waiting, seen = [ROOT / "functions" / function / f"{function}.py"], set()
    trees = []
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        trees.append(tree)
        for each in ast.walk(tree):
            if isinstance(each, ast.ImportFrom) and (each.module or "").startswith("tidegate.usecases"):
                names = [alias.name for alias in each.names] if each.module == "tidegate.usecases" else []
                names = names or [str(each.module).rsplit(".", 1)[-1]]
                waiting += [PACKAGE / "usecases" / f"{name}.py" for name in names]
    return trees


def needed_by(function: str) -> set[str]:
    methods = {port: operations_of(port) for port in PREFIXES}
    found: set[str] = set()
    for tree in modules_of(function):
        for port, method in calls(tree):
            for operation in methods.get(port, {}).get(method, set()):
                camel = "".join(part.capitalize() for part in operation.split("_"))
                name = f"{PREFIXES[port]}:{camel}"
                found |= ACTIONS.get(name, {name})
                if name in READS:
                    found.add("s3:ListBucket")
    return found


FUNCTIONS = sorted(each.name for each in (ROOT / "functions").iterdir() if (each / f"{each.name}.py").exists())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_granted_just_what_its_code_calls(function: str) -> None:
    granted = {action for grant in policies.grants()[function] for action in grant.actions}
    assert granted == needed_by(function)


def test_the_code_is_read_as_it_is_meant() -> None:
    # GIVEN calls that are hidden behind a helper, a paginator and another use case
    assert operations_of("ledger")["seal"] == {"put_item", "update_item"}
    assert operations_of("objects")["names"] == {"list_objects_v2"}
    assert {"dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:PutItem"} <= needed_by("plan_run")
    assert needed_by("record_arrivals") == {"dynamodb:PutItem", "dynamodb:GetItem", "dynamodb:Query"}


def test_every_function_of_the_template_is_looked_at() -> None:
    assert set(FUNCTIONS) == set(policies.grants())
