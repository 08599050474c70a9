# SPDX-License-Identifier: Apache-2.0
"""Overlays of N nodes on one machine, for people, tests and benchmarks.

`linen.lab.description` says what a lab is (pure); `linen.lab.cluster.Lab` runs one.
This file imports nothing: the keeper process of a lab starts from this package.
"""
