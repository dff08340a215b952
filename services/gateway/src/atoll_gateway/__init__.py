"""Accepts jobs over HTTP and NATS and keeps the ledger of their states."""
