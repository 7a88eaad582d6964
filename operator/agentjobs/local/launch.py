"""The launcher of a local server: it ties its life to its owner's, then becomes the server.

`process.spawn` runs ``python -I -S launch.py TERMS COMMAND…``; TERMS is the JSON of
:class:`agentjobs.local.process.Terms`. The script imports nothing of ours, so it costs 20 ms. It is there
because a ``preexec_fn`` must not run in a parent with threads.

- The kernel sends the server ``death_signal`` when the thread that spawned it ends (PR_SET_PDEATHSIG), so a
killed owner leaves no server behind.
- ``user``: root drops to this user first, since Postgres refuses to run as root. With ``reach`` the process
keeps one capability, to enter folders that only root may enter (a virtual environment below ``/root``); no
mode of a folder is changed.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import sys

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 28, 47, 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITY_VERSION_3 = 0x20080522


def permitted_capabilities() -> int:
    """The capabilities that this process may keep, as a bit mask; 0: the system has none."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1], 16) for line in status if line.startswith("CapPrm:"))
    except (OSError, StopIteration):
        return 0


def become(user: str, reach: bool) -> None:
    """Drops from root to ``user`` for good; ``reach`` keeps the smallest capability that opens folders."""
    account = pwd.getpwnam(user)
    permitted = permitted_capabilities() if reach and sys.platform == "linux" else 0
    kept = next((c for c in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if permitted >> c & 1), None)
    libc = ctypes.CDLL(None, use_errno=True)
    if kept is not None:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        # else access(2), by which initdb looks for its server, takes no notice of the capability of another user than root
        libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    if kept is not None:
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        # effective too: the server's own file may lie in a folder that only root may enter
        data = (ctypes.c_uint32 * 6)(1 << kept, 1 << kept, 1 << kept, 0, 0, 0)
        libc.capset(header, data)
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept, 0, 0)


def main() -> None:
    terms, command = json.loads(sys.argv[1]), sys.argv[2:]
    if terms["user"] is not None:
        become(terms["user"], terms["reach"])
    if sys.platform == "linux":  # after the change of user, which would clear it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, terms["death_signal"], 0, 0, 0)
        if os.getppid() != terms["owner"]:
            sys.exit("the owner ended before the server began")
    os.umask(0o077)
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
