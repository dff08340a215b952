"""The embedded stack: nats-server, gateway, attestor and one manager on this machine.

material    what a deployment is made of: keys, passwords, policy, development chain
address     HOST:PORT as the command line gives it
service     one child process: start, ready line, stop
layout      which services there are and with which settings
up          all of it in the foreground, until a signal
"""
