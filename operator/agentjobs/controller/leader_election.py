"""Leader election: a Lease, through the client library's own election.

Two leaders do no harm, as every write is fenced by uid, revision or generation. So the Lease saves work;
it guards no truth. Still, an operator that loses the Lease stops writing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from kubernetes.aio.client import ApiClient, V1Lease, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection import electionconfig, leaderelection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from agentjobs.api.meta import INSTALLATION_LABEL, WATCHED_NAMESPACES
from agentjobs.controller.apiserver.client import JSON_PATCH, MERGE_PATCH, METADATA_ONLY, ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.resources import LEASES
from agentjobs.controller.config import LeaseSettings
from agentjobs.controller.metrics.counters import TASK_FAILURES
from agentjobs.telemetry.loops import FAILING_SECONDS, LoopHealth

log = logging.getLogger(__name__)
# An error at every try while the API server is away, every 2 s: the lock below says it once per cause.
logging.getLogger(leaderelection.__name__).setLevel(logging.CRITICAL)

FAILURES = Exception
"""Whatever a request for the Lease raises: the client's models refuse what is no Lease in many ways."""


class BoundedLeaseLock(LeaseLock):
    """The library's lock with a time limit, and without its crash on a connection error.

    A request that hangs for longer than the renew deadline would keep this operator leading after another
    took over.
    """

    def __init__(self, settings: LeaseSettings, identity: str, client: ApiClient) -> None:
        super().__init__(settings.name, settings.namespace, identity, client)
        self._limit = settings.retry_seconds * 2
        self._said = ""

    async def get(
        self, name: str, namespace: str
    ) -> tuple[bool, LeaderElectionRecord] | tuple[bool, Exception] | tuple[bool, None]:
        try:
            async with asyncio.timeout(self._limit):
                lease = await self.api_instance.read_namespaced_lease(name, namespace)
                record = self.election_record(lease)
        except FAILURES as error:
            missing = isinstance(error, ApiException) and error.status == 404
            return False, error if missing else self._report("read", error)
        self.lease_reference = lease
        return True, record

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        lease = V1Lease(metadata=V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        return await self._try("created", self._create(namespace, lease))

    async def _create(self, namespace: str, lease: V1Lease) -> bool:
        # not super().create(): it sends pretty=True, which the client's own model refuses (kubernetes 37)
        await self.api_instance.create_namespaced_lease(namespace, lease)
        return True

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        return await self._try("updated", super().update(name, namespace, updated_record))

    async def _try(self, what: str, request: Awaitable[bool]) -> bool:
        try:
            async with asyncio.timeout(self._limit):
                return await request
        except FAILURES as error:
            self._report(what, error)
            return False

    def _report(self, what: str, error: Exception) -> ApiException:
        text = f"{type(error).__name__}: {str(error)[:200]}"
        if text != self._said:
            log.warning("the lease %s/%s cannot be %s: %s", self.namespace, self.name, what, text)
            self._said = text
        return ApiException(status=0, reason=text)


@dataclass(slots=True)
class Leadership:
    """Runs ``lead`` while this process holds the lease; ``leading`` tells the health endpoint."""

    api: ApiServer
    settings: LeaseSettings | None
    identity: str
    lead: Callable[[], Awaitable[None]]
    leading: bool = False
    health: LoopHealth = field(default_factory=lambda: LoopHealth("lead"))
    """Failing while terms end by an exception before they are old enough to be well."""
    _task: asyncio.Task[None] | None = field(default=None)

    async def run(self) -> None:
        """Runs until cancelled; then gives the lease back, so that another operator takes over within
        seconds."""
        if self.settings is None:
            await self._lead()
            return
        while True:
            client = await self._client()
            lock = BoundedLeaseLock(self.settings, self.identity, client)
            election = leaderelection.LeaderElection(
                electionconfig.Config(
                    lock,
                    lease_duration=self.settings.duration_seconds,
                    renew_deadline=self.settings.renew_deadline_seconds,
                    retry_period=self.settings.retry_seconds,
                    onstarted_leading=self._started,
                    onstopped_leading=_nothing,
                )
            )
            try:
                await election.run()
                log.warning("the lease %s is lost: writing stops", self.settings.name)
            except Exception:
                log.exception("the election failed; starting it again")
                await asyncio.sleep(self.settings.retry_seconds)
            finally:
                await self._stop()
                with contextlib.suppress(Exception):
                    await client.close()  # type: ignore[no-untyped-call]
            self.api.meter.add(TASK_FAILURES, part="lease")

    async def _client(self) -> ApiClient:
        while True:
            try:
                return ApiClient(configuration=await self.api.configuration())
            except Exception as error:
                log.warning("the lease waits for credentials of the API server: %s", error)
                await asyncio.sleep(2)

    async def _started(self) -> None:
        log.info("leading", extra={"identity": self.identity})
        self._task = asyncio.current_task()
        await self._lead()

    async def _lead(self) -> None:
        """Leads, and starts again what fails; the lease goes on being renewed meanwhile."""
        self.leading = True
        try:
            while True:
                lasts = asyncio.get_running_loop().call_later(FAILING_SECONDS, self.health.succeeded)
                try:
                    await self.lead()
                except Exception as error:
                    log.exception("a part of the operator failed; starting again")
                    self.health.failed(error)
                    self.api.meter.add(TASK_FAILURES, part="lead")
                finally:
                    lasts.cancel()
                await asyncio.sleep(1)
        finally:
            self.leading = False
            self.health.succeeded()

    async def tell(self, installation: UUID, namespaces: Sequence[str]) -> None:
        """Writes to the Lease for which installation this operator works, and which namespaces it watches (none: all), so that people
        find it. A refusal changes nothing."""
        if self.settings is None:
            return
        try:
            reply = await self.api.request(
                "PATCH",
                LEASES.object(self.settings.namespace, self.settings.name),
                resource=LEASES.plural,
                body={
                    "metadata": {
                        "labels": {INSTALLATION_LABEL: str(installation)},
                        "annotations": {WATCHED_NAMESPACES: ",".join(namespaces)},
                    }
                },
                content_type=MERGE_PATCH,
                accept=METADATA_ONLY,
            )
        except ApiUnavailable as error:
            log.info("the lease does not say what this operator watches: %s", error)
            return
        if reply.status != 200:
            log.info("the lease does not say what this operator watches: the answer is %s", reply.status)

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=10)
            await self._release()

    async def _release(self) -> None:
        """Empties the holder, if it is still us: the next in line need not wait for the lease to run out."""
        assert self.settings is not None
        with contextlib.suppress(ApiUnavailable):
            await self.api.request(
                "PATCH",
                LEASES.object(self.settings.namespace, self.settings.name),
                resource=LEASES.plural,
                body=[
                    {"op": "test", "path": "/spec/holderIdentity", "value": self.identity},
                    {"op": "replace", "path": "/spec/holderIdentity", "value": ""},
                ],
                content_type=JSON_PATCH,
                accept=METADATA_ONLY,
            )


async def _nothing() -> None:
    return None
