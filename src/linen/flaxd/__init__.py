# SPDX-License-Identifier: Apache-2.0
"""`flaxd`, the node daemon: keeps this node's tunnels in line with the cluster's nodes."""
