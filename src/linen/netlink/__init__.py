# SPDX-License-Identifier: Apache-2.0
"""The few netlink messages of the plugin: their codec without I/O, and the shell around it."""
