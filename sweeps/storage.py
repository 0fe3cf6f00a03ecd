"""Where studies live: SQLite for one machine, PostgreSQL for many; and a lock that dies with whoever holds it."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

from titans_seq.errors import DataError, StorageError, TitansSeqWarning, reason, without_secrets

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

T = TypeVar("T")
VARIABLE = "TITANS_SEQ_STORAGE"
"""Environment variable with the URL that is used where none is given; keeps passwords off the command line."""

DEFAULT_FILE = "sweeps.db"
"""SQLite database in the working directory."""

PATIENCE, RETRY = 600.0, 1.0
"""Seconds that a server that is away is waited for, and between two attempts to reach it."""
DISCONNECTED = (OperationalError, InterfaceError, PendingRollbackError)
"""What a server that is away, or goes away, causes."""

GRACE = 3
"""Heartbeats without a sign of life after which a trial is dead."""

WAIT = 60
"""Seconds that a writer waits for another one's SQLite transaction."""


def resolve_url(url: str | None) -> sqlalchemy.URL:
    """Return the URL of a storage, its driver chosen.

    Raises:
        DataError: it is not one of SQLite or PostgreSQL.
    """
    text = url or os.environ.get(VARIABLE)
    if text is None:
        return sqlalchemy.URL.create("sqlite", database=str(Path.cwd() / DEFAULT_FILE))
    try:
        found = sqlalchemy.make_url(text)
    except (SQLAlchemyError, ValueError) as error:
        raise DataError(
            f"storage must be a URL such as sqlite:///{DEFAULT_FILE} or postgresql://..., not {without_secrets(text)}"
        ) from error
    kind = found.get_backend_name()
    if kind == "sqlite":
        if not found.database or found.database == ":memory:" or found.database.startswith("file:"):
            raise DataError("a SQLite storage must be a file, so that workers can share it")
        return found.set(database=str(Path(found.database).resolve()))
    if kind in ("postgresql", "postgres"):
        return found.set(drivername="postgresql+psycopg")
    raise DataError(f"storage must be SQLite or PostgreSQL, not {kind}")


def check_public(url: str | None) -> None:
    """Raise DataError if a URL that was typed, where others can see it, holds a password."""
    if url is not None and resolve_url(url).password is not None:
        raise DataError(
            f"a password on the command line can be seen by others: put the URL into {VARIABLE}, or the password into "
            "PGPASSWORD or ~/.pgpass"
        )


def open_storage(url: str | None, heartbeat: int | None = 10, fresh: bool = False) -> RDBStorage:
    """Return the storage behind a URL.

    Args:
        heartbeat: seconds between two signs of life of a trial; without one for three times as long it is dead. None:
            nobody watches.
        fresh: make the database if it does not exist.

    Raises:
        StorageError: it cannot be reached, or is of another version.
    """
    place = resolve_url(url)
    said = place.render_as_string(hide_password=True)
    sqlite = place.get_backend_name() == "sqlite"
    if sqlite and not fresh and not Path(place.database or "").is_file():
        raise StorageError(f"there is no storage {said}")
    connection: dict[str, Any] = {"timeout": WAIT} if sqlite else {"connect_timeout": 10}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings(), FileLock(f"{place.database}.lock") if sqlite else nullcontext():
            warnings.simplefilter("ignore")  # two processes must not make the same tables
            storage = optuna.storages.RDBStorage(
                place.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": connection, "poolclass": sqlalchemy.NullPool},
                heartbeat_interval=heartbeat,
                grace_period=None if heartbeat is None else GRACE * heartbeat,
            )
        if not sqlite:
            sqlalchemy.event.listen(storage.engine, "connect", _in_utc)
        return storage
    except ImportError as error:
        raise StorageError("PostgreSQL needs a driver: pip install 'titans-seq[postgresql]'") from error
    except (SQLAlchemyError, RuntimeError, OSError) as error:
        raise StorageError(f"cannot use the storage {said}: {reason(error.__cause__ or error)}") from error


def _in_utc(connection: Any, _: Any) -> None:
    """Set the time zone: Optuna keeps signs of life without one, so all sessions must have the same."""
    connection.execute("set time zone 'UTC'")
    connection.commit()


def wait_for_storage(storage: RDBStorage, call: Callable[[], T], on_away: Callable[[], object] | None = None) -> T:
    """Return what a call returns; a PostgreSQL server that is away meanwhile is waited for, and the call made again.

    Args:
        on_away: called whenever it did not answer.
    """
    began = None
    while True:
        try:
            return call()
        except (StorageInternalError, SQLAlchemyError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            if not isinstance(cause, DISCONNECTED) or storage.engine.dialect.name == "sqlite":
                raise
            storage.remove_session()  # it is in the middle of a transaction that will never end
            if began is None:
                began = time.monotonic()
                warnings.warn(
                    f"the storage does not answer ({reason(error.__cause__ or error)}): waiting up to "
                    f"{PATIENCE / 60:.0f} minutes",
                    TitansSeqWarning,
                    stacklevel=2,
                )
            if time.monotonic() - began > PATIENCE:
                raise
            if on_away is not None:
                on_away()
            time.sleep(RETRY)


@contextmanager
def translate_storage_errors() -> Iterator[None]:
    """Turn the loss of a storage into a StorageError."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise StorageError(f"the storage was lost: {reason(error.__cause__ or error)}") from error


@contextmanager
def lock_study(storage: RDBStorage, study: str) -> Iterator[None]:
    """Hold a study alone, among all processes (SQLite) and machines (PostgreSQL); SIGKILL releases it too."""
    engine = storage.engine
    key = hashlib.sha256(study.encode()).digest()
    if engine.dialect.name == "sqlite":
        with FileLock(f"{engine.url.database}.{key.hex()[:8]}.lock"):
            yield
        return
    number = int.from_bytes(key[:8], signed=True)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("select pg_advisory_lock(:key)"), {"key": number})
        try:
            yield
        finally:
            with suppress(*DISCONNECTED):  # a lost connection has released it
                connection.execute(sqlalchemy.text("select pg_advisory_unlock(:key)"), {"key": number})
                connection.rollback()
