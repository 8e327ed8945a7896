"""`cdc run`: read the source, publish, checkpoint; until a signal says stop."""

from __future__ import annotations

import argparse
import gc
import os

from cdc.checkpoint.file import FileCheckpointStore
from cdc.cli.options import add_env_file
from cdc.encode.envelope import EncoderOptions, EnvelopeEncoder
from cdc.errors import CdcError
from cdc.observe import logs
from cdc.observe.health import HealthServer
from cdc.pipeline.pump import Pump, PumpOptions
from cdc.pipeline.report import Report
from cdc.pipeline.stop import signalled
from cdc.recovery.dead_letters import DeadLetters
from cdc.settings import Settings, load_settings


def configure(parser: argparse.ArgumentParser) -> None:
    add_env_file(parser)


def run(args: argparse.Namespace) -> int:
    settings = load_settings(args.env_file, os.environ)
    engine = settings.engine
    logs.configure(engine.log_level, engine.log_format)
    log = logs.get_logger(name=engine.name)
    try:
        return _run(settings)
    except CdcError as error:
        log.error(str(error), fault=error.fault, action=error.action, exit_code=int(error.exit_code), limited=False)
        return int(error.exit_code)


def _run(settings: Settings) -> int:
    engine = settings.engine
    log = logs.get_logger(name=engine.name)
    stop = signalled()
    store = FileCheckpointStore(engine.checkpoint)
    dead_letters = DeadLetters(engine.dead_letter) if engine.dead_letter else None
    if dead_letters:
        dead_letters.open()
    report = Report(engine.name)
    options = PumpOptions(
        engine.name, settings.digest, engine.checkpoint_interval, engine.retry_limit, engine.shutdown_timeout
    )
    pump = Pump(
        settings.source.open(),
        lambda layout: EnvelopeEncoder(encoder_options(settings), layout),
        settings.sink.open(),
        store,
        options,
        report,
        stop,
        dead_letters,
    )
    log.info(
        "starting",
        snapshot="never: rows that exist already are not sent, only changes from now on",
        tables=_tables(settings),
    )
    server = HealthServer(engine.health_socket, report.health)
    store.acquire()
    try:
        store.check_writable()
        server.open()
        gc.collect()
        gc.freeze()  # what was loaded at the start lives to the end: do not look at it again
        pump.run()
    finally:
        server.close()
        store.release()
    return 0


def _tables(settings: Settings) -> str:
    return ",".join(pattern.text for pattern in settings.engine.tables.patterns)


def encoder_options(settings: Settings) -> EncoderOptions:
    engine = settings.engine
    return EncoderOptions(
        name=engine.name,
        topic=engine.topic,
        message_topic=engine.message_topic,
        gap_topic=engine.gap_topic,
        keys=engine.keys,
        tombstones=engine.tombstones,
        truncate=engine.truncate,
        headers=engine.headers,
        halt_on_unchanged_key_change=engine.on_key_change_unchanged == "halt",
    )
