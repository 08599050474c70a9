# SPDX-License-Identifier: Apache-2.0
"""The `linen` CNI plugin: executed once for each pod, so each system call counts."""
