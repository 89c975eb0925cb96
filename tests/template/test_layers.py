"""The layers as `sam build` makes them: pure Python on Lambda, and the cluster's packages for Graviton."""

import hashlib
import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ["tidegate", "contracts", "dependencies", "artifacts"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each layer's `python` folder."""
    return {layer: build(layer, tmp_path_factory.mktemp(layer)) for layer in LAYERS}


def build(layer: str, folder: Path) -> Path:
    subprocess.run([sys.executable, ROOT / "layers" / "build.py", layer, folder], check=True)
    return folder / "python"


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_runs_on_lambda_is_pure_python(built: dict[str, Path]) -> None:
    # Design: "Layers are pure Python, so the very same artifact runs on arm64 Lambda and in the local cloud."
    for layer in LAYERS:
        assert contents(built[layer]), layer
        assert not [name for name in contents(built[layer]) if name.endswith((".so", ".pyd", ".dylib"))], layer


@pytest.mark.parametrize("layer", LAYERS)
def test_the_same_sources_make_the_same_layer(layer: str, built: dict[str, Path], tmp_path: Path) -> None:
    # Otherwise each deploy would publish versions and artifacts of code that has not changed.
    assert contents(build(layer, tmp_path)) == contents(built[layer])


def test_the_artifacts_hold_all_that_a_cluster_needs(built: dict[str, Path]) -> None:
    package = built["artifacts"] / "tidegate_artifacts"
    names = {path.name for path in package.iterdir()}
    assert names >= {
        "__init__.py", "main.py", "tidegate_spark.zip", "contracts.json", "install_python_deps.sh",
        "python-deps-aarch64.zip", "python-deps-x86_64.zip",
    }  # fmt: skip
    job = zipfile.ZipFile(package / "tidegate_spark.zip").namelist()
    assert "tidegate_spark/job.py" in job
    assert not [name for name in job if "__pycache__" in name]


@pytest.mark.parametrize("architecture", ["aarch64", "x86_64"])
def test_the_clusters_packages_are_for_python_3_11_on_each_launch_option(
    built: dict[str, Path], architecture: str
) -> None:
    names = zipfile.ZipFile(built["artifacts"] / "tidegate_artifacts" / f"python-deps-{architecture}.zip").namelist()
    assert "delta/tables.py" in names
    compiled = [name for name in names if name.startswith("numpy/") and name.endswith(".so")]
    assert compiled
    assert all(f"cpython-311-{architecture}-linux-gnu" in name for name in compiled)
    assert not [name for name in names if name.startswith("pyspark/")], "Spark is on the image"


def test_a_deployments_own_price_sheets_go_with_its_contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a checkout in which `tidegate prices refresh` has written a sheet
    checkout = tmp_path / "checkout"
    (checkout / "prices").mkdir(parents=True)
    (checkout / "prices" / "eu-central-1.json").write_text("{}")
    (checkout / "tables").symlink_to(ROOT / "tables")
    monkeypatch.syspath_prepend(ROOT / "layers")
    build_layers = importlib.import_module("build")
    monkeypatch.setattr(build_layers, "ROOT", checkout)
    # WHEN the layer of the contracts is built
    build_layers.build_contracts(tmp_path / "python")
    # THEN it is where the functions look for it
    assert (tmp_path / "python" / "tidegate_contracts" / "prices" / "eu-central-1.json").is_file()


def test_a_lambda_imports_the_layers_as_they_are_built(built: dict[str, Path]) -> None:
    # In a process that sees nothing of the checkout but the layers.
    path = ":".join(str(built[layer]) for layer in ("dependencies", "tidegate", "contracts"))
    code = "import tidegate, tidegate_contracts, aws_lambda_powertools, jmespath; print(tidegate.__file__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(built["tidegate"]))
