"""The ack of a run, made from its `Ended`. Pure; docs/design.md#how-a-run-ends has the whole way.

For example, a user cancels while the agent gives its answer: the answer counts. An answer, a question and a
permanent error were there first (H15); every other end of a run that we stopped is acked as the reason for
the stop says.
"""

from __future__ import annotations

import signal
from random import Random

from agentjobs.agents.verdict.outcome import Outcome, Verdict
from agentjobs.queue.breakers import target_of
from agentjobs.queue.records import Ack, AckKind, ClaimedJob, ModelReport
from agentjobs.queue.retry import backoff, snooze
from agentjobs.values.model_answer import ModelAnswer
from agentjobs.values.names import own_session
from agentjobs.values.reasons import Reason
from agentjobs.values.setting_names import both_names
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.stopping import Why
from agentjobs.worker.supervisor.payload import input_deadline_seconds

_NEVER_RAN_SECONDS = (0.5, 2.0)
"""The delay of a job whose run could not begin or died with the template: the cause may last a moment."""
_TOO_NEW_SECONDS = (20.0, 40.0)
"""The delay of a job whose payload is too new for this worker: time for a newer worker to claim it."""


def ack_of(
    job: ClaimedJob,
    ended: Ended,
    rng: Random,
    *,
    model_health: bool = True,
    where: str = "",
    pool: str = "<name>",
) -> Ack | None:
    """The ack of one run. None: the run was lost, so the queue would not accept an ack.

    :param where: where the run was by its last event (``Run.where``): the message of a run that was stopped, or whose
        process ended, tells it.
    :param model_health: True: the ack reports how the models answered, and a refused key lets the job wait.
        False: a refused key fails the job at once.
    :param pool: the worker's, whose limits messages name.
    """
    if ended.why is Why.LOST:
        return None
    outcome = ended.outcome
    answered = outcome is not None and outcome.verdict in (Verdict.COMPLETE, Verdict.FAIL, Verdict.ASK)
    if not answered and (asked := _of_stop(job, ended, pool)) is not None:
        kind, reason, message = asked
        delay = backoff(job.retry, job.attempt, rng) if kind is AckKind.RETRY else 0.0
        return _ack(job, ended, kind, reason, _at(message, where), delay)
    if outcome is not None and outcome.verdict is not Verdict.CANCELLED:
        return _of_outcome(job, ended, outcome, rng, model_health=model_health)
    if ended.never_ran:
        delay = rng.uniform(*_NEVER_RAN_SECONDS)
        return _ack(job, ended, AckKind.RELEASE, Reason.EXECUTOR_CRASHED, ended.never_ran, delay)
    delay = backoff(job.retry, job.attempt, rng)
    message = _at(crash_message(ended), where)
    return _ack(job, ended, AckKind.RETRY, Reason.EXECUTOR_CRASHED, message, delay)


def _at(message: str, where: str) -> str:
    return f"{message}; it was {where}" if where else message


def too_new(job: ClaimedJob, message: str, rng: Random) -> Ack:
    """The ack that gives back a job whose payload is too new for this worker (H30)."""
    delay = rng.uniform(*_TOO_NEW_SECONDS)
    return _ack(job, Ended(), AckKind.RELEASE, Reason.PAYLOAD_UNSUPPORTED, message, delay)


def invalid(job: ClaimedJob, message: str) -> Ack:
    """The ack that fails a job whose payload no worker can run."""
    return _ack(job, Ended(), AckKind.FAIL, Reason.INVALID_SPEC, message, 0.0)


def session_of(job: ClaimedJob) -> str:
    """The session id: the user's, else the job's own (H18)."""
    given = job.payload.get("sessionID")
    return given if isinstance(given, str) and given else own_session(job.uid)


def crash_message(ended: Ended) -> str:
    """The message of a run whose executor left no result."""
    if ended.crash:
        return f"{ended.crash}; the run's process ended without a result"
    status = ended.exit_status
    if status is None:
        return "the run's process is gone, and nothing is known of its end"
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        hint = ": the kernel does that when the container runs out of memory" if name == "SIGKILL" else ""
        return f"the run's process was killed by {name}{hint}"
    return f"the run's process ended with status {status} and without a result"


