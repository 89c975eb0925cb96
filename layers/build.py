"""Builds the four layers for `sam build`: `python layers/build.py LAYER ARTIFACTS_DIR`.

The same input gives the same bytes, so a layer gets a new version only when its content has changed:
caches stay out, and times inside archives are fixed. Third-party packages come from the lock files, with
their hashes checked, for Lambda's platform and the cluster's, not this machine's.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CLUSTER_ARCHITECTURES = ("aarch64", "x86_64")  # as `uname -m` says it; those of tidegate.launches
CACHE = ROOT / ".tidegate" / "build"
LEFT_OUT = (
    "__pycache__",
    "*.pyc",
    "bin",
    "tests",
    "*.pyi",
    "RECORD",
    "INSTALLER",
    "REQUESTED",
    "direct_url.json",
)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time that a zip file can hold


def build_tidegate(python_dir: Path) -> None:
    """The decisions and the adapters."""
    copy_tree(ROOT / "layers" / "tidegate" / "tidegate", python_dir / "tidegate")


def build_contracts(python_dir: Path) -> None:
    """The contracts in tables/ as package `tidegate_contracts`: checked, then compiled to contracts.json.

    Beside them the deployment's own price sheets, which `tidegate prices refresh` writes to prices/.
    """
    package = make_package(python_dir / "tidegate_contracts", "The contracts of this deployment, compiled to JSON.")
    compile_contracts(package / "contracts.json")
    for sheet in sorted((ROOT / "prices").glob("*.json")):
        (package / "prices").mkdir(exist_ok=True)
        shutil.copyfile(sheet, package / "prices" / sheet.name)


def build_dependencies(python_dir: Path) -> None:
    """What the functions import besides the runtime's own packages."""
    install("lambda", python_dir, python_version="3.13")


def build_artifacts(python_dir: Path) -> None:
    """What publish_artifacts writes to S3, as package `tidegate_artifacts`."""
    package = make_package(python_dir / "tidegate_artifacts", "What the cluster needs, on its way to S3.")
    write_zip(package / "tidegate_spark.zip", ROOT / "spark", ROOT / "spark" / "tidegate_spark")
    shutil.copyfile(ROOT / "spark" / "main.py", package / "main.py")
    shutil.copyfile(ROOT / "spark" / "install_python_deps.sh", package / "install_python_deps.sh")
    compile_contracts(package / "contracts.json")
    for architecture in CLUSTER_ARCHITECTURES:
        shutil.copyfile(cluster_packages(architecture), package / f"python-deps-{architecture}.zip")
    for path in sorted((ROOT / "tables").rglob("*")):  # the user's SQL and scripts, beside the contracts that name them
        if path.is_file() and path.suffix in {".sql", ".py"}:
            target = package / "user" / path.relative_to(ROOT / "tables")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


LAYERS: dict[str, Callable[[Path], None]] = {
    "tidegate": build_tidegate,
    "contracts": build_contracts,
    "dependencies": build_dependencies,
    "artifacts": build_artifacts,
}


def cluster_packages(architecture: str) -> Path:
    """A zip of the packages in locks/cluster.txt, kept between builds because NumPy is large."""
    lock = (ROOT / "locks" / "cluster.txt").read_bytes()
    this_file = Path(__file__).read_bytes()
    made = CACHE / f"python-deps-{architecture}-{hashlib.sha256(lock + this_file).hexdigest()[:16]}.zip"
    if not made.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            packages = Path(folder) / "packages"
            # EMR 7 runs on Amazon Linux 2023, glibc 2.34: some wheels for arm64 ask for 2.28.
            install("cluster", packages, python_version="3.11", architecture=architecture, libc="manylinux_2_28")
            write_zip(Path(folder) / made.name, packages, packages)
            (Path(folder) / made.name).replace(made)
    return made


def compile_contracts(target: Path) -> None:
    """Let the CLI check and compile the contracts: a bad one fails the build with its file and line."""
    run([BIN / "tidegate", "tables", "compile", "--tables", ROOT / "tables", "--out", target])


def install(
    lock: str, target: Path, *, python_version: str, architecture: str = "aarch64", libc: str = "manylinux2014"
) -> None:
    """Install a lock file's wheels for Linux on that architecture into `target`; what they depend on is in the lock."""
    with tempfile.TemporaryDirectory() as folder:
        run([
            *(BIN / "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
            *("--requirements", ROOT / "locks" / f"{lock}.txt"),
            *("--python-version", python_version, "--python-platform", f"{architecture}-{libc}"),
            *("--only-binary", ":all:", "--link-mode", "copy", "--target", folder),
        ])  # fmt: skip
        copy_tree(Path(folder), target)


def run(command: list[str | Path]) -> None:
    """Run a command of the project's own environment; its own words are the error."""
    done = subprocess.run([str(word) for word in command], check=False)
    if done.returncode:
        raise SystemExit(f"layers/build.py: {command[0]} failed, see above")


def copy_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*LEFT_OUT))


def make_package(folder: Path, docstring: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(f'"""{docstring}"""\n', encoding="utf-8")
    return folder


def write_zip(target: Path, base: Path, folder: Path) -> None:
    """Zip the files below `folder` by their names from `base`: sorted, with one time and one mode."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files_of(folder):
            entry = zipfile.ZipInfo(path.relative_to(base).as_posix(), EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


def files_of(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def main() -> None:
    """Build one layer; `python/` is the folder of a layer that Lambda puts on sys.path."""
    layer, artifacts_dir = sys.argv[1:]
    LAYERS[layer](Path(artifacts_dir) / "python")


if __name__ == "__main__":
    main()
