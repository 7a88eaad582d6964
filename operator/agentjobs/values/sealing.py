"""The keys that seal credentials at rest, as a Secret brings them into a file."""

from __future__ import annotations

from pathlib import Path

from cryptography.fernet import Fernet, MultiFernet

from agentjobs.values.setting_names import variable


def keys_of(file: Path) -> MultiFernet:
    """The keys of a file, one a line: the first seals, each opens.

    :raises ValueError: the file cannot be read, or has no key or something else. The message holds no key.
    """
    try:
        lines = file.read_text().split()
        if lines:
            return MultiFernet([Fernet(line) for line in lines])
        problem = "it is empty"
    except OSError as error:
        problem = str(error.strerror or error)
    except ValueError:
        problem = "not each of its lines is a key"
    raise ValueError(
        f"{variable('credential_key_file')} {file}: {problem}. Wanted is a line of 32 random bytes in URL-safe base64, as made by: "
        f"head -c 32 /dev/urandom | base64 | tr -- +/ -_"
    )
