# SPDX-License-Identifier: Apache-2.0
"""What tests share: a host with real Open vSwitch, the real cnitool, the example conflists."""
