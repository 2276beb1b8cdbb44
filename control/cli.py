"""The command ``tezcat``: arguments in, one call into the package that does the work, results and an exit code out.

Every command takes ``--config``, ``--json``, ``--log-level`` and ``--help`` with an example. What does the work is
imported when a command runs, so that ``--help`` is instant. ``control.outcome`` maps errors to exit codes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from capture.model import BadInput, Lsn, Refused, TableName, parse_identifiers
from control import fork_server, outcome, results
from control.logs import LogLevel
from control.outcome import ExitCode, Terminal

if TYPE_CHECKING:
    from control.settings import Settings

Config: TypeAlias = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The settings file.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Level: TypeAlias = Annotated[
    LogLevel,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        help="How much to log, as JSON on stderr: debug, info, warning, error; on a terminal, warnings in words.",
    ),
]
Source: TypeAlias = Annotated[
    str | None,
    typer.Option("--source", "-s", metavar="NAME", help="The production environment; needed if there are several."),
]
Target: TypeAlias = Annotated[str, typer.Option("--target", "-t", metavar="NAME", help="The environment of the copy.")]
Production: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--environment", "-e", metavar="NAME", help="The production environment; needed if there are several."
    ),
]
AcceptWritable: TypeAlias = Annotated[
    bool, typer.Option("--accept-writable-role", help="Go on although the role on production could write.")
]

_CONFIG = Path("tezcat.yaml")
_LEVEL = LogLevel.WARNING

app = typer.Typer(
    name="tezcat",
    help="Keeps test, training and development databases fresh, masked copies of a production PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Try it on two embedded servers: tezcat demo",
)
source_app = typer.Typer(help="The production side: what its DBA runs, and whether all is ready.", no_args_is_help=True)
rules_app = typer.Typer(help="The rules that decide about every column.", no_args_is_help=True)
app.add_typer(source_app, name="source")
app.add_typer(rules_app, name="rules")


def main() -> None:
    """Run the command line."""
    app()


def _print_version(is_asked: bool) -> None:
    if is_asked:
        import importlib.metadata

        typer.echo(f"tezcat {importlib.metadata.version('tezcat')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself; without one there is nothing to do before a subcommand."""


# -------------------------------------------------------------------------------------------------- beginning


@app.command(
    epilog="Example: tezcat init --production-url env:PRODUCTION_URL "
    "--target test=test=postgresql://tezcat@localhost:5433/test"
)
def init(
    production_url: Annotated[
        str | None, typer.Option(metavar="URL", help="postgresql://... or env:NAME; asked for if not given.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TYPE=URL", help="A copy, of type test, training or development; repeatable."),
    ] = None,
    config: Config = _CONFIG,
    as_json: Json = False,
    log_level: Level = _LEVEL,
) -> None:
    """Write tezcat.yaml and a key file; overwrites neither."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        from control import init as beginning

        answers = beginning.Answers.parse(production_url, target or [])
        if answers is None:
            answers = beginning.ask(terminal)
        written = beginning.write(config, answers)
        if as_json:
            terminal.result({"config": str(written.config), "key": str(written.key)})
        else:
            terminal.out.print(written.next_steps, markup=False)


@app.command(epilog="Example: tezcat demo --serve")
def demo(
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep the servers and the stream running until Ctrl-C.")
    ] = False,
    as_json: Json = False,
    log_level: Level = _LEVEL,
) -> None:
    """Show all of it on two embedded PostgreSQL servers; leaves nothing behind."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        from control.demo import run

        run.demo(terminal, serve=serve)


# ----------------------------------------------------------------------------------------------- the production side


