"""Runtimes: graphs to running programs. Sessions, state, the mini-batch driver, the command line."""
