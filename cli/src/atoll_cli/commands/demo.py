"""`atoll demo`."""

from pathlib import Path

import click

from atoll_cli.demo import find_examples, run_demo
from atoll_cli.options import json_option, pass_session
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable


@click.command()
@click.option(
    "--examples",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the examples are (default: ./examples, else those of this checkout).",
)
@json_option
@pass_session
def demo(session: Session, examples: Path | None) -> None:
    """Run the Iris journey on a stack of its own: train a model, then use it.

    Needs nothing that runs already, and leaves no process and no file behind.
    """
    run_stoppable(run_demo(session, find_examples(examples)))
