"""Makes the virtual environment that scripts/serve and scripts/test run in.

Standard library only, and readable by older Pythons so that they can say what is missing. The
environment is `.venv` beside pyproject.toml, filled from a lock file with hashes checked. A stamp
in it holds a digest of everything it was made from, so that the next start skips all of this.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
UV_LOCK = os.path.join("scripts", "requirements-uv.lock")
MINIMUM = (3, 11)
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")

# A test environment holds everything that serving needs.
LOCKS = {"serve": "requirements.lock", "test": "requirements-test.lock"}
ACCEPTED_STAMPS = {"serve": ("serve", "test"), "test": ("test",)}

# What a machine says to pip about where packages come from, said to uv.
UV_NAMES = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


def run(kind, command):
    """Replaces this process by `command` (a program of the environment, and its arguments)."""
    prepare_or_exit(kind)
    program = os.path.join(VENV, "bin", command[0])
    environ = dict(os.environ)
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling it all anew costs seconds a start
    os.execve(program, [program, *command[1:]], environ)  # noqa: S606


def prepare_or_exit(kind):
    """As `prepare`; ends this process with a message when the environment cannot be made."""
    try:
        prepare(kind)
    except SetupError as error:
        say(f"error: {error}")
        sys.exit(3)
    except KeyboardInterrupt:
        say("the setup was interrupted; the next start goes on with it")
        sys.exit(130)


def prepare(kind):
    """Makes or renews the environment for `kind` ("serve" or "test"), unless it is current."""
    require_python()
    if is_current(kind):
        return
    with setup_lock():
        if not is_current(kind):  # else another start made it while we waited
            install(kind)


def require_python():
    """Goes on under a newer Python of this machine when ours is too old."""
    if sys.version_info >= MINIMUM:
        return
    for name in NEWER_PYTHONS:
        found = shutil.which(name)
        if found is not None and works(found):
            os.execv(found, [found, *sys.argv])  # noqa: S606
    raise SetupError(
        f"Python 3.11 or newer is needed; {sys.executable} is "
        f"{sys.version_info[0]}.{sys.version_info[1]}"
    )


def works(python):
    """Whether it runs at all: a version manager's stand-in may be there without the real one."""
    return subprocess.call([python, "-c", ""], stderr=subprocess.DEVNULL) == 0  # noqa: S603


def is_current(kind):
    if not os.access(VENV_PYTHON, os.X_OK):
        return False
    return any(read(stamp_path(name)) == digest(name) for name in ACCEPTED_STAMPS[kind])


def stamp_path(kind):
    return os.path.join(VENV, f"{kind}.stamp")


def digest(kind):
    """Of the lock file, the project's metadata, and where the environment stands."""
    state = hashlib.sha256(os.path.realpath(ROOT).encode())
    for name in (LOCKS[kind], "pyproject.toml", os.path.join("scripts", "environment.py")):
        with open(os.path.join(ROOT, name), "rb") as file:
            state.update(file.read())
    return state.hexdigest()


def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None


@contextmanager
def setup_lock():
    """One setup at a time: two starts at once would install over each other."""
    with open(os.path.join(ROOT, "pyproject.toml")) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(kind):
    lock = LOCKS[kind]
    say(f"setting up .venv from {lock} (this happens once)")
    remove_stamps()
    uv = shutil.which("uv")
    make_venv(with_pip=uv is None)
    uv = uv or fetch_uv()
    steps = (
        ["--require-hashes", "-r", lock],
        ["--no-deps", "--no-build-isolation", "-e", "."],
    )
    for arguments in steps:
        with_uv = [uv, "pip", "install", "-q", "--compile-bytecode", "--python", VENV_PYTHON]
        if uv is not None and call(with_uv + arguments):
            continue
        if not has_pip() or not call([VENV_PYTHON, "-m", "pip", "install", "-q", *arguments]):
            raise SetupError(
                f"installing failed ({' '.join(arguments)}); see the messages above. The packages "
                "come from the index that pip and uv are configured for: is it reachable?"
            )
    with open(stamp_path(kind), "w") as file:
        file.write(digest(kind) + "\n")
    say("the environment is ready")


def remove_stamps():
    for kind in LOCKS:
        if os.path.exists(stamp_path(kind)):
            os.remove(stamp_path(kind))


def make_venv(with_pip):
    """Keeps a working environment; replaces one whose Python has gone or that was moved here."""
    if is_usable() and (has_pip() or not with_pip):
        return
    if os.path.exists(VENV):
        shutil.rmtree(VENV)
    command = [sys.executable, "-m", "venv", VENV]
    if not with_pip:
        command.insert(3, "--without-pip")
    if not call(command):
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupError(
            "python3 cannot make a virtual environment. Either install its venv module "
            "(Debian and Ubuntu: apt install python3-venv) or put uv on the PATH."
        )


def is_usable():
    if not os.access(VENV_PYTHON, os.X_OK):
        return False
    probe = "import sys; sys.exit(sys.version_info < {} or not sys.prefix == {!r})"
    return subprocess.call([VENV_PYTHON, "-c", probe.format(MINIMUM, VENV)]) == 0  # noqa: S603


def has_pip():
    return subprocess.call([VENV_PYTHON, "-c", "import pip"], stderr=subprocess.DEVNULL) == 0  # noqa: S603


def fetch_uv():
    """Installs uv into the environment; None where it has no build (pip does the work then)."""
    uv = os.path.join(VENV, "bin", "uv")
    if not os.path.exists(uv):
        call([VENV_PYTHON, "-m", "pip", "install", "-q", "--require-hashes", "-r", UV_LOCK])
    return uv if os.path.exists(uv) else None


def call(command):
    """Runs a command in the project's folder, its output on stderr; whether it succeeded."""
    environ = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", UV_PYTHON_DOWNLOADS="never")
    for pip_name, uv_name in UV_NAMES.items():
        if pip_name in os.environ:
            environ.setdefault(uv_name, os.environ[pip_name])
    try:
        return subprocess.call(command, cwd=ROOT, env=environ, stdout=sys.stderr) == 0  # noqa: S603
    except OSError as error:
        say(f"{command[0]}: {error}")
        return False


def say(message):
    sys.stderr.write(f"parshall: {message}\n")
    sys.stderr.flush()
