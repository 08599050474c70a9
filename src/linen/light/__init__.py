# SPDX-License-Identifier: Apache-2.0
"""JSON and sockets without the standard library, which the plugin's static file does not have."""
