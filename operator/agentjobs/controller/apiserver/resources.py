"""The resources that the operator reads and writes, and their paths on the API server."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "agentjobs.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API server names it."""

    plural: str
    kind: str
    group: str = GROUP
    version: str = VERSION

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def collection(self, namespace: str | None = None) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" if namespace else f"{root}/{self.plural}"

    def object(self, namespace: str | None, name: str, subresource: str = "") -> str:
        path = f"{self.collection(namespace)}/{name}"
        return f"{path}/{subresource}" if subresource else path


AGENT_JOBS = Resource("agentjobs", "AgentJob")
SCHEDULED_AGENT_JOBS = Resource("scheduledagentjobs", "ScheduledAgentJob")
EVENTS = Resource("events", "Event", group="", version="v1")
NAMESPACES = Resource("namespaces", "Namespace", group="", version="v1")
LEASES = Resource("leases", "Lease", group="coordination.k8s.io", version="v1")
SERVICES = Resource("services", "Service", group="", version="v1")
CONFIG_MAPS = Resource("configmaps", "ConfigMap", group="", version="v1")
SECRETS = Resource("secrets", "Secret", group="", version="v1")
ENDPOINT_SLICES = Resource("endpointslices", "EndpointSlice", group="discovery.k8s.io", version="v1")
API_SERVICES = Resource("apiservices", "APIService", group="apiregistration.k8s.io", version="v1")
