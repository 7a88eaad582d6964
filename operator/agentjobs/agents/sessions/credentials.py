"""Credentials that tools have got for a user: sealed by the pool's keys, and kept in Postgres over runs.

They are nowhere in clear but in the run's own memory: not in the session, in its state, in a message or in a log. A run that
saves and loads none costs no statement and reads no key. Runs in the executor.
"""

from __future__ import annotations

import logging
from pathlib import Path

from cryptography.fernet import InvalidToken
from google.adk.agents.callback_context import CallbackContext
from google.adk.auth.auth_credential import AuthCredential
from google.adk.auth.auth_tool import AuthConfig
from google.adk.auth.credential_service.base_credential_service import BaseCredentialService

from agentjobs.agents.sessions import credential_sql as sql
from agentjobs.agents.sessions.connection import fetch
from agentjobs.agents.sessions.fence import hold
from agentjobs.agents.sessions.home import HomeStore
from agentjobs.database.connection import Connection
from agentjobs.values.sealing import keys_of

log = logging.getLogger(__name__)

CREDENTIAL_BYTES = 64 << 10
"""The longest credential, as JSON."""


class SealedCredentials(BaseCredentialService):
    """The credential service of one run. As ADK's own in memory, it keeps them by app and user."""

    def __init__(self, store: HomeStore, app_name: str, key_file: Path) -> None:
        """
        :param app_name: of the job, with its namespace: that of the agent that a tool runs has none.
        :param key_file: the pool's keys, see ``keys_of``; read at each use, so that a new one is taken up.
        """
        super().__init__()
        self._store = store
        self._app_name = app_name
        self._key_file = key_file

    async def load_credential(
        self, auth_config: AuthConfig, callback_context: CallbackContext
    ) -> AuthCredential | None:
        values = self._key(auth_config, callback_context)
        rows = await self._store.read(lambda connection: fetch(connection, sql.LOAD, values))
        if not rows:
            return None
        try:
            opened = keys_of(self._key_file).decrypt(bytes(rows[0][0]))
        except InvalidToken:
            log.warning(
                "a credential was sealed with a key that is not in %s: it counts as none", self._key_file
            )
            return None
        return AuthCredential.model_validate_json(opened)

    async def save_credential(self, auth_config: AuthConfig, callback_context: CallbackContext) -> None:
        """Saves the exchanged credential of ``auth_config`` in the place of an earlier one.

        :raises SessionFenced: a later run has the session; nothing was written.
        """
        values = self._key(auth_config, callback_context)
        credential = auth_config.exchanged_auth_credential
        if credential is not None:
            opened = credential.model_dump_json(exclude_none=True).encode()
            if len(opened) > CREDENTIAL_BYTES:
                raise ValueError(
                    f"A credential has {len(opened)} bytes; at most {CREDENTIAL_BYTES} are kept. It was not saved."
                )
            values["sealed"] = keys_of(self._key_file).encrypt(opened)

        async def save(connection: Connection) -> None:
            async with connection.transaction():
                await hold(connection)
                await connection.execute(sql.FORGET if credential is None else sql.SAVE, values)

        await self._store.write(save)

    def _key(self, auth_config: AuthConfig, context: CallbackContext) -> dict[str, str | bytes]:
        invocation = context._invocation_context
        name = auth_config.credential_key or ""
        if invocation.app_name != self._app_name:
            name = f"{invocation.app_name}/{name}"
        return {"app_name": self._app_name, "user_id": invocation.user_id, "name": name}
