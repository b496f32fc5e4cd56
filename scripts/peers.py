"""Installs the third-party HTTP servers that some tests talk to, where this machine lets us.

nginx, nghttpd and Node, from the system's own packages (Debian, Ubuntu). Nothing here fails: what
cannot be had is said, and the tests that need it skip with a reason. One failed try is enough; it
leaves a mark in the environment, and removing that mark allows another.

Standard library only, like environment.py.
"""

import os
import shutil
import subprocess
from contextlib import contextmanager

import environment

PACKAGES = {"nginx": "nginx", "nghttpd": "nghttp2-server", "node": "nodejs"}
"""Program and Debian package."""

TRIED = os.path.join(environment.VENV, "peers.tried")
NO_SERVICES = "/usr/sbin/policy-rc.d"
"""Debian's way to keep a package from starting its service while it is installed."""

APT_GET = (
    "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=60", "-o", "Acquire::Retries=1",
    "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20",
)  # fmt: skip
TIMEOUT_S = 300


def install_missing():
    """Does nothing, at once, when all are there or one try has failed."""
    missing = [program for program in PACKAGES if find(program) is None]
    if not missing or environment.read(TRIED) == " ".join(missing):
        return
    packages = [PACKAGES[program] for program in missing]
    reason = why_not()
    if reason is None:
        environment.say(f"installing {' '.join(packages)} for the tests (this happens once)")
        with services_kept_off():
            if not apt_get("install", "--no-install-recommends", *packages):
                apt_get("update")
                apt_get("install", "--no-install-recommends", *packages)
        missing = [program for program in PACKAGES if find(program) is None]
        reason = "apt-get failed, see above"
    if missing:
        environment.say(
            f"{', '.join(missing)} cannot be installed ({reason}); the tests that need it are "
            f"skipped. To try again: install it yourself, or remove {TRIED}"
        )
        mark_tried(missing)


def find(program):
    """Where a program is; servers are often outside a user's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def why_not():
    """Why this machine cannot install packages; None when it can."""
    if shutil.which("apt-get") is None:
        return "there is no apt-get"
    if os.geteuid() != 0:
        return "that needs root"
    return None


def apt_get(*arguments):
    """Runs apt-get, its output on stderr; whether it succeeded."""
    command = [*APT_GET, *arguments]
    environ = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    try:
        done = subprocess.run(  # noqa: S603
            command, env=environ, stdin=subprocess.DEVNULL, stdout=2, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        environment.say(f"apt-get: {error}")
        return False
    return done.returncode == 0


@contextmanager
def services_kept_off():
    """While packages are installed: a test machine is not to get a web server on port 80."""
    ours = not os.path.exists(NO_SERVICES)
    if ours:
        with open(NO_SERVICES, "w") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(NO_SERVICES, 0o755)  # noqa: S103
    try:
        yield
    finally:
        if ours:
            os.remove(NO_SERVICES)


def mark_tried(missing):
    if not os.path.isdir(os.path.dirname(TRIED)):
        return  # the environment is yet to be made; the next start tries once more
    with open(TRIED, "w") as file:
        file.write(" ".join(missing) + "\n")
