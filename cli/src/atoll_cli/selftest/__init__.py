"""What a machine with a TEE is worth to Atoll: one command, one report to send back.

machine   the files and programs of the machine, behind a port
survey    what interfaces there are, and which versions of everything around them
attempt   each provider of the agent, asked for real and verified under vendors' roots
report    all of it as one JSON document, and what the exit status says
"""
