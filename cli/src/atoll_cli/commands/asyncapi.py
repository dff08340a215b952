"""`atoll asyncapi`."""

import click

from atoll.wire import asyncapi as documents
from atoll_cli.options import json_option, pass_session
from atoll_cli.session import Session


@click.command()
@json_option
@pass_session
def asyncapi(session: Session) -> None:
    """Print the AsyncAPI 3.0 document: every subject, message and schema on the bus.

    It is made from the same tables as this program. The HTTP API's document is served by the
    gateway at `/openapi.json`.
    """
    session.as_json = True  # it has no other form
    session.document(documents.document())
