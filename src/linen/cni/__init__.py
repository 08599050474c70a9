# SPDX-License-Identifier: Apache-2.0
"""The CNI protocol as a chained plugin sees it: request, configuration, result, versions."""
