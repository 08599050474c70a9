# SPDX-License-Identifier: Apache-2.0
"""JSON and sockets without the standard library, because starting the plugin must cost nothing."""
