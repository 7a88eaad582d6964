"""What the runs API asks of the API server: one look at all that decides, and the writes."""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from uuid import UUID

from agentjobs.controller.apiserver.client import JSON, MERGE_PATCH, METADATA_ONLY, ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.resources import (
    API_SERVICES,
    ENDPOINT_SLICES,
    NAMESPACES,
    SECRETS,
    SERVICES,
    Resource,
)
from agentjobs.controller.apiserver.writes import delete_if_unchanged, get_object
from agentjobs.controller.runs_api.certificates import Data
from agentjobs.controller.runs_api.objects import (
    NAME,
    OFF,
    REGISTRATION,
    annotation_of,
    api_service,
    correction,
    has_ready_endpoint,
    leaving_in,
    registered_in,
)
from agentjobs.controller.runs_api.registration import Found, Registered, ServiceRef, is_ours
from agentjobs.controller.runs_api.settings import RunsApiSettings
from agentjobs.values.json import JsonObject
from agentjobs.web.names import GROUP
from agentjobs.web.names import ROOT as DISCOVERY

DISCOVERY_SECONDS = 6.0
"""A discovery document that is not there by then has not come: the API server itself waits for 5 s."""
SECRET_TYPE = "kubernetes.io/tls"


@dataclass(frozen=True, slots=True)
class Look:
    """One look: what decides, and the objects of which it was read."""

    found: Found
    service: JsonObject | None
    namespace: JsonObject | None

    @property
    def annotation(self) -> str:
        """What the Service remembers."""
        return annotation_of(self.service)


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """The Secret as it was read. ``version`` empty: there is none."""

    data: Data | None
    version: str = ""
    type: str = SECRET_TYPE
    """Nobody may change it."""


