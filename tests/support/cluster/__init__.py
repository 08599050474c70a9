# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes cluster on one machine: each kubelet, with its runtime, in its own namespaces.

`images` are the containers' images, `runtimes` has what runs them, `fabric` is the network between
the nodes, `node` a node, `cluster` all of it.
"""
