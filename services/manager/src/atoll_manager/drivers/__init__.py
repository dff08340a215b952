"""How enclaves are started on this host: one module for each way."""
