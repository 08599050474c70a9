# SPDX-License-Identifier: Apache-2.0
"""OVSDB (RFC 7047): the wire format without I/O, and the shells that drive it."""
