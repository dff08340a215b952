import subprocess
import sys

CODE = """
import sys
from atoll.telemetry import allow, context, export, names, otlp, span, tracing, tree, waterfall
loaded = {name.split(".")[0] for name in sys.modules}
print(sorted(loaded & {"opentelemetry", "google", "jwt"}))
"""


def test_what_the_agent_uses_imports_neither_opentelemetry_nor_protobuf() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
