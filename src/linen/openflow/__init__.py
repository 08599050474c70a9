# SPDX-License-Identifier: Apache-2.0
"""OpenFlow as topology flow needs it: rules in one OVS bridge, installed, read and watched."""
