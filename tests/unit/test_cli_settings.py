"""The command line's frame, `cdc settings` and `cdc version`; and that the generated files are the code's own words."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import fastjsonschema
import pytest

import cdc
from cdc import build, cli
from cdc.cli import settings as settings_command
from cdc.cli import version as version_command
from cdc.errors import DataError, SettingsError
from cdc.model.finding import Finding, Severity
from cdc.model.selection import parse_selection
from cdc.observe.scrub import register_secret
from cdc.settings import EngineSettings, InstalledConnectors, load_settings
from cdc.settings.env_file import parse_env
from cdc.settings.pages import Section, env_page, json_schema_page, markdown_page, sections, table_page
from cdc.settings.variable import Variable

ROOT = Path(__file__).parents[2]


def declared() -> InstalledConnectors:
    """Our own connectors as pyproject.toml names them: a third party's in the environment must not change the pages."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    made = {group: tuple(EntryPoint(n, v, group) for n, v in entries.items()) for group, entries in groups.items()}
    return InstalledConnectors(made["cdc.sources"], made["cdc.sinks"])


@pytest.fixture(scope="module")
def pages() -> list[Section]:
    connectors, troubles = declared().all()
    assert not troubles
    return sections(connectors)


@pytest.fixture(scope="module")
def variables(pages: list[Section]) -> list[Variable]:
    return [variable for page in pages for variable in page.variables]


# -- pages


@pytest.mark.parametrize(
    ("file", "page"),
    [
        ("config/example.env", env_page),
        ("docs/settings.md", markdown_page),
        ("config/schema/settings.json", json_schema_page),
    ],
)
def test_generated_files_are_equal_to_the_code(pages: list[Section], file: str, page: Any) -> None:
    assert (ROOT / file).read_text() == page(pages), f"`make generate` writes {file} again"


def test_every_variable_is_described(variables: list[Variable]) -> None:
    for variable in variables:
        assert variable.description.endswith("."), variable.name
        assert not variable.required or variable.example, variable.name


def test_every_page_has_every_variable(pages: list[Section], variables: list[Variable]) -> None:
    for page in (table_page, env_page, markdown_page, json_schema_page):
        text = page(pages)
        assert all(variable.name in text for variable in variables)


def test_the_template_is_a_valid_env_file_also_with_all_awake(pages: list[Section], variables: list[Variable]) -> None:
    asleep = parse_env(env_page(pages), "template")
    assert sorted(asleep) == sorted(v.name for v in variables if v.required)
    lines = env_page(pages).split("\n")
    awake = parse_env(
        "\n".join(line.removeprefix("#") if line.startswith("#CDC_") else line for line in lines), "template"
    )
    engine = EngineSettings.from_variables(awake)
    assert engine == EngineSettings.from_variables(asleep)
    assert engine.tables == parse_selection("public.orders,inventory.*")


def test_the_template_can_be_started_with() -> None:
    settings = load_settings(ROOT / "config/example.env", {}, declared())
    assert (settings.source.connector.name, settings.sink.connector.name) == ("postgres", "kafka")


def test_the_schema_takes_the_template(pages: list[Section]) -> None:
    validate = fastjsonschema.compile(
        {**json.loads(json_schema_page(pages)), "$schema": "http://json-schema.org/draft-07/schema"}
    )
    given = parse_env(env_page(pages), "template")
    validate(given)
    for wrong in ({"CDC_MEMRY": "1"}, {"CDC_TRUNCATE": "perhaps"}, {"CDC_MEMORY": 1}):
        with pytest.raises(fastjsonschema.JsonSchemaException):
            validate({**given, **wrong})


def test_a_secret_is_listed_with_its_file(pages: list[Section]) -> None:
    assert "CDC_SOURCE_PASSWORD[_FILE]" in table_page(pages)
    assert "#CDC_SOURCE_PASSWORD_FILE=" in env_page(pages)
    assert "`CDC_SOURCE_PASSWORD_FILE`" in markdown_page(pages)


