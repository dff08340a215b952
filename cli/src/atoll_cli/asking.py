"""Asks a person before something that cannot be taken back."""

import sys

import click

from atoll.errors import InputError, RefusedError
from atoll_cli.session import Session


def require_yes(session: Session, question: str, *, yes: bool) -> None:
    """Return if a person agrees, or has done so with `--yes`.

    Not inside `run_stoppable`, where nothing could interrupt the question.

    Raises:
        InputError: `answer.no_terminal`.
        RefusedError: `answer.no`.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(
            "there is no terminal to ask for an answer",
            code="answer.no_terminal",
            hint="look at what was shown, then say --yes",
        )
    session.say()
    if not click.confirm(question, default=False, err=True):
        raise RefusedError("nothing was done", code="answer.no")
