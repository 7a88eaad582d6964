"""Agents that misbehave in every way a tool can, and two that do not. Written into a folder of the test.

The model is ``echo``, so a job's message says which tool is called: ``call("crash")``.
"""

from __future__ import annotations

import json
from pathlib import Path

SOURCE = """
import asyncio, ctypes, os, signal, subprocess, sys, threading, time
from google.adk.agents import LlmAgent


def crash(status: int = 1):
    os._exit(status)

def raises(customer: str):
    return look_up(customer)

def look_up(customer):
    raise KeyError(customer)

def crash_at(file: str):
    with open(file, "a") as out:
        out.write(f"{time.time()}\\n")
    os._exit(1)

def segfault():
    ctypes.string_at(0)

async def burn(file: str = ""):
    "Blocks the event loop: no message is heard any more."
    if file:
        open(file, "w").close()
    while True:
        pass

async def burn_deaf(file: str = ""):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if file:
        open(file, "w").close()
    while True:
        pass

def recurse(depth: int = 0):
    return recurse(depth + 1)

def recurse_deeply():
    "Past Python's own limit, until the stack of the thread is used up."
    sys.setrecursionlimit(10**9)
    def down(n):
        return max(map(down, [n + 1]))
    return down(0)

def close_everything():
    "Its pipe to the worker, its output, the event loop's own descriptors."
    os.closerange(0, 256)
    return "closed"

async def close_everything_async():
    os.closerange(0, 256)
    return "closed"

def stamp(file: str, note: str = "", seconds: float = 0.0):
    "When this call began, by the clock that goes on in a suspended machine, and in which run."
    from agentjobs.agents.context import current_job
    with open(file, "a") as out:
        out.write(f"{time.clock_gettime(time.CLOCK_BOOTTIME)} {current_job().run} {note}\\n")
    time.sleep(seconds)
    return "stamped"

def tell_pid(file: str):
    "Whole, for those who wait for the file."
    with open(f"{file}.new", "w") as out:
        out.write(str(os.getpid()))
    os.rename(f"{file}.new", file)

async def wait_for_run(file: str):
    "Until the file of this run is there: FILE.1, FILE.2 …"
    from agentjobs.agents.context import current_job
    tell_pid(f"{file}.{current_job().run}.inside")
    while not os.path.exists(f"{file}.{current_job().run}"):
        await asyncio.sleep(0.02)
    open(f"{file}.{current_job().run}.left", "w").close()
    return f"run {current_job().run}"

def sleep(file: str, seconds: float = 600.0):
    "A synchronous tool that lets nothing else of its process run."
    tell_pid(file)
    time.sleep(seconds)
    return "slept"

def burn_in_thread():
    while True:
        pass

async def wait(seconds: float = 600.0, file: str = ""):
    if file:
        tell_pid(file)
    await asyncio.sleep(seconds)
    return "waited"

async def wait_for(file: str):
    while not os.path.exists(file):
        await asyncio.sleep(0.02)
    return "found"

def eat(mib: int):
    blocks = []
    for _ in range(mib):
        blocks.append(b"x" * 2**20)
    return len(blocks)

def eat_with_children(children: int, mib: int, seconds: float = 60.0):
    code = f"b = b'x' * ({mib} * 2**20); import time; time.sleep({seconds})"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(children)]
    for child in running:
        child.wait()

def leave_processes(file: str, wait: float = 0.0):
    "A child, a grandchild in a session of its own, and a daemon that forked twice."
    pids = []
    pids.append(subprocess.Popen(["sleep", "1000"]).pid)
    pids.append(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid)
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        os.setsid()
        daemon = os.fork()
        if daemon == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(1000)
        os.write(write_end, str(daemon).encode())
        os._exit(0)
    pids.append(int(os.read(read_end, 100)))
    open(file + ".part", "w").write(" ".join(map(str, [os.getpid(), *pids])))
    os.rename(file + ".part", file)
    time.sleep(wait)
    return "left"

def shout(mib: int):
    block = ("y" * 1023 + "\\n") * 1024
    for _ in range(mib):
        sys.stdout.write(block)
    print("the end")
    return "shouted"

async def speak(folder: str):
    "A line for each file of this run: 1.0, 1.1 …; dies at 1.die, ends at 1.end."
    from agentjobs.agents.context import current_job
    run, number = current_job().run, 0
    while True:
        if os.path.exists(f"{folder}/{run}.{number}"):
            print(f"run {run} line {number}", flush=True)
            number += 1
        elif os.path.exists(f"{folder}/{run}.die"):
            os._exit(1)
        elif os.path.exists(f"{folder}/{run}.end"):
            return "spoken"
        else:
            await asyncio.sleep(0.02)

def leave():
    sys.exit(3)

async def leave_async():
    sys.exit(0)

def leave_thread():
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return "left"

def crash_first_run():
    from agentjobs.agents.context import current_job
    if current_job().run == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"run {current_job().run}"

async def wait_in_first_run():
    from agentjobs.agents.context import current_job
    if current_job().run == 1:
        await asyncio.sleep(600)
    return f"run {current_job().run}"

async def burn_in_first_run(deaf: bool = False):
    from agentjobs.agents.context import current_job
    if current_job().run == 1:
        await (burn_deaf() if deaf else burn())
    return f"run {current_job().run}"

def note(file: str):
    "Which runs there were: one line each."
    from agentjobs.agents.context import current_job
    with open(file, "a") as out:
        out.write(f"{current_job().uid} {current_job().run}\\n")
    return "noted"

def environment(name: str):
    return os.environ.get(name, "(absent)")

def descriptors():
    return str(len(os.listdir("/proc/self/fd")))

def count_pages(mib: int):
    block = bytearray(mib * 2**20)
    for at in range(0, len(block), 4096):
        block[at] = 1
    return "touched"

tools = [raises, sleep, crash, crash_at, segfault, burn, burn_deaf, burn_in_thread, wait, wait_for, eat, eat_with_children, leave_processes, shout, speak,
         leave, leave_async, leave_thread, environment, descriptors, count_pages, crash_first_run,
         wait_in_first_run, note, recurse, recurse_deeply, close_everything, close_everything_async, stamp, wait_for_run]
root_agent = LlmAgent(name="abuse", model="echo", instruction="Do what is asked.", tools=tools)
"""

TALKER = """
from google.adk.agents import LlmAgent
from abuse import burn_in_first_run, note, wait_in_first_run
root_agent = LlmAgent(name="talker", model="gemini-2.5-flash", instruction="Book what is asked for.",
                      tools=[burn_in_first_run, note, wait_in_first_run])
"""

INNOCENT = """
from google.adk.agents import LlmAgent
root_agent = LlmAgent(name="innocent", model="echo", instruction="Answer.")
"""

THREAD_AT_IMPORT = (
    INNOCENT
    + """
import threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
"""
)
FAILS_AT_IMPORT = "raise RuntimeError('this module is broken')\n"
DIES_AT_IMPORT = "import os\nos._exit(9)\n"

MODULES = {
    "abuse": SOURCE,
    "innocent": INNOCENT,
    "talker": TALKER,
    "starts_thread": THREAD_AT_IMPORT,
    "fails": FAILS_AT_IMPORT,
    "dies": DIES_AT_IMPORT,
}


def write_modules(folder: Path) -> str:
    """Writes all of them; returns what belongs on the path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in MODULES.items():
        (folder / f"{name}.py").write_text(source)
    return str(folder)


def call(tool: str, /, **arguments: object) -> str:
    """A message that makes ``echo`` call that tool."""
    return f"echo:call {tool} {json.dumps(arguments)}"
