"""`atoll version`."""

import click

from atoll.version import VERSION
from atoll_cli.options import json_option, pass_session
from atoll_cli.session import Session


@click.command()
@json_option
@pass_session
def version(session: Session) -> None:
    """Show the version of this build."""
    session.print(f"atoll {VERSION}")
    session.document({"version": VERSION})
