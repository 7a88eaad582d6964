"""May this user do that? One function, asked for every request and for each further right that an answer needs."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from agentjobs.web.identity import Door, Identity
from agentjobs.web.status import ApiError
from agentjobs.web.target import Target

KEPT_SECONDS = 10.0
"""How long an answer of the API server holds, as long as kube-apiserver's own cache of webhook answers at most."""
KEPT = 4096
READING = frozenset({"get", "list", "watch"})
Review = Callable[[Identity, Target], Awaitable[bool]]
"""Asks the API server by a SubjectAccessReview. Raises ApiError (503) where no answer comes."""


async def everything(_: Identity, __: Target) -> bool:
    """The review where there is no cluster: whoever is let in may read all."""
    return True


class Authoriser:
    """Answers by door. The API server is asked for rights, at the aggregated door for those beyond the path's own; its answers
    are kept for ``KEPT_SECONDS``."""

    def __init__(self, review: Review | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._review, self._clock = review, clock
        self._kept: OrderedDict[tuple[object, ...], tuple[float, bool]] = OrderedDict()

    async def require(self, identity: Identity, wanted: Target, *, path: Target | None = None) -> None:
        """Raises ApiError (403) where the user may not.

        :param path: what the request's own path asks for, which kube-apiserver has authorised at the aggregated door.
        """
        if not await self.allows(identity, wanted, path=path):
            where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
            shut = wanted.verb not in READING and not identity.may_act
            raise ApiError(
                403,
                f'User "{identity.user}" cannot {wanted.verb} resource "{wanted.resource}" {where}'
                + (": this door is read-only; act by kubectl agentjobs" if shut else ""),
            )

    async def allows(self, identity: Identity, wanted: Target, *, path: Target | None = None) -> bool:
        """Whether the user may."""
        match identity.door:
            case Door.ADMINISTRATOR:
                return True
            case Door.TOKEN:
                return wanted.verb in READING
            case Door.PROXY:
                return wanted.verb in READING and await self._reviewed(identity, wanted)
            case Door.AGGREGATED:
                return wanted == path or await self._reviewed(identity, wanted)

    async def _reviewed(self, identity: Identity, wanted: Target) -> bool:
        if self._review is None:
            return False
        key = (identity.user, identity.groups, tuple(sorted(identity.extra.items())), wanted)
        now = self._clock()
        kept = self._kept.get(key)
        if kept is not None and kept[0] > now:
            return kept[1]
        answer = await self._review(identity, wanted)
        self._kept[key] = (now + KEPT_SECONDS, answer)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return answer