def _of_stop(job: ClaimedJob, ended: Ended, pool: str) -> tuple[AckKind, Reason, str] | None:
    """Kind, reason and message of a run that we stopped; None: we did not."""
    seconds = f"after {ended.duration_seconds:.0f} s"
    match ended.why:
        case Why.CANCEL:
            return AckKind.CANCEL, Reason.CANCELLED, f"stopped on request {seconds}"
        case Why.DEADLINE:
            return AckKind.CANCEL, Reason.DEADLINE_EXCEEDED, f"stopped at its deadline {seconds}"
        case Why.MEMORY:
            return (
                AckKind.RETRY,
                Reason.OUT_OF_MEMORY,
                (
                    f"ended {seconds}: it took more memory than this pool gives to one job; "
                    f"let the agent take less, or raise {both_names('memory_limit_mib', pool=pool)}"
                ),
            )
        case Why.LEASE:
            return (
                AckKind.RELEASE,
                Reason.LEASE_EXPIRED,
                f"ended {seconds}: its worker reached the queue's database no more",
            )
        case Why.TIMEOUT:
            return (
                AckKind.RETRY,
                Reason.ATTEMPT_TIMEOUT,
                f"stopped {seconds}: longer than the {job.attempt_timeout_seconds} s that attemptTimeoutSeconds allows",
            )
        case Why.SUSPEND:
            return AckKind.RELEASE, Reason.SUSPENDED, f"suspended {seconds}"
        case Why.DRAIN:
            return AckKind.RELEASE, Reason.DRAINED, f"given back by a worker that shuts down, {seconds}"
        case _:
            return None


def _of_outcome(job: ClaimedJob, ended: Ended, outcome: Outcome, rng: Random, *, model_health: bool) -> Ack:
    """The ack of a run that ended by itself, by its executor's outcome."""
    delay = outcome.delay_seconds
    verdict = outcome.verdict
    if model_health and outcome.model_answer is ModelAnswer.KEY_REFUSED:
        verdict = Verdict.SNOOZE  # not the job's fault: it waits until the key is corrected
    match verdict:
        case Verdict.COMPLETE:
            kind, seconds = AckKind.COMPLETE, 0.0
        case Verdict.FAIL:
            kind, seconds = AckKind.FAIL, 0.0
        case Verdict.ASK:
            kind, seconds = AckKind.ASK, 0.0
        case Verdict.SNOOZE:
            kind, seconds = AckKind.SNOOZE, snooze(job.snoozes, delay, rng)
        case _:
            kind = AckKind.RETRY
            seconds = delay if delay is not None else backoff(job.retry, job.attempt, rng)
    models = _models(job, outcome, seconds) if model_health else ()
    return _ack(job, ended, kind, outcome.reason, outcome.message, seconds, models)


def _models(job: ClaimedJob, outcome: Outcome, seconds: float) -> tuple[ModelReport, ...]:
    """The reports of how the run's models answered.

    An inline agent has one model, reported by the name in its spec: its jobs wait under that name.
    """
    own = target_of(job.payload) or ""
    inline = own if "inline" in (job.payload.get("agent") or {}) else ""
    answered = (inline,) if inline and outcome.answered else outcome.answered
    reports = [ModelReport(model, ModelAnswer.ANSWERED) for model in answered if model]
    if outcome.model_answer is not None and (failed := inline or outcome.model or own):
        reports = [report for report in reports if report.model != failed]
        # what the provider asks: this job's own row of waits says nothing about other jobs of the model
        asked = outcome.delay_seconds or seconds
        delay = asked if outcome.model_answer is ModelAnswer.RATE_LIMITED else 0.0
        reports.append(ModelReport(failed, outcome.model_answer, outcome.reason, delay))
    return tuple(reports)


def _ack(
    job: ClaimedJob,
    ended: Ended,
    kind: AckKind,
    reason: str,
    message: str,
    delay_seconds: float,
    models: tuple[ModelReport, ...] = (),
) -> Ack:
    outcome = ended.outcome
    return Ack(
        id=job.id,
        token=job.token,
        kind=kind,
        delay_seconds=delay_seconds,
        reason=str(reason),
        message=message,
        result=outcome.result if outcome is not None and kind is AckKind.COMPLETE else None,
        usage=outcome.usage if outcome is not None else ended.usage,
        event_count=outcome.event_count if outcome is not None else ended.event_count,
        log_tail=ended.log_tail,
        log_skipped=ended.log_skipped,
        session_id=session_of(job),
        files=ended.files,
        models=models,
        requests=outcome.requests if outcome is not None and kind is AckKind.ASK else (),
        input_deadline_seconds=input_deadline_seconds(job) if kind is AckKind.ASK else None,
    )
