# SPDX-License-Identifier: Apache-2.0
"""The decisions, without any I/O: what is wanted, what is there, and which OVSDB operations lead from one to the other."""
