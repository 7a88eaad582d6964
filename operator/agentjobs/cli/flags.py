"""Commands from typed functions, on the standard library's argparse: a command that starts for each look at a job must start fast.

A parameter is ``name: Annotated[type, option(…)] = default`` or ``Annotated[type, argument(…)]``, as typer has it, or a
dataclass whose fields are such parameters: flags that several commands have together. The function's docstring is the
command's help. typer builds a pydantic model for each flag, which costs as much CPU as all else that a verb imports.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin

from agentjobs.cli.errors import BadInput, Unavailable

HELP_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Info:
    """What a command tells of a parameter, and wants of its value."""

    names: tuple[str, ...]
    """The flags. Empty: of an option, ``--`` and the parameter's name; of an argument, always."""
    metavar: str
    help: str
    min: int | None
    max: int | None
    is_option: bool


def option(
    *names: str, metavar: str = "", help: str = "", min: int | None = None, max: int | None = None
) -> Info:
    """An option. ``min`` and ``max`` bound a number."""
    return Info(names, metavar, help, min, max, is_option=True)


def argument(*, metavar: str, help: str = "") -> Info:
    """An argument, which stands without a flag."""
    return Info((), metavar, help, None, None, is_option=False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a command."""

    name: str
    """Of the function, or of the dataclass."""
    info: Info
    type: type
    """str, int, bool or Path."""
    many: bool
    """Whether it may be given several times; the function gets a list, or None."""
    required: bool
    default: Any

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags, the long one first; of an argument: none."""
        if not self.info.is_option:
            return ()
        return self.info.names or (f"--{self.name.strip('_').replace('_', '-')}",)

    @property
    def takes_value(self) -> bool:
        return self.type is not bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command: it reads its arguments and calls its function."""

    program: str
    """The words before the arguments, such as ``kubectl agentjobs list``."""
    function: Callable[..., None]

    @property
    def parameters(self) -> list[Parameter]:
        """Arguments and options, in the function's order; those of a dataclass in its place."""
        return [parameter for one in self._given for parameter in _parameters(one)]

    @property
    def _given(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.function, eval_str=True).parameters.values())

    @property
    def usage(self) -> str:
        """The command in one line."""
        shown = [
            one.info.metavar if one.required else f"[{one.info.metavar}]"
            for one in self.parameters
            if not one.info.is_option
        ]
        return " ".join([self.program, *shown, "[OPTIONS]"])

    @property
    def help(self) -> str:
        """What it does: the function's docstring."""
        return inspect.cleandoc(self.function.__doc__ or "").replace("\\b\n", "").replace("\b\n", "")

    def __call__(self, arguments: Sequence[str]) -> None:
        """Runs the command line.

        :raises BadInput: it cannot be read; the message says what is wanted.
        """
        found = vars(_parser(self).parse_intermixed_args(list(arguments)))
        for one in self._given:
            if is_dataclass(group := one.annotation):
                values = {parameter.name: found.pop(parameter.name) for parameter in _parameters(one)}
                found[one.name] = group(**values)  # type: ignore[operator]  # it is a class
        self.function(**found)


def _parameters(one: inspect.Parameter) -> Iterator[Parameter]:
    """The parameter itself, or those of the dataclass that it is."""
    if not is_dataclass(one.annotation):
        yield _parameter(one.name, one.annotation, one.default)
        return
    annotations = inspect.get_annotations(one.annotation, eval_str=True)  # type: ignore[arg-type]  # it is a class
    for field in fields(one.annotation):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield _parameter(field.name, annotations[field.name], default)


def _parameter(name: str, annotation: Any, default: Any) -> Parameter:
    assert get_origin(annotation) is Annotated, name
    kind, info = get_args(annotation)
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    many = get_origin(kind) is list
    if many:
        (kind,) = get_args(kind)
    required = default is inspect.Parameter.empty
    return Parameter(name, info, kind, many, required, None if required else default)


