# SPDX-License-Identifier: Apache-2.0
"""`linenctl`, the command for people: one module per sub-command, imported when called."""
