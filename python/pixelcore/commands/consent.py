"""The command ``pixelcore consent``: sets and shows ceilings, that is, consents and withdrawals (contract, section 9)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from itertools import islice
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

import click

from .. import consents, datadir
from .._core import Ceilings, CeilingsWriter, consent_keys
from ..errors import SettingsError
from ..observing import log
from ..settings import Settings, variable
from .flags import SettingsCommand, kafka_flag, load, setting_flags
from .progress import progress

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal["uid", "aid"]
MODES = ("individual", "deliverability", "aggregate", "none")
AT_ONCE = 10_000
FLUSH_SECONDS = 30.0


class Scope(NamedTuple):
    """The scope of a consent, and the kind of its ids if the key file states it."""

    name: str
    kind: Kind | None


@click.group()
def consent() -> None:
    """Set and show ceilings: the most that may be kept of a person."""


def _of_whom(command: F) -> F:
    """The flags that name a scope and a person."""
    for flag, metavar, text in (
        ("--aid", "ID", "The person's aid."),
        ("--uid", "ID", "The person's uid."),
        ("--scope", "SCOPE", "The scope of the consent, which several pipelines may share."),
        ("--pipeline", "ID", "The pipeline whose scope is meant."),
    ):
        command = click.option(flag, metavar=metavar, help=text)(command)
    return command


_settings = setting_flags(
    *("data_dir", "keys_file", "consent_topic", "consent_max_age", "topic_replicas", "log_level", "log_format")
)


@consent.command(
    "set", cls=SettingsCommand, short_help="Set the ceiling of one person or many: a consent or a withdrawal."
)
@_of_whom
@click.option("--file", "file", type=click.File("rb"), help="A file with one id per line; - is stdin.")
@click.option(
    "--kind", type=click.Choice(["uid", "aid"]), help="The kind of the ids in the file; by default, the pipeline's."
)
@click.option("--mode", type=click.Choice(MODES), required=True, help="The most that may be kept from now on.")
@_settings
@kafka_flag
def set_(
    *,
    pipeline: str | None,
    scope: str | None,
    uid: str | None,
    aid: str | None,
    file: BinaryIO | None,
    kind: Kind | None,
    mode: str,
    kafka: tuple[str, ...],
    **flags: str | None,
) -> None:
    """Set the ceiling of one person, or of everybody in a file: the most that may be kept of them from now on.

    With Kafka, the record goes to the topic that all gateways follow; without Kafka, to the data directory. It is in force
    within 2 seconds.
    """
    chosen = _load(flags, kafka)
    where = _scope(chosen, pipeline, scope)
    ids: Iterable[bytes]
    if (uid is not None) + (aid is not None) + (file is not None) != 1:
        raise click.UsageError("name the person with one of --uid, --aid and --file")
    if file is not None:
        kind = kind or where.kind
        if kind is None:
            raise click.UsageError("state with --kind whether the file has uids or aids")
        ids = (line for line in (line.strip() for line in file) if line)
    else:
        kind, ids = ("uid", [uid.encode()]) if uid is not None else ("aid", [(aid or "").encode()])
    if where.kind is not None and where.kind != kind:
        raise click.UsageError(f"{pipeline} looks persons up by {where.kind}, not by {kind}")
    if "" in {text.strip() for text in (uid, aid) if text is not None}:
        raise click.UsageError("the id is empty")
    now = datetime.now(timezone.utc)
    text = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    value = json.dumps({"scope": where.name, "mode": mode, "time": text}, separators=(",", ":")).encode()
    secrets = consents.secrets(chosen)
    batches = (consent_keys(secrets, where.name, kind, batch) for batch in _batches(ids))
    written_at = int(now.timestamp() * 1000)
    count = (
        _to_topic(chosen, batches, value, written_at) if chosen.ships else _to_list(chosen, batches, value, written_at)
    )
    if not count:
        raise click.ClickException("the file has no ids")
    to = f"topic {chosen.consent_topic}" if chosen.ships else str(chosen.data_dir)
    click.echo(
        f"{count:,} {kind}{'s' if count > 1 else ''}: {mode} in scope {where.name} since {text}, to {to}", err=True
    )


@consent.command("show", cls=SettingsCommand, short_help="Show the consent list, or a person's ceiling.")
@_of_whom
@_settings
@kafka_flag
def show(
    *,
    pipeline: str | None,
    scope: str | None,
    uid: str | None,
    aid: str | None,
    kafka: tuple[str, ...],
    **flags: str | None,
) -> None:
    """Show the consent list of a data directory: the ceiling of one person with its time and source, or the list as a whole."""
    chosen = _load(flags, kafka)
    datadir.existing(chosen.data_dir, or_coming=not chosen.ships)
    known = consents.ceilings(chosen)
    if uid is None and aid is None:
        if pipeline or scope:
            raise click.UsageError("name the person with --uid or --aid")
        _show_list(chosen, known)
        return
    if uid is not None and aid is not None:
        raise click.UsageError("name the person with one of --uid and --aid")
    where = _scope(chosen, pipeline, scope)
    kind: Kind = "uid" if uid is not None else "aid"
    if where.kind is not None and where.kind != kind:
        raise click.UsageError(f"{pipeline} looks persons up by {where.kind}, not by {kind}")
    state, mode, since = known.ceiling(where.name, kind, (uid if uid is not None else aid or "").encode())
    said = {
        "of": f"{mode} since {_iso(since)}",
        "stale": f"{mode} since {_iso(since)}, limited to the mode of unknown persons: the list is too old",
        "unknown": "no record: the key file's mode of unknown persons applies",
        "unreadable": f"none: the scope has records under a key id without a secret in {variable('consent_secret')}",
    }[state]
    click.echo(f"{where.name}: {said}; from {_source(chosen)}")


def _batches(ids: Iterable[bytes]) -> Iterator[list[bytes]]:
    rest = iter(ids)
    while batch := list(islice(rest, AT_ONCE)):
        yield batch


def _show_list(chosen: Settings, known: Ceilings) -> None:
    """Show the list as a whole, without persons."""
    click.echo(f"list       {known.count:,} records, in {consents.directory(chosen) / consents.LIST}")
    click.echo(f"from       {_source(chosen)}")
    if chosen.ships:
        heard = known.heard
        age = (
            f"whole as of {_iso(heard)}, {max(0.0, time.time() - heard / 1000):,.0f} s ago" if heard else "never whole"
        )
        click.echo(f"heard      {age}")
    for key_id, is_known in known.key_ids:
        note = "" if is_known else f": no secret in {variable('consent_secret')}, so its scopes are limited to none"
        click.echo(f"key id     {key_id}{note}")


def _source(chosen: Settings) -> str:
    return f"topic {chosen.consent_topic}" if chosen.ships else "this data directory"


def _iso(millis: int | None) -> str:
    return datetime.fromtimestamp((millis or 0) / 1000, timezone.utc).isoformat(timespec="milliseconds")[:-6] + "Z"


def _load(flags: dict[str, str | None], kafka: tuple[str, ...]) -> Settings:
    chosen = load(flags, kafka)
    log.configure(chosen)
    return chosen


def _scope(chosen: Settings, pipeline: str | None, scope: str | None) -> Scope:
    """The scope that the flags name. Raises `SettingsError` for a wrong key file."""
    if (pipeline is None) == (scope is None):
        raise click.UsageError("name the scope with one of --pipeline and --scope")
    if scope is not None:
        return Scope(scope, None)
    assert pipeline is not None
    if chosen.keys_file is None:
        return Scope(pipeline, None)
    try:
        lookups = consents.lookups(chosen.keys_file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{variable('keys_file')}: {chosen.keys_file}: {error}") from None
    if pipeline not in lookups:
        raise SettingsError(
            f"{variable('keys_file')}: {chosen.keys_file}: {pipeline} has no consent, so it looks nobody up"
        )
    return Scope(*lookups[pipeline])


def _to_list(chosen: Settings, batches: Iterable[list[bytes]], value: bytes, written_at: int) -> int:
    """Write to the data directory's list, which a running gateway has mapped."""
    datadir.prepare(chosen)
    consents.directory(chosen).mkdir(0o700, exist_ok=True)
    writer, count = CeilingsWriter(consents.directory(chosen)), 0
    for keys in batches:
        malformed, why, _ = writer.apply([(key, value, written_at) for key in keys])
        if malformed:
            raise click.ClickException(f"the record is malformed: {why}")
        count += len(keys)
    writer.sync([])
    return count


