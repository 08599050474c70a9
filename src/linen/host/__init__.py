# SPDX-License-Identifier: Apache-2.0
"""This node as `linenctl` and flaxd see it: its conflists, CNI plugins, Open vSwitch and kernel.

What is read here is judged by the tables of `linen.host.checks`, and changed only by `install`
and `uninstall`.
"""
