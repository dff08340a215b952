"""What an enclave is on this host, as its keeper sees it: one module for each kind.

body        the interface, and what all kinds have in common
kinds       how a keeper gets the body that its order names
process     a process of the keeper's own
container   a container, with a channel
domain      a virtual machine, with a channel and a console
console     what a guest writes to its console, within bounds
channel     the services that a body without a network has of its keeper
"""