@source_app.command("sql", epilog="Example: tezcat source sql --environment production | psql -v ON_ERROR_STOP=1 -f -")
def source_sql(
    environment: Production = None, config: Config = _CONFIG, as_json: Json = False, log_level: Level = _LEVEL
) -> None:
    """Print what the DBA of production runs once: role, grants, publications. Executes nothing."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        settings = _settings(config)
        from control import source_commands

        sql = outcome.run(source_commands.dba_sql(settings, environment))
        if as_json:
            terminal.result({"sql": sql})
        else:
            typer.echo(sql, nl=False)


@source_app.command("check", epilog="Example: tezcat source check --environment production")
def source_check(
    environment: Production = None, config: Config = _CONFIG, as_json: Json = False, log_level: Level = _LEVEL
) -> None:
    """Check that production is ready to be read; one line per check, with what to do about it."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        settings = _settings(config)
        from control import source_commands

        checks = outcome.run(source_commands.check(settings, environment))
        results.show_checks(terminal, checks)
        if any(each.status == "problem" for each in checks):
            raise typer.Exit(ExitCode.PROBLEM)


# --------------------------------------------------------------------------------------------------------- masks


@app.command("masks", epilog="Example: tezcat masks email")
def masks(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One mask to explain; all are listed without.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the manual's page of all masks.")] = False,
    as_json: Json = False,
    log_level: Level = _LEVEL,
) -> None:
    """List the masks, or explain one: types, parameters, what it promises, and examples masked before your eyes."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        from control import masks_command

        masks_command.show(terminal, name, as_markdown=markdown)


# --------------------------------------------------------------------------------------------------------- rules


@rules_app.command("suggest", epilog="Example: tezcat rules suggest --source production -o rules.yaml")
def rules_suggest(
    source: Source = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write; else the settings' rules file."),
    ] = None,
    accept_writable_role: AcceptWritable = False,
    config: Config = _CONFIG,
    as_json: Json = False,
    log_level: Level = _LEVEL,
) -> None:
    """Look at names, types and sampled values, and write a rules file; decisions that it holds are kept."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        settings = _settings(config)
        from control import rules_commands

        suggested = outcome.run(
            rules_commands.suggest(
                settings, source, output, accept_writable_role=accept_writable_role, report=terminal.report
            )
        )
        results.show_suggested(terminal, suggested)


@rules_app.command("check", epilog="Example: tezcat rules check")
def rules_check(
    source: Source = None,
    samples: Annotated[
        bool,
        typer.Option("--samples/--no-samples", help="Judge them on rows of production too, or on its schema only."),
    ] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if there are risks.")] = False,
    accept_writable_role: AcceptWritable = False,
    config: Config = _CONFIG,
    as_json: Json = False,
    log_level: Level = _LEVEL,
) -> None:
    """Check the rules against production: what is undecided (exit code 1), unknown or unsafe (2), or a risk."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        settings = _settings(config)
        from control import rules_commands

        findings = outcome.run(
            rules_commands.check(
                settings, source, samples=samples, accept_writable_role=accept_writable_role, report=terminal.report
            )
        )
        results.show_findings(terminal, findings)
        error = rules_commands.judge(findings, strict=strict)
        if error is not None:
            failure = outcome.explain(error)
            outcome.tell(terminal, failure)
            raise typer.Exit(failure.code)


@rules_app.command("preview", epilog="Example: tezcat rules preview --table public.guests --columns email,phone")
def rules_preview(
    table: Annotated[str, typer.Option("--table", metavar="TABLE", help="The table, as schema.table.")],
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=200, help="How many rows.")] = 5,
    columns: Annotated[
        str,
        typer.Option("--columns", metavar="A,B", help="The columns to show whole, as SQL writes them; else all."),
    ] = "",
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", metavar="NAME", help="Whose key to mask with; needed if there are several."),
    ] = None,
    source: Source = None,
    accept_writable_role: AcceptWritable = False,
    config: Config = _CONFIG,
    log_level: Level = _LEVEL,
) -> None:
    """Show a few of production's rows beside their masked form, on this terminal only: it refuses to write to a file
    or a pipe (exit code 3)."""
    with outcome.running(as_json=False, log_level=log_level) as terminal:
        if not sys.stdout.isatty():
            raise Refused(
                "a preview shows production's own values, so it is for a terminal only.",
                hint="Run it without redirecting its output.",
            )
        settings = _settings(config)
        from control import rules_preview as command
        from control import rules_results

        found = outcome.run(
            command.preview(
                settings,
                source,
                target,
                _table(table),
                limit=limit,
                columns=_columns(columns),
                accept_writable_role=accept_writable_role,
            )
        )
        rules_results.show_preview(terminal, found)


@rules_app.command("explain", epilog="Example: tezcat rules explain public.guests.email")
def rules_explain(
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="A column (schema.table.column), a table, or a domain that is declared."),
    ],
    source: Source = None,
    accept_writable_role: AcceptWritable = False,
    config: Config = _CONFIG,
    as_json: Json = False,
    log_level: Level = _LEVEL,
) -> None:
    """Say why a column is masked as it is: which rule, from where, what it is joined with, what binds it."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        settings = _settings(config)
        from control import rules_commands, rules_results

        explained = outcome.run(
            rules_commands.explain(settings, source, what, accept_writable_role=accept_writable_role)
        )
        rules_results.show_explained(terminal, explained)


