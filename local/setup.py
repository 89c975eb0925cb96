"""Sets up this checkout: `make setup`. Idempotent, and silent when there is nothing to do.

Makes `.venv` (everything but the SAM CLI), `.venv-sam` (the SAM CLI: it and the local cloud pin different
botocore releases) and fetches the Delta and S3A jars. Runs on the system's Python, so it uses the standard
library alone and old syntax: its first job is to say clearly that a Python is too old.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UV = "uv==0.13.9"  # the release in locks/dev.txt (tests/template/test_setup.py holds this)
CLASS_ARCHIVE_INPUTS = ["local/tidegate_local/class_archive.py", "local/tidegate_local/jars.py", "locks/dev.txt"]
ROOM_BYTES = 3 * 1024**3  # both environments, the jars and a build take 2.1 GiB


def main():
    check_python()
    steps = [
        (".venv", "Python packages", ["locks/dev.txt", "pyproject.toml"], make_environment),
        (".venv-sam", "SAM CLI", ["locks/sam.txt"], make_sam_environment),
        (".tidegate/jars", "Delta and S3A jars", ["local/tidegate_local/jars.py"], fetch_jars),
        (".tidegate/cache", "Archive of Spark's classes", CLASS_ARCHIVE_INPUTS, make_class_archive),
    ]
    due = [step for step in steps if stamp_of(step[0]) != fingerprint(step[2])]
    if not due:
        return
    check_room()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = scratch  # uv leaves its lock files behind
        make_all(due)


def make_all(due):
    for folder, title, inputs, make in due:
        started = time.time()
        print("setup: {} ...".format(title), flush=True)
        make(os.path.join(ROOT, folder))
        write_stamp(folder, fingerprint(inputs))
        print("setup: {} ready in {:.0f} s".format(title, time.time() - started), flush=True)


def check_python():
    if sys.version_info[:2] != (3, 11):
        fail(
            "this is Python {}.{}, but Tidegate needs 3.11: PySpark 3.5 supports no newer one, and "
            "the cluster runs 3.11. Install it, or name it: make setup PYTHON=/path/to/python3.11".format(
                *sys.version_info[:2]
            )
        )
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        fail("this Python cannot make virtual environments: install its venv package (Debian: python3.11-venv)")


def check_room():
    free = shutil.disk_usage(ROOT).free
    if free < ROOM_BYTES:
        fail(
            "{:.1f} GiB are free in {}, but the set-up needs {:.1f}: make room, or clone elsewhere".format(
                free / 1024**3, ROOT, ROOM_BYTES / 1024**3
            )
        )


def make_environment(folder):
    new_venv(folder)
    run([python_of(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV])
    install(folder, "locks/dev.txt")
    run(
        [
            uv(),
            "pip",
            "install",
            "--quiet",
            "--python",
            python_of(folder),
            "--no-deps",
            "--no-build-isolation",
            "--editable",
            ROOT,
        ]
    )


def make_sam_environment(folder):
    new_venv(folder)
    install(folder, "locks/sam.txt")


def fetch_jars(folder):
    run([python_of(os.path.join(ROOT, ".venv")), "-m", "tidegate_local.jars", folder])


def make_class_archive(folder):
    # Spark's JVM starts seconds faster with it. A failure is said and forgiven: Spark starts without it too.
    if not os.path.isdir(folder):
        os.makedirs(folder)
    run([python_of(os.path.join(ROOT, ".venv")), "-m", "tidegate_local.class_archive"])


def new_venv(folder):
    if not os.path.exists(python_of(folder)):
        run([sys.executable, "-m", "venv", "--clear", folder])


def install(folder, lock):
    # Not `sync`: it would take away the uv and pip that a lock doesn't name.
    run(
        [
            uv(),
            "pip",
            "install",
            "--quiet",
            "--python",
            python_of(folder),
            "--require-hashes",
            "--requirements",
            os.path.join(ROOT, lock),
        ]
    )


def uv():
    return os.path.join(ROOT, ".venv", "bin", "uv")


def python_of(folder):
    return os.path.join(folder, "bin", "python")


def fingerprint(inputs):
    digest = hashlib.sha256(sys.version.encode())
    for name in inputs:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def stamp_of(folder):
    try:
        with open(os.path.join(ROOT, folder, ".ready")) as file:
            return file.read()
    except OSError:
        return ""


def write_stamp(folder, text):
    # Last, so that a set-up that was interrupted is done again.
    with open(os.path.join(ROOT, folder, ".ready"), "w") as file:
        file.write(text)


def run(command):
    done = subprocess.call(command, cwd=ROOT)
    if done:
        fail(
            "`{}` ended with {}: its own words are above. Run `make setup` again once that is mended".format(
                " ".join(command), done
            )
        )


def fail(message):
    print("setup: " + message, file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
