"""Collect demonstrations, train policies from them, deploy the policies: one stack for simulators and real arms."""

__version__ = "0.1.0"