def _to_topic(chosen: Settings, batches: Iterable[list[bytes]], value: bytes, written_at: int) -> int:
    """Write to the topic, and wait until the brokers have acknowledged all records. Raises `click.ClickException`."""
    from confluent_kafka import KafkaError, KafkaException, Message

    from ..shipping import kafka
    from ..shipping.advice import advise
    from ..shipping.topics import Topics

    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failures.append(error)

    count = 0
    try:
        Topics(chosen).describe([chosen.consent_topic])
        with progress("consent", 0, "events") as tell:
            producer = kafka.producer(chosen, compression_type="lz4", linger_ms="20", message_timeout_ms="30000")
            for keys in batches:
                for key in keys:
                    while True:
                        try:
                            producer.produce(
                                chosen.consent_topic, value, key, on_delivery=delivered, timestamp=written_at
                            )
                            break
                        except BufferError:
                            producer.poll(0.1)
                producer.poll(0)
                count += len(keys)
                tell(count)
            left = producer.flush(FLUSH_SECONDS)
    except KafkaException as error:
        raise click.ClickException(
            f"{variable('consent_topic')}: {chosen.consent_topic}: {advise(error.args[0])}"
        ) from None
    if failures or left:
        why = advise(failures[0]) if failures else "the brokers did not answer in time"
        raise click.ClickException(
            f"{variable('consent_topic')}: {chosen.consent_topic}: {len(failures) + left:,} of {count:,} records were not"
            f" accepted: {why}; set them again"
        )
    return count
