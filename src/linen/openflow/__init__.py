# SPDX-License-Identifier: Apache-2.0
"""OpenFlow 1.4: rules in an OVS bridge, installed, read and watched.

All of a bridge's in topology flow; on bridges that learn, two that guard it.
"""
