# SPDX-License-Identifier: Apache-2.0
"""What exists only because starting the plugin must cost nothing: JSON and sockets without the standard library."""