class RunsApiCluster:
    """The objects of one runs API. Each method raises ApiUnavailable: nothing is known to have happened."""

    def __init__(self, api: ApiServer, settings: RunsApiSettings, installation: UUID | None) -> None:
        self._api = api
        self._settings = settings
        self._installation = installation
        self.service = ServiceRef(settings.namespace, settings.service, settings.port)

    # looks -------------------------------------------------------------------------------------------

    async def look(self, bundle: str) -> Look:
        """Everything that decides. ``bundle``: the caBundle that the APIService should have."""
        if not self._settings.wanted:
            return await self._look_for_what_is_left_over()
        namespace, service, there = await asyncio.gather(
            self.namespace(),
            self._get(SERVICES, self._settings.service),
            get_object(self._api, None, NAME, resource=API_SERVICES),
        )
        leaving = leaving_in(service, namespace, self.service)
        unserved, ready = "", False
        if not leaving:  # then nothing may hold up the withdrawal
            unserved, ready = await asyncio.gather(
                self._unserved() if there.ok else _nothing(), self._has_ready_endpoint()
            )
        registered = registered_in(there.body, unserved) if there.ok else None
        found = Found(self._installation, self.service, ready, bundle, registered, leaving)
        return Look(found, service, namespace)

    async def _look_for_what_is_left_over(self) -> Look:
        """Where it is switched off, nothing but the APIService may be asked for."""
        leaving = "the runs API is switched off"
        return Look(
            Found(self._installation, self.service, False, "", await self.registered(), leaving), None, None
        )

    async def namespace(self, *, cached: bool = False) -> JsonObject | None:
        """The Namespace; ``cached``: as the API server remembers it."""
        path = NAMESPACES.object(None, self._settings.namespace)
        reply = await self._api.request(
            "GET",
            path,
            resource=NAMESPACES.plural,
            accept=METADATA_ONLY,
            params={"resourceVersion": "0"} if cached else None,
        )
        if not reply.ok and not reply.object_missing:
            raise reply.unavailable
        return reply.body if reply.ok else None

    async def registered(self) -> Registered | None:
        """The APIService alone."""
        reply = await get_object(self._api, None, NAME, resource=API_SERVICES)
        return registered_in(reply.body, "") if reply.ok else None

    async def _unserved(self) -> str:
        """Why the discovery document does not come through the API server; empty: it comes."""
        try:
            async with asyncio.timeout(DISCOVERY_SECONDS):
                reply = await self._api.request("GET", DISCOVERY, resource=GROUP, wants_object=False)
        except ApiUnavailable as error:
            return str(error)
        except TimeoutError:
            return f"GET {DISCOVERY}: no answer within {DISCOVERY_SECONDS:.0f} s"
        return "" if reply.ok and reply.body else f"GET {DISCOVERY}: {reply.words}"

    async def _has_ready_endpoint(self) -> bool:
        reply = await self._api.request(
            "GET",
            ENDPOINT_SLICES.collection(self._settings.namespace),
            resource=ENDPOINT_SLICES.plural,
            params={"labelSelector": f"kubernetes.io/service-name={self._settings.service}"},
        )
        if not reply.ok:
            raise reply.unavailable
        return has_ready_endpoint(reply.body.get("items") or ())

    async def _get(self, resource: Resource, name: str) -> JsonObject | None:
        reply = await get_object(self._api, self._settings.namespace, name, resource=resource)
        return reply.body if reply.ok else None

    # writes ------------------------------------------------------------------------------------------

    async def register(self, look: Look) -> bool:
        """Makes the APIService. False: somebody was faster."""
        assert look.namespace is not None
        body = api_service(look.found, look.namespace["metadata"]["uid"])
        reply = await self._api.request(
            "POST", API_SERVICES.collection(), resource=API_SERVICES.plural, body=body, accept=METADATA_ONLY
        )
        if not reply.ok and reply.status != 409:
            raise reply.unavailable
        return reply.ok

    async def correct(self, look: Look, registered: Registered) -> None:
        """Has our APIService say what it should; one that was made anew meanwhile is left to the next look."""
        assert look.namespace is not None
        reply = await self._api.request(
            "PATCH",
            API_SERVICES.object(None, NAME),
            resource=API_SERVICES.plural,
            body=correction(look.found, registered, look.namespace["metadata"]["uid"]),
            content_type=MERGE_PATCH,
            accept=METADATA_ONLY,
        )
        if not reply.ok and reply.status != 409 and not reply.object_missing:
            raise reply.unavailable

    async def withdraw(self, uid: str) -> None:
        """Deletes exactly this APIService, if it is still ours."""

        def still_ours(body: JsonObject) -> bool:
            return is_ours(registered_in(body, ""), self._installation, self.service)

        try:
            await delete_if_unchanged(self._api, None, NAME, uid, still_ours, API_SERVICES)
        except ApiUnavailable as error:
            if error.status != 409:
                raise
            # its status was written in between
            await delete_if_unchanged(self._api, None, NAME, uid, still_ours, API_SERVICES)

    async def remember(self, text: str | None) -> None:
        """Writes the annotation of the Service; None: removes it."""
        reply = await self._api.request(
            "PATCH",
            SERVICES.object(self._settings.namespace, self._settings.service),
            resource=SERVICES.plural,
            body={"metadata": {"annotations": {REGISTRATION: text}}},
            content_type=MERGE_PATCH,
            accept=METADATA_ONLY,
        )
        if not reply.ok and not reply.object_missing:
            raise reply.unavailable

    async def stay_away(self) -> None:
        """Has every operator leave the API unregistered, until somebody removes the annotation."""
        await self.remember(OFF)

    # the Secret --------------------------------------------------------------------------------------

    async def secret(self) -> StoredSecret:
        """The Secret with the serving certificate; what is not base64 counts as missing."""
        body = await self._get(SECRETS, self._settings.secret)
        if body is None:
            return StoredSecret(None)
        version, kind = str(body["metadata"]["resourceVersion"]), str(body.get("type") or SECRET_TYPE)
        return StoredSecret(decoded(body.get("data") or {}), version, kind)

    async def store(self, data: Data, stored: StoredSecret, service: JsonObject) -> bool:
        """Writes the Secret, where it is still as it was read. False: it is not."""
        meta: JsonObject = {
            "name": self._settings.secret,
            "namespace": self._settings.namespace,
            "labels": {
                "app.kubernetes.io/name": "agentjobs",
                "app.kubernetes.io/component": "web",
                "app.kubernetes.io/managed-by": "agentjobs-operator",
            },
            # goes with the Service
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": self.service.name,
                    "uid": service["metadata"]["uid"],
                }
            ],
        }
        body: JsonObject = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": stored.type}
        body["data"] = {key: base64.b64encode(value).decode() for key, value in data.items()}
        if stored.version:
            meta["resourceVersion"] = stored.version
            path, verb = SECRETS.object(self._settings.namespace, self._settings.secret), "PUT"
        else:
            path, verb = SECRETS.collection(self._settings.namespace), "POST"
        reply = await self._api.request(
            verb, path, resource=SECRETS.plural, body=body, content_type=JSON, accept=METADATA_ONLY
        )
        if not reply.ok and reply.status not in (404, 409):
            raise reply.unavailable
        return reply.ok


def decoded(data: JsonObject) -> dict[str, bytes]:
    """A Secret's data; what is not base64 is left out."""
    found = {}
    for key, value in data.items():
        try:
            found[key] = base64.b64decode(str(value), validate=True)
        except (binascii.Error, ValueError):
            continue
    return found


async def _nothing() -> str:
    return ""
