# SPDX-License-Identifier: Apache-2.0
"""Linen: overlay networks for containers, made of Open vSwitch bridges and VXLAN tunnels.

This file imports nothing: it is part of the plugin, whose static file has no standard library.
"""

__version__ = "0.1.0"
