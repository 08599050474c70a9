# SPDX-License-Identifier: Apache-2.0
"""The few netlink messages that the plugin sends: the codec without I/O, and the shell that drives it."""