def test_the_table_fits_the_terminal(pages: list[Section], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert max(map(len, table_page(pages).split("\n"))) <= 140


def test_the_command_prints_a_page_and_tells_who_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = EntryPoint("gone", "cdc_gone.connector:CONNECTOR", "cdc.sinks")
    monkeypatch.setattr(settings_command, "installed_connectors", lambda: InstalledConnectors((), (broken,)))
    assert cli.main(["settings", "--format", "env"]) == 0
    out, err = capsys.readouterr()
    assert "CDC_NAME=shop" in out
    assert err.startswith("cdc settings: a connector is left out: the connector gone cannot be loaded")


# -- the frame


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `cdc imagined` do what is asked."""

    def _command(action: Any) -> None:
        module = ModuleType("cdc_imagined_command")
        module.__dict__.update(configure=lambda parser: None, run=lambda args: action())
        monkeypatch.setitem(sys.modules, "cdc_imagined_command", module)
        monkeypatch.setitem(cli.COMMANDS, "imagined", ("cdc_imagined_command", "do as asked"))

    return _command


def raising(error: BaseException) -> Any:
    def _raise() -> int:
        raise error

    return _raise


def test_a_commands_result_is_the_exit_code(command: Any) -> None:
    command(lambda: 5)
    assert cli.main(["imagined"]) == 5


def test_our_errors_are_one_message_with_what_to_do(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command(raising(DataError("table public.t: no key", action="Give it a key.")))
    assert cli.main(["imagined"]) == 4
    assert capsys.readouterr().err == "cdc imagined: table public.t: no key\nGive it a key.\n"


def test_several_lines_stand_below_each_other(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command(raising(SettingsError("CDC_A: is unknown\nCDC_B: is unknown")))
    assert cli.main(["imagined"]) == 2
    assert capsys.readouterr().err == "cdc imagined:\n  CDC_A: is unknown\n  CDC_B: is unknown\n"


def test_a_secret_in_one_of_our_errors_is_scrubbed(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    register_secret("tr0ubador-and-3")
    command(raising(SettingsError("the server says tr0ubador-and-3")))
    cli.main(["imagined"])
    assert "tr0ubador" not in capsys.readouterr().err


def test_a_bug_tells_types_and_places_only(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def bug() -> int:
        row = "a row's value"
        try:
            return int(row)
        except ValueError as error:
            raise RuntimeError(f"failed on {row}") from error

    command(bug)
    assert cli.main(["imagined"]) == 70
    err = capsys.readouterr().err
    assert err.startswith("cdc imagined: bug: ")
    assert "RuntimeError" in err
    assert "ValueError" in err
    assert "test_cli_settings.py:" in err
    assert "row's value" not in err


def test_an_interrupt(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command(raising(KeyboardInterrupt()))
    assert cli.main(["imagined"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("argv", "code"), [(["--help"], 0), (["--version"], 0), (["nope"], 2), ([], 2), (["settings", "--nope"], 2)]
)
def test_usage(argv: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert out if code == 0 else err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"\n    {name}" in text for name in cli.COMMANDS)


def in_a_process(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=False, capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_a_command_that_is_not_called_is_not_loaded() -> None:
    code = (
        "import sys, cdc.cli; cdc.cli.main(['version']);"
        "loaded = [m for m in sys.modules if m.startswith('cdc.cli.')];"
        "assert loaded == ['cdc.cli.version'], loaded"
    )
    assert in_a_process(sys.executable, "-c", code).returncode == 0


def test_the_settings_room_is_cheap_for_a_probe() -> None:
    code = "import sys, cdc.settings.variables, cdc.settings.values; assert 'pydantic' not in sys.modules"
    assert in_a_process(sys.executable, "-c", code).returncode == 0


def test_a_reader_that_leaves_is_no_bug() -> None:
    script = f"{sys.executable} -m cdc settings --format markdown | head -c 10"
    done = in_a_process("bash", "-c", script)
    assert done.stdout == "# Settings"
    assert "bug" not in done.stderr
    assert "Exception" not in done.stderr


def test_python_m_cdc_tells_wrong_settings_and_no_traceback() -> None:
    done = in_a_process(sys.executable, "-m", "cdc", "run", "--env-file", "/absent/file")
    assert done.returncode == 2
    assert (
        done.stderr
        == "cdc run: env file /absent/file: cannot be read: No such file or directory\nCorrect the env file.\n"
    )


# -- the version and the build


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    slow = Finding(Severity.WARNING, "driver", "1.0, python", "Install the binary one.")
    monkeypatch.setattr(version_command, "drivers", lambda: iter([slow]))
    assert cli.main(["version"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"cdc {cdc.__version__}"
    assert lines[1].startswith("python 3.")
    assert lines[2] == f"build={build.build_name()}"
    assert lines[-1] == "driver 1.0, python"
    assert err == "warning: driver: Install the binary one.\n"


def test_the_packages_of_a_connector_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        version_command, "requires", lambda name: ['pydantic>=2 ; extra == "x"', 'absent-thing; extra == "x"', "orjson"]
    )
    assert [finding.subject for finding in version_command._packages_of("x")] == ["pydantic"]


def test_hot_modules_are_those_with_a_header() -> None:
    headers = {path.stem for path in (ROOT / "cdc").rglob("*.pxd")}
    found = {module.name.rpartition(".")[2] for module in build.hot_modules() if module.name.startswith("cdc.")}
    assert found == headers - {"__init__"}
    assert all(Path(module.file).exists() for module in build.hot_modules())
    kinds = {module.compiled for module in build.hot_modules()}
    assert build.build_name() == {"{True}": "compiled", "{False}": "interpreted"}.get(str(kinds), build.build_name())
