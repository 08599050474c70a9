# SPDX-License-Identifier: Apache-2.0
"""Netlink: the codec of the plugin's few messages, without I/O, and the shell around it.

For flaxd there are a monitor of links and addresses, and tables of nftables; for `linenctl`, how
full the kernel's tables of neighbours are.
"""
