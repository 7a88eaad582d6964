"""ADK's log records as a run's warnings: which are heard, and that no text gets through."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agentjobs.agents.run import records
from agentjobs.agents.run.records import MAX_WARNING_BYTES, MAX_WARNINGS, Heard, attach, hearing

SECRET = "the patient is Jane Roe"


class Module:
    """A module of ADK's, as far as records tell: its functions' code is compiled under its name."""

    def __init__(self, tmp_path: Path, name: str = "google.adk.made") -> None:
        self._file = str(tmp_path / "made.py")
        self._name = name

    def run(self, body: str, logger: str = "google_adk.google.adk.made") -> None:
        source = f"import logging\nlogger = logging.getLogger({logger!r})\ndef place(said):\n    {body}\n"
        space: dict[str, object] = {"__name__": self._name}
        exec(compile(source, self._file, "exec"), space)
        function = space["place"]
        assert callable(function)
        function(SECRET)


@pytest.fixture
def made(tmp_path: Path) -> Module:
    attach()
    return Module(tmp_path)


def heard(on_warning: Callable[[str], None] = lambda _: None, names: Sequence[str] = ()) -> Heard:
    return Heard(on_warning, lambda *_: None, lambda: frozenset(names))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("logger.warning('Nothing is left.')", "Nothing is left."),
        ("logger.warning('All of %s is lost', said)", "All of … is lost"),
        ("logger.error('All of %r is lost, %d times', said, 3)", "All of … is lost, 3 times"),
        ("logger.error('100%% of %.2f, %5s', 1.5, said)", "100% of 1.5, …"),
        ("logger.error('Agent %r lost %s', 'clerk', said)", "Agent clerk lost …"),
        ("logger.error('Lost: %s', ValueError(said))", "Lost: ValueError"),
        ("logger.error('Lost %s', said, exc_info=ValueError(said))", "Lost … (ValueError)"),
        ("logger.error(f'Lost {said}')", "ERROR"),
        ("logger.error(f'Lost {said}', exc_info=ValueError(said))", "(ValueError)"),
        ("logger.error('Lost ' + said)", "ERROR"),
        ("logger.error(said)", "ERROR"),
        ("logger.error('%s', said)", "…"),
        ("logger.error('Lost %(what)s', {'what': said})", "Lost %(what)s"),
        ("logger.error(ValueError(said))", "ERROR"),
        ("logger.error('%s', [said])", "…"),
        ("logging.warning('Lost %s', said)", "Lost …"),
    ],
)
def test_a_record_is_told_without_its_texts(made: Module, body: str, told: str) -> None:
    one = heard(names=["clerk"])
    with hearing(one):
        made.run(body)
    assert one.warnings == (f"made.place: {told}",)
    assert "Jane" not in "".join(one.warnings)


@pytest.mark.parametrize("body", ["logger.info('x')", "logger.debug('x')"])
def test_a_record_below_warning_is_not_heard(made: Module, body: str) -> None:
    one = heard()
    with hearing(one):
        made.run(body)
    assert one.warnings == ()


def test_a_record_of_another_package_is_not_heard(tmp_path: Path) -> None:
    attach()
    one = heard()
    with hearing(one):
        Module(tmp_path, "my_agents.tools").run("logging.warning('x')")
    assert one.warnings == ()


@pytest.mark.parametrize("logger", ["logger", "logging"])
def test_nothing_reaches_the_handlers_of_others(
    logger: str, made: Module, capfd: pytest.CaptureFixture[str]
) -> None:
    written = io.StringIO()
    others = logging.StreamHandler(written)
    logging.getLogger().addHandler(others)
    try:
        with hearing(heard()):
            made.run(f"{logger}.error('All of %s is lost', said)")
    finally:
        logging.getLogger().removeHandler(others)
    assert written.getvalue() + "".join(capfd.readouterr()) == ""


def test_an_agents_own_logging_is_as_before(tmp_path: Path, made: Module) -> None:
    assert not [h for h in logging.getLogger().handlers if type(h).__module__.startswith("agentjobs.agents")]
    written = io.StringIO()
    own = logging.StreamHandler(written)
    logging.getLogger().addHandler(own)
    try:
        with hearing(heard()):
            Module(tmp_path, "my_agents.tools").run("logging.warning('of the agent')")
    finally:
        logging.getLogger().removeHandler(own)
    assert written.getvalue() == "of the agent\n"


def test_warnings_are_bounded_and_told_once(made: Module) -> None:
    told: list[str] = []
    one = heard(told.append)
    with hearing(one):
        for _ in range(3):
            made.run("logger.error('the same')")
        for number in range(50):
            made.run(f"logger.error('{number} {'x' * 1000}')")
    assert len(one.warnings) == MAX_WARNINGS
    assert list(one.warnings) == told
    assert max(len(warning.encode()) for warning in told) <= MAX_WARNING_BYTES
    assert len(records.summary(one.warnings).encode()) <= records.MAX_SUMMARY_BYTES


async def test_a_run_hears_its_own_tasks_and_threads_alone(made: Module) -> None:
    mine, other = heard(), heard()

    async def run(one: Heard, body: str) -> None:
        with hearing(one):
            await asyncio.to_thread(made.run, body)
            await asyncio.create_task(asyncio.to_thread(made.run, body))

    await asyncio.gather(run(mine, "logger.error('mine')"), run(other, "logger.error('other')"))
    made.run("logger.error('of nobody')")
    assert (mine.warnings, other.warnings) == (("made.place: mine",), ("made.place: other",))


def test_a_logger_with_a_level_of_its_own_writes_to_others_as_before() -> None:
    logger = logging.getLogger("mcp")
    level, propagate, handlers = logger.level, logger.propagate, logger.handlers[:]
    try:
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.DEBUG)
        attach()
        assert logger.propagate
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers
