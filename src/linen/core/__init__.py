# SPDX-License-Identifier: Apache-2.0
"""The decisions, without I/O: what is wanted, what is there, what leads from one to the other."""
