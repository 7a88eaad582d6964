"""Acts upon many jobs at once, of those that have no object: others are changed through the Kubernetes API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from agentjobs.queue import codec, numbers
from agentjobs.queue.audit import Act, act_json
from agentjobs.queue.job_list import JobFilter, JobLists
from agentjobs.values.verbs import Verb

_WHAT = {
    Verb.CANCEL: "cancel",
    Verb.SUSPEND: "suspend",
    Verb.RESUME: "resume",
    Verb.RETRY: "retry",
    Verb.REPRIORITISE: "priority",
    Verb.SET_MAX_ATTEMPTS: "maxAttempts",
}
_NUMBERS = {Verb.REPRIORITISE: "priority", Verb.SET_MAX_ATTEMPTS: "max_attempts"}
_REFUSED = "refused: "
LONGEST_SPREAD_SECONDS = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class ActedOn:
    """What came of one act upon many jobs."""

    done: int = 0
    """Jobs that took it. One that was so already counts, and has no row in the audit."""
    finished: int = 0
    """Jobs that had finished, or were not known any more."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """How many refused it, by the reason."""

    def plus(self, other: ActedOn) -> ActedOn:
        """Both together."""
        refused = Counter(self.refused) + Counter(other.refused)
        return ActedOn(self.done + other.done, self.finished + other.finished, dict(refused))


class BulkActs(JobLists):
    """Acts upon many jobs; a part of Queue."""

    async def act_on(
        self,
        which: JobFilter,
        verb: Verb | str,
        by: Act | None = None,
        *,
        value: int | None = None,
        slice: int = 100,
        spread_seconds: float = 0.0,
    ) -> ActedOn:
        """One act upon each job without an object that the filter lists, page by page, the newest first.

        A job that comes to meet the filter meanwhile may be left out. Whatever ends it, the same call again does what
        is left: a job that was retried, cancelled, … does not meet a filter for the state that it had.

        :param which: its namespace is None or "".
        :param slice: the most jobs of one transaction, from 1 to 1000.
        :raises ValueError: as ``act_on_jobs``; or the filter names a namespace.
        :raises JobRejected: as ``act_on_jobs`` and ``jobs``.
        """
        if which.namespace:
            raise ValueError(
                f"namespace: {which.namespace!r}: jobs with an object are changed through the Kubernetes API"
            )
        verb, mine = _known(verb, value), replace(which, namespace="")
        told, after = ActedOn(), None
        while True:
            page = await self.jobs(mine, after=after, limit=slice)
            uids = [row.uid for row in page.jobs]
            told = told.plus(
                await self.act_on_jobs(uids, verb, by, value=value, spread_seconds=spread_seconds)
            )
            if page.next is None:
                return told
            after = page.next

    async def act_on_jobs(
        self,
        uids: Sequence[UUID],
        verb: Verb | str,
        by: Act | None = None,
        *,
        value: int | None = None,
        spread_seconds: float = 0.0,
    ) -> ActedOn:
        """One act upon each of these jobs, with a row of the audit for each, in one statement per 1000.

        What was done stays done where a later statement fails; the same call again does what is left.

        :param verb: cancel, suspend, resume, retry, reprioritise or set-max-attempts; the last two with ``value``.
        :param spread_seconds: the due times of retries are spread over so long from now, by each job's uid.
        :raises ValueError: the verb is none of these.
        :raises JobRejected: the number cannot be that of a job.
        """
        verb = _known(verb, value)
        if not 0 <= spread_seconds <= LONGEST_SPREAD_SECONDS:
            raise ValueError(f"spread_seconds: {spread_seconds}: 0 to {LONGEST_SPREAD_SECONDS:.0f} is wanted")
        told = ActedOn()
        for some in _slices(uids, numbers.ACT_JOBS):
            rows = await self._db.fetch(
                "select agentjobs.act_on_jobs(%s::uuid[], %s, %s, %s::json, %s)",
                (list(some), _WHAT[verb], value, act_json(by, verb), timedelta(seconds=spread_seconds)),
            )
            told = told.plus(_told(len(set(some)), rows[0][0]))
        return told


def _known(verb: Verb | str, value: int | None) -> Verb:
    """The verb, if it is one of those that a job knows. Raises ValueError, and JobRejected for the number."""
    if verb not in _WHAT:
        raise ValueError(f"verb: {str(verb)!r}: one of {', '.join(_WHAT)} is wanted")
    verb = Verb(verb)
    if verb in _NUMBERS:
        codec.check_number(_NUMBERS[verb], value)
    return verb


def _told(asked: int, answers: Sequence[tuple[str, str | None]]) -> ActedOn:
    """The answers of one statement, counted."""
    refused = Counter(
        answer.removeprefix(_REFUSED) for _, answer in answers if answer and answer.startswith(_REFUSED)
    )
    done = sum(answer is not None for _, answer in answers) - refused.total()
    return ActedOn(done, asked - done - refused.total(), dict(refused))


def _slices(uids: Sequence[UUID], size: int) -> Iterator[Sequence[UUID]]:
    for first in range(0, len(uids), size):
        yield uids[first : first + size]
