# SPDX-License-Identifier: Apache-2.0
"""Tables of checks, one module per subject; docs/troubleshooting.md has a heading for each."""
