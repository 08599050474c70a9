# SPDX-License-Identifier: Apache-2.0
"""Linen: overlay networks for containers, made of Open vSwitch bridges and VXLAN tunnels.

This file imports nothing: the CNI plugin pays for every import, once per pod.
"""

__version__ = "0.1.0"