def _parser(command: Command) -> _Parser:
    parser = _Parser(command)
    parser.add_argument("-h", "--help", action="help", help="Show this help.")
    for one in command.parameters:
        settings: dict[str, Any] = {"help": one.info.help.replace("%", "%%"), "default": one.default}
        if not one.takes_value:
            settings |= {"action": "store_true", "dest": one.name}
            parser.add_argument(*one.flags, **settings)
            continue
        settings |= {"type": partial(_value, one), "metavar": one.info.metavar or one.type.__name__.upper()}
        if one.info.is_option:
            settings |= {"dest": one.name, "required": one.required}
            if one.many:
                settings["action"] = "append"
            parser.add_argument(*one.flags, **settings)
            continue
        if one.many:
            settings["nargs"] = "+" if one.required else "*"
        elif not one.required:
            settings["nargs"] = "?"
        parser.add_argument(one.name, **settings)
    return parser


def _value(one: Parameter, text: str) -> object:
    if one.type is Path:
        return Path(text)
    if one.type is not int:
        return text
    try:
        n = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"wants a number, got {text[:40]!r}") from None
    low, high = one.info.min, one.info.max
    if (low is not None and n < low) or (high is not None and n > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise argparse.ArgumentTypeError(f"wants a number {bounds}, got {n}")
    return n


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As kubectl writes options: ``-n, --namespace NAME``."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=HELP_WIDTH)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return str(action.metavar)
        value = "" if action.nargs == 0 else f" {action.metavar}"
        return ", ".join(sorted(action.option_strings, key=len)) + value


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line with the next command."""

    def __init__(self, command: Command) -> None:
        self._command = command
        paragraphs = command.help.split("\n\n")
        whole = [p if "\n" in p and is_block(p) else textwrap.fill(p, HELP_WIDTH) for p in paragraphs]
        super().__init__(
            prog=command.program,
            usage=command.usage,
            description="\n\n".join(whole),
            formatter_class=_Formatter,
            allow_abbrev=False,
            add_help=False,
            argument_default=None,
        )
        self._positionals.title, self._optionals.title = "arguments", "options"

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: "):
            message = self._unknown(message.removeprefix("unrecognized arguments: ").split(" ")[0])
        elif message.endswith(("expected one argument", "expected at least one argument")):
            message = f"{message} (one that begins with - is given as --flag=VALUE)"
        raise BadInput(f"{message}; see: {self._command.program} --help")

    def _unknown(self, word: str) -> str:
        if not word.startswith("-"):
            return f"{word[:80]!r} is one argument too many"
        flag = word.partition("=")[0]
        known = [flag for one in self._command.parameters for flag in one.flags]
        close = get_close_matches(flag, known, n=1)
        return f"there is no option {flag[:80]}" + (f" (did you mean {close[0]}?)" if close else "")


def is_block(paragraph: str) -> bool:
    """Whether a paragraph's lines are kept as they are: each is a command, or a sentence of its own."""
    lines = paragraph.splitlines()
    return all(line.startswith(("kubectl ", "agentjobs ")) or line.endswith(".") for line in lines)


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Prints a text to standard output, or to standard error, at once."""
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{text}\n" if nl else text)
    stream.flush()


def confirmed(question: str) -> bool:
    """Whether the person at the terminal says yes; the end of the input is a no."""
    while True:
        sys.stderr.write(f"{question} [y/N]: ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
        match answer.strip().lower():
            case "y" | "yes":
                return True
            case "n" | "no" | "":
                return False


def confirm(question: str, *, yes: bool) -> None:
    """Asks the person whether to go on, unless ``--yes`` has said so.

    :raises BadInput: there is nobody to ask.
    :raises Unavailable: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput("standard input is no terminal, so nobody can confirm: add --yes.")
    if not confirmed(question):
        raise Unavailable("nothing was changed.")