@rules_app.command("import", epilog="Example: tezcat rules import greenmask.yml --from greenmask -o rules.yaml")
def rules_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The other tool's file, of YAML or SQL; - is stdin.")],
    tool: Annotated[
        str, typer.Option("--from", metavar="TOOL", help="greenmask, or anon (a dump with SECURITY LABEL).")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write; else the settings' rules file."),
    ] = None,
    config: Config = _CONFIG,
    as_json: Json = False,
    log_level: Level = _LEVEL,
) -> None:
    """Convert rules of Greenmask or PostgreSQL Anonymizer, and list what has no equal; decisions in the file win."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        from control import rules_import as command

        if tool not in list(command.Tool):
            raise BadInput(f"rules of {tool} cannot be imported.", hint=f"Known are: {', '.join(command.Tool)}.")
        path = output if output is not None else _settings(config).rules
        results.show_imported(terminal, command.import_rules(file, command.Tool(tool), path))


@rules_app.command("diff", epilog="Example: tezcat rules diff --target test")
def rules_diff(
    target: Target,
    accept_writable_role: AcceptWritable = False,
    config: Config = _CONFIG,
    as_json: Json = False,
    log_level: Level = _LEVEL,
) -> None:
    """Say which tables of a copy the rules and the key of today would mask otherwise; exit code 1 if there are any."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        settings = _settings(config)
        from control import rules_diff as command

        found = outcome.run(command.diff(settings, target, accept_writable_role=accept_writable_role))
        results.show_rules_diff(terminal, found)
        if found.tables:
            raise typer.Exit(1)


# ---------------------------------------------------------------------------------------------------- the copies


@app.command(epilog="Example: tezcat clone --source production --target test")
def clone(
    target: Target,
    source: Source = None,
    anonymize: Annotated[
        bool, typer.Option("--anonymize", help="Copies are always masked; this only says so.")
    ] = False,
    no_anonymize: Annotated[bool, typer.Option("--no-anonymize", hidden=True)] = False,
    once: Annotated[bool, typer.Option("--once", help="Keep no slot: the copy cannot be followed by stream.")] = False,
    resync: Annotated[
        bool,
        typer.Option("--resync", help="Copy again just those tables that changed rules or keys mask otherwise."),
    ] = False,
    confirm: Annotated[
        str | None, typer.Option(metavar="NAME", help="The target's name, where a copy would be replaced.")
    ] = None,
    accept_writable_role: AcceptWritable = False,
    config: Config = _CONFIG,
    as_json: Json = False,
    log_level: Level = _LEVEL,
) -> None:
    """Copy production, masked: schema and data at one point of its log."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        if no_anonymize:
            raise Refused(
                "a copy is always masked, so --no-anonymize is refused.", hint="Decide with rules what to keep."
            )
        if resync and once:
            raise BadInput("--resync is for a copy that is followed, and --once keeps no slot.", hint="Leave one away.")
        settings = _settings(config)
        fork_server.start()
        name = source or settings.only_production()
        if resync:
            from control.resync import resync as copy_again

            again = outcome.run(
                copy_again(settings, name, target, accept_writable_role=accept_writable_role, report=terminal.report)
            )
            results.show_resync(terminal, again)
            return
        from control import clone as operation

        if confirm is None and _is_interactive():
            confirm = _ask_confirmation(terminal, outcome.run(operation.needs_confirmation(settings, target)), target)
        result = outcome.run(
            operation.clone(
                settings,
                name,
                target,
                once=once,
                confirm=confirm,
                accept_writable_role=accept_writable_role,
                report=terminal.report,
            )
        )
        results.show_clone(terminal, result)


@app.command(epilog="Example: tezcat stream --target test --until-caught-up")
def stream(
    target: Target,
    until_lsn: Annotated[
        str | None, typer.Option(metavar="X/Y", help="End when this position of production is applied.")
    ] = None,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when all that production had at the start is applied.")
    ] = False,
    accept_writable_role: AcceptWritable = False,
    config: Config = _CONFIG,
    as_json: Json = False,
    log_level: Level = _LEVEL,
) -> None:
    """Follow production until stopped; Ctrl-C ends it after the transaction in hand."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        settings = _settings(config)
        until = None if until_lsn is None else _lsn(until_lsn)
        from control import following

        progress = outcome.run(
            following.follow(
                settings,
                target,
                until=until,
                until_caught_up=until_caught_up,
                accept_writable_role=accept_writable_role,
                terminal=terminal,
            )
        )
        results.show_stream(terminal, target, progress)


@app.command(epilog="Example: tezcat status --json")
def status(config: Config = _CONFIG, as_json: Json = False, log_level: Level = _LEVEL) -> None:
    """Show every copy: where it is, how far behind, and what its slot keeps on production."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        settings = _settings(config)
        from control import status as operation

        results.show_status(terminal, outcome.run(operation.status(settings)))


@app.command(epilog="Example: tezcat verify --target test")
def verify(
    target: Target,
    accept_writable_role: AcceptWritable = False,
    config: Config = _CONFIG,
    as_json: Json = False,
    log_level: Level = _LEVEL,
) -> None:
    """Compare masked production with the copy, row by row at one position; also while a stream runs."""
    with outcome.running(as_json=as_json, log_level=log_level) as terminal:
        settings = _settings(config)
        fork_server.start()
        from control import verify as operation

        result = outcome.run(
            operation.verify(settings, target, accept_writable_role=accept_writable_role, report=terminal.report)
        )
        results.show_verify(terminal, result)
        if not result.equal:
            raise typer.Exit(ExitCode.PROBLEM)


# ----------------------------------------------------------------------------------------------------- arguments


def _settings(path: Path) -> Settings:
    from control.settings import load_settings

    return load_settings(path)


def _lsn(text: str) -> Lsn:
    try:
        return Lsn.parse(text)
    except ValueError as error:
        raise BadInput(f"--until-lsn: {error}.") from None


def _table(text: str) -> TableName:
    try:
        return TableName.parse(text)
    except ValueError as error:
        raise BadInput(f"--table: {error}.") from None


def _columns(text: str) -> list[str]:
    """Names with commas between them; a comma within double quotes is part of a name."""
    parts = [part.strip() for part in re.findall(r'(?:"(?:[^"]|"")*"|[^,"])+', text)]
    try:
        names = [parse_identifiers(part) for part in parts]
    except ValueError as error:
        raise BadInput(f"--columns: {error}.") from None
    if any(len(name) != 1 for name in names):
        raise BadInput("--columns: names of columns only, with commas between them.")
    return [name for (name,) in names]


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask_confirmation(terminal: Terminal, reason: str | None, target: str) -> str | None:
    """What the user typed as the name of the environment; None when there is nothing to confirm."""
    if reason is None:
        return None
    terminal.err.print(reason, markup=False)
    answer: str = typer.prompt(f"Type {target} to go on", err=True)
    return answer.strip()
