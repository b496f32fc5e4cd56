"""Installs the official SDKs for Node that some tests use as clients, into the environment.

Node itself is the machine's where it is new enough and has npm, else one from the same index as
our Python packages. All is pinned by hash: scripts/requirements-node.lock and
tests/node/package-lock.json. Nothing here fails: what cannot be had is said, and the tests that
need it skip with a reason. One failed try is enough; removing its mark allows another.

Standard library only, like environment.py.
"""

import hashlib
import os
import shutil
import subprocess
import sys

import environment

NODE_MAJOR_MINIMUM = 22
"""What the SDKs declare that they need."""

SOURCE = os.path.join(environment.ROOT, "tests", "node")
NODE_LOCK = os.path.join("scripts", "requirements-node.lock")
FOLDER = os.path.join(environment.VENV, "node-sdks")
STAMP = os.path.join(FOLDER, "stamp")
TRIED = os.path.join(FOLDER, "tried")
NODE = os.path.join(FOLDER, "node")
"""A link to the Node that the tests run."""
MANIFESTS = ("package.json", "package-lock.json")
TIMEOUT_S = 300


def install_missing():
    """Does nothing, at once, when the SDKs are there or one try has failed."""
    wanted = digest()
    if wanted in (environment.read(STAMP), environment.read(TRIED)):
        return
    environment.say("installing the SDKs for Node for the tests (this happens once)")
    os.makedirs(FOLDER, exist_ok=True)
    reason = install()
    if reason is None:
        write(STAMP, wanted)
        return
    environment.say(
        f"the SDKs for Node cannot be installed ({reason}); the tests that need them are skipped. "
        f"To try again: remove {TRIED}"
    )
    write(TRIED, wanted)


def install():
    """Installs Node, if need be, and the SDKs; why it could not."""
    npm = find("npm")
    if npm is None:
        with_pip = [environment.VENV_PYTHON, "-m", "pip", "install", "-q"]
        with_uv = [program("uv"), "pip", "install", "-q", "--python", environment.VENV_PYTHON]
        wanted = ["--require-hashes", "-r", NODE_LOCK]
        if not any(environment.call(command + wanted) for command in (with_uv, with_pip)):
            return "neither the machine nor the package index has a Node that is new enough"
        npm = find("npm")
    if npm is None:
        return "Node has no npm"
    for name in MANIFESTS:
        shutil.copy(os.path.join(SOURCE, name), FOLDER)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    path = f"{os.path.dirname(npm)}:{os.environ.get('PATH', os.defpath)}"
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=FOLDER,
            env=dict(os.environ, PATH=path),
            stdin=subprocess.DEVNULL,
            stdout=2,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode != 0:
        return "npm failed, see above"
    if os.path.lexists(NODE):
        os.remove(NODE)
    os.symlink(find("node"), NODE)
    return None


def find(name):
    """`node` or `npm`, beside a Node that is new enough: the machine's, or the environment's."""
    for folder in (None, os.path.join(environment.VENV, "bin")):
        node = shutil.which("node", path=folder)
        found = shutil.which(name, path=folder)
        if node and found and major(node) >= NODE_MAJOR_MINIMUM:
            return found
    return None


def major(node):
    """The major version of a Node; 0 if it does not run."""
    try:
        said = subprocess.run(  # noqa: S603
            [node, "--version"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
        return int(said.strip().lstrip("v").partition(".")[0])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0


def digest():
    """Of everything that is installed, and where."""
    state = hashlib.sha256(os.path.realpath(FOLDER).encode())
    paths = [os.path.join(SOURCE, name) for name in MANIFESTS]
    for path in (*paths, os.path.join(environment.ROOT, NODE_LOCK)):
        with open(path, "rb") as file:
            state.update(file.read())
    return state.hexdigest()


def program(name):
    return os.path.join(environment.VENV, "bin", name)


def write(path, text):
    with open(path, "w") as file:
        file.write(text + "\n")


if __name__ == "__main__":
    environment.prepare_or_exit("test")
    install_missing()
    sys.exit(0 if os.path.exists(STAMP) else 1)
