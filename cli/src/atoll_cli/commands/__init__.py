"""One noun per file: each parses, calls `atoll.client`, and shows what came back."""
