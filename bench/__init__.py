# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: what Linen costs, beside its peers, on this machine.

`scripts/bench` runs them. Every program is timed as a process, as a container runtime would start
it, and peers take turns in the same loop, so that a noisy machine is noisy for all of them.
The daemon is measured in clusters with a real API server and in labs.
No benchmark fails because something is slow; goals that are missed are reported.
"""
