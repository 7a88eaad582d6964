"""What the runs API asks the API server: who the front proxy is, and what a user may do."""

from __future__ import annotations

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.web.front_proxy import CONFIG_MAP, FrontProxy, FrontProxyUnknown, front_proxy_of
from agentjobs.web.identity import Identity
from agentjobs.web.names import GROUP
from agentjobs.web.status import ApiError
from agentjobs.web.target import Target

REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


async def read_front_proxy(api: ApiServer) -> FrontProxy:
    """The front proxy as the cluster names it now. Raises FrontProxyUnknown, ApiUnavailable."""
    reply = await api.request("GET", CONFIG_MAP, resource="configmaps")
    if reply.ok:
        return front_proxy_of(reply.body)
    if reply.busy:
        raise reply.unavailable
    raise FrontProxyUnknown(
        f"ConfigMap kube-system/extension-apiserver-authentication cannot be read: {reply.words}. A RoleBinding in kube-system "
        "to the Role extension-apiserver-authentication-reader grants it"
    )


async def reviewed(api: ApiServer, identity: Identity, wanted: Target) -> bool:
    """Whether RBAC (or whatever the cluster authorises by) lets the user do that. Raises ApiError (503)."""
    resource, _, subresource = wanted.resource.partition("/")
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": identity.user,
            "groups": list(identity.groups),
            "extra": {key: list(values) for key, values in identity.extra.items()},
            "resourceAttributes": {
                "group": GROUP,
                "verb": wanted.verb,
                "resource": resource,
                "subresource": subresource,
                "namespace": wanted.namespace or "",
                "name": wanted.name or "",
            },
        },
    }
    try:
        reply = await api.request("POST", REVIEWS, resource="subjectaccessreviews", body=body)
    except ApiUnavailable as error:
        raise ApiError(503, f"the right cannot be reviewed: {error}", retry_after_seconds=5) from error
    if not reply.ok:
        raise ApiError(503, f"the right cannot be reviewed: {reply.words}", retry_after_seconds=5)
    status = reply.body.get("status")
    return isinstance(status, dict) and status.get("allowed") is True and status.get("denied") is not True
