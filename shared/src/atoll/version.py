"""The version of this build; every member of the workspace has the same."""

from typing import Final

VERSION: Final = "0.1.0"
